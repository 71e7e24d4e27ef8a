"""Many generators, or a posterior over them."""
