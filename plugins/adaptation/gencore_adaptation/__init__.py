"""Representations that an adversary shapes: domains, attributes, attacks, one file a paper."""

from gencore.spec import read_family

family = read_family(
    __name__,
    name="adaptation",
    summary="Representations that an adversary shapes: domains, attributes, attacks",
    extra="adaptation",
)
