"""The networks that predict."""
