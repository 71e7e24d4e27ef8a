"""Autoencoders with a discrete code book, and priors over the codes, one file a paper."""

from gencore.spec import DataName, read_family

family = read_family(
    __name__,
    name="vq",
    summary="Autoencoders with a discrete code book, and priors over the codes",
    extra="vq",
    data=(
        DataName(
            name="vowels",
            summary="spoken vowels, 0.28 s, by four speakers, as log-spectrograms of 64 x 32",
            opens="gencore.data.toys.vowels:vowels",
        ),
    ),
)
