"""Exact densities, one number after the other, one file a paper."""

from gencore.spec import read_family

family = read_family(
    __name__, name="autoregressive", summary="Exact densities, one number after the other", extra="autoregressive"
)
