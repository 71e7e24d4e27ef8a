"""What `gencore doctor` says."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys


def report() -> list[tuple[str, str]]:
    """(what, state) rows."""
    import torch

    from gencore.compilation import missing_compiler

    rows = [
        ("python", sys.version.split()[0]),
        ("platform", platform.platform()),
        ("torch", torch.__version__),
        *((name, _version(name)) for name in ("gencore", "triton", "accelerate", "safetensors")),
        ("threads", str(torch.get_num_threads())),
        ("GPU", torch.cuda.get_device_name() if torch.cuda.is_available() else "none: everything runs on the CPU"),
        ("torch.compile", missing_compiler() or "ready"),
        ("GENCORE_PLUGINS", os.environ.get("GENCORE_PLUGINS", "not set: all plugins")),
        ("GENCORE_KERNELS", os.environ.get("GENCORE_KERNELS", "not set: auto")),
        ("C++ kernels", _libraries()),
    ]
    return rows + _kernels() + _plugins()


def _libraries() -> str:
    """Which C++ kernels the installation built, and which of them this processor uses."""
    from gencore_kernels.cpp import libraries

    found = libraries()
    return f"built for {', '.join(found.built)}; {found.used} is used" if found.used else f"none: {found.obstacle}"


def _kernels() -> list[tuple[str, str]]:
    """Which implementation serves each operation on this machine's best device, and why."""
    import torch

    import gencore_kernels

    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows, images = torch.zeros(8, 4, device=device), torch.zeros(8, 4, 2, 2, device=device)
    calls: dict[str, tuple[object, ...]] = {
        "nearest_code": (rows, rows),
        "minibatch_discrimination": (rows[:, :, None],),
        "minibatch_stddev": (images,),
        "diffusion_step": (images, images, rows.new_zeros(1, 8), 0),
        "quantile_abs": (images, 0.995),
        "upfirdn2d": (images, rows[0]),
        "bias_activation": (images, rows[0]),
    }

    def serving(name: str) -> str:
        try:
            found = gencore_kernels.explain(name, *calls[name])
        except ValueError as error:
            return f"none: {error}"
        return f"{found.implementation}: {found.reason}"

    return [(f"kernel {name}", serving(name)) for name in calls]


def _plugins() -> list[tuple[str, str]]:
    from gencore.registry import default_registry

    return [(f"plugin {p.name}", f"{p.state}, {p.distribution} {p.version}") for p in default_registry().plugins]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        extra = {"triton": ' (pip install "gencore[kernels]")'}.get(name, "")
        return f"not installed{extra}"
