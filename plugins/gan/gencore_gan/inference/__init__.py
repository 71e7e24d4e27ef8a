"""Papers that find a picture's code."""
