"""The conformance suite, for the systems of gencore and of everyone else. A plugin's whole test file:

    from gencore.testing import Conformance

    class TestMySystem(Conformance):
        systems = ("my-system",)

It needs pytest. What it checks is listed in docs/plugin-authors.md.
"""

from gencore.testing.conformance import Conformance as Conformance
from gencore.testing.network import no_network as no_network
from gencore.testing.processes import run_processes as run_processes
