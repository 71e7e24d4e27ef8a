"""Generation by an affine map of noise."""

from gencore.spec import read_family

family = read_family(__name__, name="affine", summary="Generation by an affine map of noise")
