"""Autoencoders: deterministic codes, one file a paper."""

from gencore.spec import read_family

family = read_family(__name__, name="ae", summary="Autoencoders: deterministic codes", extra="ae")
