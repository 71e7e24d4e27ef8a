"""Papers that draw what they are asked for."""
