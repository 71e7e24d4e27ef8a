"""Sequences of notes and of pictures."""
