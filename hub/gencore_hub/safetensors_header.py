"""The header of a safetensors file, checked against the file's size before anything is allocated.

Format: 8 bytes, little-endian: the length N of the header; N bytes of JSON, {name: {dtype, shape, data_offsets}}, and
optionally `__metadata__`; then the tensors, without gaps (https://huggingface.co/docs/safetensors). Stricter than the
format's own reader: duplicate keys are refused, and the header may be 8 MiB (some 60,000 tensors) instead of 100 MB.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from io import FileIO
from typing import Any

from .errors import HubError
from .strict_json import shorten, strict_json

MAX_HEADER_BYTES = 2**23
MAX_DIMS = 16

# safetensors' name -> (torch's name, bytes)
DTYPES = {
    "BOOL": ("bool", 1),
    "U8": ("uint8", 1),
    "I8": ("int8", 1),
    "U16": ("uint16", 2),
    "I16": ("int16", 2),
    "U32": ("uint32", 4),
    "I32": ("int32", 4),
    "U64": ("uint64", 8),
    "I64": ("int64", 8),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "F32": ("float32", 4),
    "F64": ("float64", 8),
    "C64": ("complex64", 8),
}
_DISGUISES = {
    b"PK\x03\x04": "a zip archive (torch.save writes such, with a pickle inside)",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"\x1f\x8b": "a gzip file",
    b"\x89HDF": "an HDF5 file",
    b"version https://git-lfs": "a Git LFS pointer: the file itself was not downloaded",
    b"<!DOCTYPE": "a web page",
}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor in a file: `dtype` as torch names it, and its bytes as offsets into the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """The tensors in the order in which they lie in the file, and the file's first bytes up to the first tensor."""

    tensors: dict[str, TensorEntry]
    raw: bytes


def read_header(file: FileIO, source: str) -> Header:
    """Reads and checks the header of an open safetensors file.

    Args:
        file: at its beginning; left at the first tensor's byte.
        source: the file's name, for errors.

    Raises:
        HubError: not a safetensors file, cut short, or a header that contradicts itself or the file's size.
    """
    size = os.fstat(file.fileno()).st_size
    first = file.read(32)
    length = int.from_bytes(first[:8], "little")
    if size < 10 or length > size - 8:
        raise HubError(_what_it_is(source, first, size, length))
    if length > MAX_HEADER_BYTES:
        raise HubError(f"{source} has a header of {length} bytes; at most {MAX_HEADER_BYTES} are read.")
    file.seek(8)
    text = file.read(length)
    if len(text) != length:
        raise HubError(f"{source} ended while its header was being read.")
    tensors = _parse(strict_json(text, f"the header of {source}"), source, start=8 + length, size=size)
    return Header(tensors, first[:8] + text)


def _what_it_is(source: str, first: bytes, size: int, length: int) -> str:
    """Asked only once the length is impossible: a header of 640 bytes begins with the two bytes of a pickle."""
    for magic, meaning in _DISGUISES.items():
        if first.startswith(magic):
            return f"{source} is not a safetensors file but {meaning}."
    return f"{source} is cut short or no safetensors file: {size} bytes, with a header said to be {length}."


def _parse(header: Any, source: str, *, start: int, size: int) -> dict[str, TensorEntry]:
    if not isinstance(header, dict):
        raise HubError(f"the header of {source} is {shorten(header)} instead of an object.")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise HubError(f"the metadata of {source} are {shorten(metadata)} instead of texts.")
    entries = {name: _entry(name, item, source, start) for name, item in header.items()}
    tensors = dict(sorted(entries.items(), key=lambda pair: (pair[1].begin, pair[1].end)))
    position = start
    for name, entry in tensors.items():
        if entry.begin != position:
            raise HubError(f"in {source}, {shorten(name)} begins at byte {entry.begin} instead of {position}.")
        position = entry.end
    if position != size:
        what = "is cut short" if position > size else "has bytes that belong to no tensor"
        raise HubError(f"{source} {what}: its header describes {position} bytes, the file has {size}.")
    return tensors


def _entry(name: str, item: Any, source: str, start: int) -> TensorEntry:
    where = f"in {source}, tensor {shorten(name)}"
    if not isinstance(item, dict) or set(item) != {"dtype", "shape", "data_offsets"}:
        raise HubError(f"{where} is {shorten(item)} instead of dtype, shape and data_offsets.")
    if not isinstance(item["dtype"], str) or item["dtype"] not in DTYPES:
        raise HubError(f"{where} has the dtype {shorten(item['dtype'])}. Known: {', '.join(DTYPES)}.")
    shape, offsets = item["shape"], item["data_offsets"]
    if not _is_counts(shape) or len(shape) > MAX_DIMS:
        raise HubError(f"{where} has the shape {shorten(shape)} instead of at most {MAX_DIMS} counts.")
    if not _is_counts(offsets) or len(offsets) != 2:
        raise HubError(f"{where} has the offsets {shorten(offsets)} instead of [begin, end].")
    dtype, itemsize = DTYPES[item["dtype"]]
    if offsets[1] - offsets[0] != math.prod(shape) * itemsize:
        raise HubError(
            f"{where} of shape {shorten(shape)} and dtype {dtype} does not fit its offsets {shorten(offsets)}."
        )
    return TensorEntry(dtype, tuple(shape), start + offsets[0], start + offsets[1])


def _is_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)
