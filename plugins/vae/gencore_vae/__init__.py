"""Variational autoencoders, one file a paper."""
