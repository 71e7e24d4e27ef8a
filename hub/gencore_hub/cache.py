"""The gencore models in the Hub's cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config_file import read_config
from .errors import HubError
from .files import CONFIG


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A gencore model in the Hub's cache. `size` is what its repository's files take on disk, in bytes."""

    name: str
    commit: str
    system: str
    family: str
    size: int
    path: Path


def cached(cache_dir: str | os.PathLike[str] | None = None) -> list[CachedModel]:
    """The gencore models in the Hub's cache, by name and commit; other models there are passed over."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cache = scan_cache_dir(None if cache_dir is None else Path(cache_dir))
    except CacheNotFound:
        return []
    models = []
    for repo in cache.repos:
        for revision in repo.revisions if repo.repo_type == "model" else ():
            for file in revision.files:
                folder = file.file_path.parent
                if file.file_name == CONFIG and (config := _config_or_none(folder)) is not None:
                    models.append(
                        CachedModel(
                            name=repo.repo_id,
                            commit=revision.commit_hash,
                            system=config["system"],
                            family=config["family"],
                            size=revision.size_on_disk,
                            path=folder,
                        )
                    )
    return sorted(models, key=lambda model: (model.name, model.commit, str(model.path)))


def _config_or_none(folder: Path) -> dict[str, Any] | None:
    try:
        return read_config(folder)
    except HubError:
        return None
