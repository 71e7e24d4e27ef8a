"""Pictures from pictures, learned from pairs."""

from gencore.spec import read_family

family = read_family(__name__, name="colour", summary="Pictures from pictures, learned from pairs")
