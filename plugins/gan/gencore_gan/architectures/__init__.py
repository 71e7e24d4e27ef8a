"""Papers that change the networks."""
