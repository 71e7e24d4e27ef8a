"""The logits of transformers for weights of its own, which were recorded (published/make.py)."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

HERE = Path(__file__).parent / "published"


def recorded(name: str) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Weights, tokens, logits."""
    tensors = load_file(HERE / f"{name}.safetensors")
    tokens, logits = (tensors.pop(f"expected.{key}") for key in ("tokens", "logits"))
    return tensors, tokens, logits
