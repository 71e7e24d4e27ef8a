"""Autoencoders with a discrete code book, and priors over the codes, one file a paper."""

from gencore.spec import read_family

family = read_family(
    __name__, name="vq", summary="Autoencoders with a discrete code book, and priors over the codes", extra="vq"
)
