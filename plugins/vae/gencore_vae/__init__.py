"""Variational autoencoders and their bounds, one file a paper."""

from gencore.spec import read_family

family = read_family(__name__, name="vae", summary="Variational autoencoders and their bounds", extra="vae")
