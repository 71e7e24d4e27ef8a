"""Everything that gencore asks of a system."""

from gencore.testing import Conformance


class TestColourizer(Conformance):
    systems = ("colourizer",)
