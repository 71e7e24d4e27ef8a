"""Writing a model directory, so that a kill at any instant leaves the old model or the new one, whole.

1. The new files are written into a private folder inside the directory, and synced.
2. That folder is renamed to `PENDING`: at that instant the new save replaces the old. Readers look there first.
3. The files are moved to their places one by one; then `PENDING` goes.
A writer that is killed after 2 has lost nothing: readers see the new save, and the next writer finishes 3.
Other files in the directory (checkpoints, metrics) are not touched.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .atomic import lock_directory, storage_errors, sync_directory, sync_tree, unlock, workspace
from .config_file import FORMAT, check_config, read_config
from .errors import HubError, StorageError
from .files import CARD, CONFIG, PENDING, SAMPLES, is_model_file
from .strict_json import strict_json
from .weights import save_weights

if TYPE_CHECKING:
    import torch

_MANIFEST = "MANIFEST"  # in PENDING: the names of all files of the save, moved already or not


def write_directory(
    target: str | os.PathLike[str],
    *,
    config: Mapping[str, Any],
    module: torch.nn.Module,
    card: str,
    samples_png: bytes | None = None,
    max_shard_size: int | str = "5GB",
) -> Path:
    """Saves a model as a directory, or replaces the gencore model that is there.

    Args:
        target: the directory; it and its parents are made. What else it holds stays.
        config: the keys of `read_config` but `format` and `weights`, which are added here.
        module: whose `state_dict()` is saved; of tied weights the first name.
        card: the text of README.md.
        samples_png: the bytes of samples.png; without them the directory has none afterwards.
        max_shard_size: the largest file of weights, in bytes or as "5GB"; beyond it there are several and an index.

    Returns:
        `target` as a Path.

    Raises:
        HubError: `config` is not as `read_config` demands, or `target` holds a README.md, config.json or other file of
            these names that gencore did not write.
        StorageError: the disk is full, `target` cannot be written, or another process is writing it.
    """
    target = Path(target)
    with storage_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        with _only_writer(target), workspace(target, "save") as work:
            _publish(target)
            _refuse_foreign(target)
            new = work / "new"
            new.mkdir()
            weights = save_weights(module, new, max_shard_size)
            (new / CONFIG).write_bytes(_encode({**config, "format": FORMAT, "weights": weights}))
            for path in new.glob("*.safetensors"):
                shutil.copymode(new / CONFIG, path)  # safetensors makes files that nobody else may read
            (new / CARD).write_text(card, encoding="utf-8")
            if samples_png is not None:
                (new / SAMPLES).write_bytes(samples_png)
            (new / _MANIFEST).write_text(json.dumps(sorted(path.name for path in new.iterdir())), encoding="utf-8")
            sync_tree(new)
            os.rename(new, target / PENDING)
            sync_directory(target)
            _publish(target)
    return target


def finish_write(directory: Path) -> None:
    """Moves the files of a save whose writer was killed to their places; does nothing if there is none.

    Raises:
        StorageError: the directory cannot be written, or another process is writing it.
    """
    if (directory / PENDING).exists():
        with storage_errors(directory), _only_writer(directory):
            _publish(directory)


@contextmanager
def _only_writer(target: Path) -> Iterator[None]:
    try:
        lock = lock_directory(target)
    except BlockingIOError as error:
        raise StorageError(
            f"another process is saving a model to {target} right now. Wait, or save elsewhere."
        ) from error
    except OSError:  # no locks on this file system: two writers at once are then not told apart
        yield
        return
    try:
        yield
    finally:
        unlock(lock)


def _publish(target: Path) -> None:
    pending = target / PENDING
    if not pending.is_dir():
        return
    names = _manifest(pending)
    for name in names:
        with suppress(FileNotFoundError):  # moved before the writer was killed
            os.replace(pending / name, target / name)
    for path in list(target.iterdir()) if names else []:
        if is_model_file(path.name) and path.name not in names:
            path.unlink()
    sync_directory(target)
    shutil.rmtree(pending)
    sync_directory(target)


def _manifest(pending: Path) -> list[str]:
    if pending.is_symlink():
        raise HubError(f"{pending} is a link, which gencore never makes. Remove it.")
    path = pending / _MANIFEST
    if not path.exists():  # the writer was killed while it removed the emptied folder
        return []
    names = strict_json(path.read_bytes(), str(path))
    if not isinstance(names, list) or not all(isinstance(name, str) and is_model_file(name) for name in names):
        raise HubError(f"{path} is not a list of model files. Remove the folder {pending}.")
    return names


def _refuse_foreign(target: Path) -> None:
    present = sorted(path.name for path in target.iterdir() if is_model_file(path.name))
    if not present:
        return
    advice = "Choose another directory, or move those files away."
    if CONFIG not in present:
        raise HubError(f"{target} holds {', '.join(present)} but no gencore model, and is not overwritten. {advice}")
    try:
        read_config(target)
    except HubError as error:
        raise HubError(f"{target} holds something else than a whole gencore model: {error} {advice}") from error


def _encode(config: Mapping[str, Any]) -> bytes:
    """config.json as bytes, the same for equal configurations."""
    try:
        data = (json.dumps(config, indent=2, sort_keys=True, allow_nan=False) + "\n").encode("utf-8")
        check_config(strict_json(data, "it"))
    except (TypeError, ValueError) as error:
        raise HubError(f"this configuration cannot be saved as config.json: {error}") from error
    return data
