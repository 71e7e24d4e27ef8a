"""What a run's data are, by content: so that a resumed run sees the same, wherever they lie now."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch

from gencore.data.source import Source, class_names_of
from gencore.data.sources.memory import InMemory
from gencore.data.views import View
from gencore.errors import GencoreError

PROBED = 256


def fingerprint(source: Source) -> dict[str, Any]:
    """{"count", "shape", "num_classes", "class_names", "digest"}, of JSON's types.

    digest: sha256 of names and sizes for folders of files, of all numbers for data in memory, else of up to 256
    examples, spread evenly. It does not depend on where the data lie.
    """
    return {
        "count": len(source),
        "shape": list(source.shape),
        "num_classes": source.num_classes,
        "class_names": list(class_names_of(source)),
        "digest": digest(source),
    }


def check_fingerprint(recorded: Mapping[str, Any], source: Source) -> None:
    """Raise GencoreError, which names what differs, unless the source has the recorded fingerprint."""
    now = fingerprint(source)
    differences = [
        f"{key} is {_shown(value)} and was {_shown(recorded.get(key))}"
        for key, value in now.items()
        if value != recorded.get(key)
    ]
    if differences:
        raise GencoreError(
            f"{source.name} is not what this run has trained on: {'; '.join(differences)}. Name the same data (--data, "
            "if they have moved), or begin a new run."
        )


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def digest(source: Source) -> str:
    """sha256 of what the source holds: see `fingerprint`."""
    own: str | None = getattr(source, "digest", None)
    if own is not None:
        return own
    hashed = hashlib.sha256()
    if isinstance(source, View):
        inner = [source.source, *([source.second] if hasattr(source, "second") else [])]
        hashed.update("\0".join([type(source).__name__, str(source.shape), *map(digest, inner)]).encode())
        return hashed.hexdigest()
    if isinstance(source, InMemory):
        labels = {} if source.label is None else {"label": source.label}
        _add(hashed, {"x": source.x, **source.further, **labels})
        return hashed.hexdigest()
    probed = torch.linspace(0, len(source) - 1, min(PROBED, len(source)), dtype=torch.float64).long()
    for part in probed.split(64):
        _add(hashed, source.fetch(part))
    return hashed.hexdigest()


def _add(hashed: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    for key, value in sorted(tensors.items()):
        hashed.update(f"{key} {tuple(value.shape)} {value.dtype}\n".encode())
        hashed.update(value.contiguous().numpy().data)
