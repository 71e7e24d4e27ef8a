"""Generation by an affine map of noise."""
