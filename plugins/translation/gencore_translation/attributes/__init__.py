"""Papers that change one attribute of a picture."""
