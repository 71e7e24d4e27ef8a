"""The ground floor stands alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gencore_hub


def run(code: str) -> str:
    root = str(Path(gencore_hub.__file__).parents[1])
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r}); {code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_import_brings_in_neither_torch_nor_the_client_nor_gencore() -> None:
    heavy = {"torch", "huggingface_hub", "numpy", "safetensors", "gencore"}
    assert run(f"import gencore_hub; print(sorted({heavy!r} & set(sys.modules)))") == "[]"


def test_loading_what_is_on_disk_needs_no_hub_client(save, tmp_path: Path) -> None:
    import torch

    path = save(torch.nn.Linear(2, 2))
    code = (
        "sys.modules['huggingface_hub'] = None; import torch; from gencore_hub import *; "
        f"p = locate({str(path)!r}); load_into(p, torch.nn.Linear(2, 2), read_config(p)); print('loaded')"
    )
    assert run(code) == "loaded"


def test_public_names_exist() -> None:
    assert all(hasattr(gencore_hub, name) for name in gencore_hub.__all__)
