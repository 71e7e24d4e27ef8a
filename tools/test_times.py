"""CPU-seconds of the tests by system and kind, from a JUnit file: `make test-times`."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

KINDS = (("conformance", "TestRegistered"), ("kernels", "tests.kernels"))


def kind_of(case: ElementTree.Element) -> str:
    """What the test says of itself (behaviour), conformance, the folder under tests, ..."""
    if (said := case.find("./properties/property[@name='kind']")) is not None:
        return said.get("value", "")
    name = f"{case.get('classname', '')}.{case.get('name', '')}"
    for kind, word in KINDS:
        if word in name:
            return kind
    return ".".join(case.get("classname", "").split(".")[1:2]) or "other"


def main(path: Path) -> None:
    """Print a table of seconds by kind, of conformance by system, and of the slowest tests."""
    by_kind: dict[str, float] = defaultdict(float)
    by_system: dict[str, float] = defaultdict(float)
    slowest: list[tuple[float, str]] = []
    for case in ElementTree.parse(path).iter("testcase"):
        seconds, kind = float(case.get("time", 0)), kind_of(case)
        by_kind[kind] += seconds
        slowest.append((seconds, f"{case.get('classname')}.{case.get('name')}"))
        if kind == "conformance" and (system := re.search(r"\[([a-z0-9-]+?)(-\d+)?\]$", case.get("name", ""))):
            by_system[system[1]] += seconds
    for title, table in (("kind", by_kind), ("conformance of a system", by_system)):
        sys.stdout.write(f"\nseconds  {title}\n")
        for name, seconds in sorted(table.items(), key=lambda item: -item[1])[:40]:
            sys.stdout.write(f"{seconds:7.1f}  {name}\n")
    sys.stdout.write("\nseconds  the slowest tests\n")
    for seconds, name in sorted(slowest, reverse=True)[:25]:
        sys.stdout.write(f"{seconds:7.1f}  {name}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
