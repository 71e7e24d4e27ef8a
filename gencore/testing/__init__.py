"""The conformance suite, for the systems of gencore and of everyone else. A plugin's whole test file:

    from gencore.testing import Conformance

    class TestMySystem(Conformance):
        systems = ("my-system",)

It needs pytest; `gencore.testing.processes` alone does not. What it checks is listed in docs/plugin-authors.md.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gencore.testing.conformance import Conformance as Conformance
    from gencore.testing.network import no_network as no_network
    from gencore.testing.processes import run_processes as run_processes

if "pytest" in sys.modules:  # so that a failed check shows the values that it compared, in a stranger's repository too
    sys.modules["pytest"].register_assert_rewrite("gencore.testing.conformance")

_HOMES = {"Conformance": "conformance", "no_network": "network", "run_processes": "processes"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
