"""Generative adversarial networks: a generator against a critic, one file a paper."""

from gencore.spec import DataName, read_family

family = read_family(
    __name__,
    name="gan",
    summary="Generative adversarial networks: a generator against a critic",
    extra="gan",
    data=(
        DataName(
            name="posed",
            summary="coloured shapes with a head, a sentence of what and two key points of where",
            opens="gencore_gan.parts.posed:posed",
        ),
    ),
)
