"""What the C++ kernels for the CPU are built from, and how: for setup.py, which builds them, and `cpp`, which loads.

Imports the standard library alone, since setup.py runs it where torch is not installed.
"""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

FOLDER = Path(__file__).parent
FLAGS = (
    *("-std=c++17", "-O3", "-g0", "-fvisibility=hidden"),
    *("-Wno-psabi", "-Wno-maybe-uninitialized", "-Wno-unknown-warning-option"),  # what GCC says of its own headers
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
)
# The widest first. A processor takes the first that it has.
INSTRUCTION_SETS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "avx512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"),
        "avx2": ("-mavx2", "-mfma"),
        "baseline": (),
    },
    "aarch64": {"baseline": ()},
}
_OTHER_NAMES = {"amd64": "x86_64", "arm64": "aarch64"}


def instruction_sets() -> dict[str, tuple[str, ...]]:
    """The compiler's flags for each of this machine's instruction sets; empty where there are no kernels for it."""
    machine = platform.machine().lower()
    return INSTRUCTION_SETS.get(_OTHER_NAMES.get(machine, machine), {})


def sources() -> list[Path]:
    """All C++ files of the operations: one library has them all."""
    return sorted(FOLDER.glob("*/*.cpp"))


def headers() -> list[Path]:
    return sorted(FOLDER.glob("*.hpp"))


def digest() -> str:
    """Of everything that a library is made of. It stands in the file's name, so that none is loaded that was built from
    other sources than those beside it."""
    found = hashlib.sha256(repr((FLAGS, INSTRUCTION_SETS)).encode())
    for path in (*sources(), *headers()):
        found.update(path.relative_to(FOLDER).as_posix().encode() + path.read_bytes())
    return found.hexdigest()[:12]


def library_name(instruction_set: str, of: str) -> str:
    """The library's file, in FOLDER, without its suffix; `of` is a `digest`."""
    return f"cpu_{instruction_set}_{of}"
