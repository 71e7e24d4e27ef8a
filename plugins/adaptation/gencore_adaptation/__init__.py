"""Representations that an adversary shapes: domains, attributes, attacks, one file a paper."""

from gencore.spec import DataName, read_family

family = read_family(
    __name__,
    name="adaptation",
    summary="Representations that an adversary shapes: domains, attributes, attacks",
    extra="adaptation",
    data=(
        DataName(
            name="moons",
            summary="two moons with labels, and beside them (x_b) the same turned by 35 degrees",
            opens="gencore_adaptation.parts.moons:moons",
        ),
        DataName(
            name="marked-digits",
            summary="the digits, half of them under a fixed pattern, with the attribute `mark`",
            opens="gencore_adaptation.parts.marked:marked_digits",
        ),
    ),
)
