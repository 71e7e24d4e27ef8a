"""What two processes compute is checked for one system of a family in `make test`, for all in `make exhaustive`."""

from __future__ import annotations

import pytest

from gencore.registry import list_systems

CLAIM = "exact-data-parallel"
FIRST = {spec.family: spec.name for spec in reversed(list_systems()) if CLAIM in spec.claims}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    spared = {f"test_claim_exact_data_parallel[{spec.name}]" for spec in list_systems()}
    spared -= {f"test_claim_exact_data_parallel[{name}]" for name in FIRST.values()}
    for item in items:
        if item.name in spared:
            item.add_marker(pytest.mark.exhaustive)
