"""Every registered system through the suite that third parties use."""

from __future__ import annotations

from gencore import list_systems
from gencore.testing import Conformance


class TestRegistered(Conformance):
    systems = tuple(spec.name for spec in list_systems())
