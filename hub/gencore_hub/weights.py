"""Weights between a module and safetensors files.

Reading goes straight into the module's own memory: nothing is allocated from what a file claims, and no second copy
exists. 500 MB in 100 float32 tensors, file in the page cache, 1 thread: 0.04 s to read, and 0.28 s more for sha256
unless the file has been found whole before (verified.py).

Tied weights are saved once, under the first of their names in the module's `state_dict()`; the module that loads them
has the same tie, and fills both names at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import HubError
from .files import INDEX, is_weights, open_inside
from .foreign import shown
from .pages import ask_for_huge_pages
from .safetensors_header import Header, TensorEntry, read_header
from .verified import is_noted, note

if TYPE_CHECKING:
    from hashlib import _Hash
    from io import FileIO

    import torch

# Without loss: every value of the first is one of the second.
WIDENING = {
    ("float16", "float32"),
    ("bfloat16", "float32"),
    ("float16", "float64"),
    ("bfloat16", "float64"),
    ("float32", "float64"),
}
CHUNK = 2**20  # bytes; read, then hashed while they are still in the processor's cache
MAX_LISTED = 10


def load_into(
    directory: str | os.PathLike[str], module: torch.nn.Module, config: Mapping[str, Any], *, verify: bool = True
) -> torch.nn.Module:
    """Fills `module` with the weights of a model directory, all of them and nothing else.

    Args:
        directory: as `locate` returns it.
        module: built from `config`, on any device. Its dtypes stay; see Raises.
        config: what `read_config(directory)` returned; it names the files and their sha256.
        verify: compare the sha256 while reading, of files that have no valid note of it. Without it, a changed value in
            a file of the right form is not seen.

    Returns:
        `module`.

    Raises:
        HubError: a file is missing, cut short, not safetensors or contradicts itself; keys or shapes differ from the
            module's; a dtype differs other than by widening (float16 or bfloat16 to float32 or float64, float32 to
            float64), which is exact. All that is found before the module is touched. If the sha256 differs, or a bool
            is neither 0 nor 1, the module's values are undefined.
    """
    if sys.byteorder != "little":
        raise HubError("safetensors files are little-endian; this machine is not, and gencore cannot read them here.")
    directory, targets = Path(directory), canonical_tensors(module)
    with ExitStack() as stack:
        files = {name: stack.enter_context(open_inside(directory, name)) for name in config["weights"]}
        headers = {name: read_header(file, str(directory / name)) for name, file in files.items()}
        _check_against(targets, headers, directory)
        for name, file in files.items():
            hashed = verify and not is_noted(file, config["weights"][name])
            digest = _read_tensors(file, headers[name], targets, str(directory / name), hashed=hashed)
            if hashed and digest != config["weights"][name]:
                raise HubError(
                    f"{directory / name} is damaged, or belongs to another save: its sha256 is {digest}, and "
                    f"config.json says {config['weights'][name]}. Copy or download the directory again; if you "
                    "exchanged the weights on purpose, save the model anew with save_pretrained."
                )
    return module


def save_weights(module: torch.nn.Module, folder: Path, max_shard_size: int | str = "5GB") -> dict[str, str]:
    """Writes the module's weights into `folder` as one or more safetensors files, with an index if there are several.

    Args:
        max_shard_size: bytes, or a text such as "5GB".

    Returns:
        File name -> sha256, for `config.json`.

    Raises:
        HubError: the module's state holds something else than tensors with values, or a dtype safetensors lacks.
        OSError: it could not be written.
    """
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = _standalone(canonical_tensors(module))
    if not tensors:
        raise HubError(f"{type(module).__name__} has no weights to save.")
    shards = split_torch_state_dict_into_shards(tensors, max_shard_size=max_shard_size)
    for file, names in shards.filename_to_tensors.items():
        assert is_weights(file), file
        try:
            save_file({name: tensors[name] for name in names}, folder / file, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(f"{file}: {error}") from error
    if shards.is_sharded:
        index = {"metadata": shards.metadata, "weight_map": shards.tensor_to_filename}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    digests = {file: file_sha256(folder / file) for file in shards.filename_to_tensors}
    for file, digest in digests.items():
        note(folder / file, digest)
    return digests


def canonical_tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The module's state, name -> tensor that shares the module's memory; of tied tensors only the first name.

    Raises:
        HubError: something in the state is not a tensor, or is a tensor without values ("meta" device).
    """
    import torch

    result: dict[str, torch.Tensor] = {}
    seen = set()
    for name, tensor in module.state_dict().items():
        if not isinstance(tensor, torch.Tensor):
            raise HubError(
                f"{name!r} in the state of {type(module).__name__} is a {type(tensor).__name__}, not a tensor."
            )
        if tensor.is_meta:
            raise HubError(f"{name!r} of {type(module).__name__} is on the meta device and has no values.")
        place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() == 0 or place not in seen:
            seen.add(place)
            result[name] = tensor.detach()
    return result


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex: the same as `sha256sum`, and as the Hub's id of a large file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_whole(directory: Path, weights: Mapping[str, str], *, links: bool = True) -> None:
    """Compares the sha256 of the files of weights, whatever was noted of them (verified.py).

    Raises:
        HubError: one differs from that in `weights`, or cannot be opened (`open_inside`).
    """
    for name, expected in weights.items():
        with open_inside(directory, name, links=links) as file:
            digest = hashlib.sha256()
            while chunk := file.read(CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != expected:
            raise HubError(f"{directory / name} is damaged: its sha256 is not config.json's.")


def _standalone(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """safetensors refuses tensors that are parts of one storage, or the same one twice: such are copied."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        alone = storage.nbytes() == tensor.numel() * tensor.element_size() and storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        result[name] = tensor.contiguous() if alone else tensor.clone().contiguous()
    return result


def _check_against(targets: Mapping[str, torch.Tensor], headers: Mapping[str, Header], directory: Path) -> None:
    found: dict[str, TensorEntry] = {}
    for file, header in headers.items():
        if twice := found.keys() & header.tensors.keys():
            raise HubError(f"{directory}: {_listed(sorted(twice))} of {file} stand in another file too.")
        found |= header.tensors
    problems = []
    if missing := [name for name in targets if name not in found]:
        problems.append(f"missing: {_listed(missing)}")
    if unexpected := [name for name in found if name not in targets]:
        problems.append(f"unexpected: {_listed(unexpected)}")
    if wrong := [
        text for name, entry in found.items() if name in targets and (text := _mismatch(name, entry, targets))
    ]:
        problems.append(f"mismatched: {_listed(wrong)}")
    if problems:
        raise HubError(f"the weights in {directory} are not this model's; {'; '.join(problems)}.")


def _mismatch(name: str, entry: TensorEntry, targets: Mapping[str, torch.Tensor]) -> str:
    shape, dtype = tuple(targets[name].shape), _dtype_name(targets[name])
    if entry.shape != shape:
        return f"{name} has the shape {entry.shape} instead of {shape}"
    if entry.dtype != dtype and (entry.dtype, dtype) not in WIDENING:
        return f"{name} is {entry.dtype} and would not fit {dtype} without loss (load wider, then convert)"
    return ""


def _read_tensors(
    file: FileIO, header: Header, targets: Mapping[str, torch.Tensor], source: str, *, hashed: bool
) -> str:
    import torch

    digest = hashlib.sha256(header.raw) if hashed else None
    for name, entry in header.tensors.items():
        target, dtype = targets[name], getattr(torch, entry.dtype)
        direct = target.device.type == "cpu" and target.dtype == dtype and target.is_contiguous()
        values = target if direct else torch.empty(target.shape, dtype=dtype)
        if values.numel() == 0:
            continue
        data = values.reshape(-1).view(torch.uint8).numpy()
        ask_for_huge_pages(data.ctypes.data, data.nbytes)
        _fill(data.data, file, digest, source)
        if dtype is torch.bool and data.max() > 1:
            raise HubError(f"{source}: {name} is bool, and holds bytes other than 0 and 1.")
        if not direct:
            target.copy_(values)
    return digest.hexdigest() if digest else ""


def _fill(buffer: memoryview, file: FileIO, digest: _Hash | None, source: str) -> None:
    position = 0
    while position < len(buffer):
        count = file.readinto(buffer[position : position + CHUNK])
        if not count:
            raise HubError(f"{source} became shorter while it was read.")
        if digest:
            digest.update(buffer[position : position + count])
        position += count


def _dtype_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _listed(items: Sequence[str]) -> str:
    rest = len(items) - MAX_LISTED
    return ", ".join(shown(item, line=True) for item in items[:MAX_LISTED]) + (f" and {rest} more" if rest > 0 else "")
