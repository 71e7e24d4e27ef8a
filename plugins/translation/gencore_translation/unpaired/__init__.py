"""Two domains without pairs."""
