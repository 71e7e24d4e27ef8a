"""Exact densities, one number after the other, one file a paper."""

from gencore.spec import DataName, read_family

family = read_family(
    __name__,
    name="autoregressive",
    summary="Exact densities, one number after the other",
    extra="autoregressive",
    data=(
        DataName(
            name="vowel-waves",
            summary="spoken vowels, 0.28 s at 8 kHz, by four speakers",
            opens="gencore.data.toys.vowels:vowel_waves",
        ),
    ),
)
