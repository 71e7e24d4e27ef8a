"""Codes without labels: self-supervised and metric learning, one file a paper."""

from gencore.spec import read_family

family = read_family(
    __name__,
    name="representation",
    summary="Codes without labels: self-supervised and metric learning",
    extra="representation",
)
