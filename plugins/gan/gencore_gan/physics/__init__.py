"""Showers in a detector."""
