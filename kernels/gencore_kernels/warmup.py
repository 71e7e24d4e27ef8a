"""`python -m gencore_kernels.warmup`: compiles every kernel for this machine, ahead of first calls: the Triton kernels
on a GPU, the C++ kernels on a CPU.

An operation with Triton kernels takes part by a function `warm_up(device) -> Iterator[str]` in its `aot_cases.py`,
which runs the public function once per pinned configuration on small tensors and yields a line for each.
"""

from __future__ import annotations

import argparse
import importlib
import sys

import torch

from gencore_kernels.aot import providers
from gencore_kernels.diffusion_step.compiled_path import functions as build_step
from gencore_kernels.dispatch import compiled_obstacle, triton_obstacle
from gencore_kernels.minibatch_discrimination.compiled_path import functions as build_pairs
from gencore_kernels.nearest_code.compiled_path import functions as build_search


def warm_up(device: torch.device) -> list[str]:
    """Runs every operation's warm-up on `device`; returns one line per configuration.

    Raises ValueError when there is nothing to compile: neither Triton and a CUDA device of capability 8.0 or newer, nor
    a CPU and a C++ compiler.
    """
    anything = [torch.empty(0, device=device)]
    obstacles = [triton_obstacle(anything), compiled_obstacle(anything)]
    lines = []
    if obstacles[0] is None:
        for provider in providers():
            lines.extend(importlib.import_module(provider).warm_up(device))
    if obstacles[1] is None:
        for build in (build_step, build_pairs, build_search):
            build()
        lines += ["diffusion_step: step.cpp", "minibatch_discrimination: pairs.cpp", "nearest_code: search.cpp"]
    if not lines:
        raise ValueError(f"nothing to warm up: {'; '.join(filter(None, obstacles))}")
    return lines


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
