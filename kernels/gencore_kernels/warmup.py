"""`python -m gencore_kernels.warmup`: compiles every Triton kernel for this machine's GPU, ahead of first calls.

The C++ kernels for the CPU need none of it: they are built when the package is installed.

An operation with Triton kernels takes part by a function `warm_up(device) -> Iterator[str]` in its `aot_cases.py`,
which runs the public function once per pinned configuration on small tensors and yields a line for each.
"""

from __future__ import annotations

import argparse
import importlib
import sys

import torch

from gencore_kernels.aot import providers
from gencore_kernels.dispatch import triton_obstacle


def warm_up(device: torch.device) -> list[str]:
    """Runs every operation's warm-up on `device`; returns one line per configuration.

    Raises ValueError when there is nothing to compile: no Triton, or no CUDA device of capability 8.0 or newer.
    """
    obstacle = triton_obstacle([torch.empty(0, device=device)])
    if obstacle is not None:
        raise ValueError(f"nothing to warm up: {obstacle}; C++ kernels for the CPU are built at installation")
    return [line for provider in providers() for line in importlib.import_module(provider).warm_up(device)]


def main(arguments: list[str] | None = None) -> int:
    """Prints what was compiled; returns 1 with the reason when nothing can be."""
    parser = argparse.ArgumentParser(prog="python -m gencore_kernels.warmup", description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    try:
        sys.stdout.write("\n".join(warm_up(torch.device(parser.parse_args(arguments).device))) + "\n")
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
