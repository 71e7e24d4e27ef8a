"""Hostile config.json files (values at random places of a real one replaced, dropped or doubled), files that would run
code if they were unpickled or imported, and a watch over what the process does meanwhile."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from hypothesis import strategies as st

from gencore.errors import GencoreError
from gencore_hub import HubError

MUST_BE_QUICK = 5.0
"""Seconds for one refusal on a busy machine; the slowest seen takes one."""

OURS = (HubError, GencoreError)
UNWANTED = (
    *("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pickle.", "ctypes.dlopen"),
    *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown"),
    *("os.setxattr", "os.removexattr", "os.utime", "os.kill", "os.putenv", "shutil.", "tempfile.", "socket."),
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """`with watch:` notes in `watch.seen` what reading a file has no business doing: other programs, files opened for
    writing or moved, pickles, sockets. A process keeps it for ever. Torch's compiler, which some operations on the meta
    device import, makes a folder for its caches as it is imported, whatever is loaded; so it is imported here."""

    def __init__(self) -> None:
        import torch._dynamo  # noqa: F401

        self.seen: list[str] = []
        self.on = False
        sys.addaudithook(self._hook)

    def __enter__(self) -> None:
        self.seen.clear()
        self.on = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.on = False

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if (event, arguments) == ("ctypes.dlopen", ("libnvidia-ml.so.1",)):
            return  # a CUDA build of torch asks the driver whether there is a GPU
        if self.on and (event.startswith(UNWANTED) or (event == "open" and arguments[2] & WRITING)):
            self.seen.append(f"{event} {arguments}")


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 0",)


def _zipped(data: bytes) -> bytes:
    """As torch.save writes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", b"3")
    return buffer.getvalue()


PICKLE = pickle.dumps(_Evil())
DISGUISES = (
    *(PICKLE, _zipped(PICKLE), pickle.dumps(_Evil(), protocol=0), b"PK\x03\x04", b"\x80\x04\x95", b"\x1f\x8b", b""),
    b"version https://git-lfs.github.com/spec/v1\n",
)


def lay_traps(folder: Path) -> None:
    """Files that other loaders would unpickle or import."""
    for name in ("pytorch_model.bin", "model.pkl"):
        (folder / name).write_bytes(PICKLE)
    for name in ("model.pt", "model.ckpt"):
        (folder / name).write_bytes(_zipped(PICKLE))
    for name in ("__init__.py", "modeling_gencore.py", "configuration_gencore.py"):
        (folder / name).write_text("import os\nos.system('exit 0')\n")


numbers = st.sampled_from(
    (
        0,
        -1,
        1,
        2,
        3,
        7,
        100,
        10**4,
        10**6,
        2**24,
        2**31,
        10**9,
        10**12,
        2**63,
        10**19,
        -(10**9),
        0.0,
        -1.5,
        1e-300,
        1e300,
    )
)
leaves = numbers | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
leaves |= st.text(max_size=8) | st.sampled_from(("dense", "conv", "../../etc/passwd", "os:system", "__class__", "\x00"))
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)
values |= st.tuples(numbers, st.integers(0, 3000)).map(lambda pair: [pair[0]] * pair[1])
RAW = ("NaN", "Infinity", "-Infinity", "1e999", "[" * 5000 + "]" * 5000, "9" * 5000, '{"a": 1, "a": 2}', "\ud800", "")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside nested dicts and lists, the outermost first."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of nested dicts and lists with the value at `path` exchanged."""
    if not path:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = put(value[path[0]], path[1:], new)
    return changed


def like(value: Any) -> st.SearchStrategy[Any]:
    """Values of the same kind, such as pass the first checks."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.integers(0, 9) | st.sampled_from((16, 64, 1000, 10**5, 2**24, 10**9, 2**63, -1))
    if isinstance(value, float):
        return st.floats(0, 2) | st.sampled_from((-1.0, 1e-300, 1e300))
    if isinstance(value, list) and value:
        return st.lists(like(value[0]), max_size=6) | st.tuples(like(value[0]), st.integers(0, 3000)).map(
            lambda pair: [pair[0]] * pair[1]
        )
    return values


@st.composite
def configs(draw: st.DrawFn, config: dict[str, Any]) -> bytes:
    """The bytes of a config.json made from a real one by one to three changes, most of them in the model's config;
    a few are another kind of file."""
    if draw(st.integers(0, 30)) == 0:
        return draw(st.sampled_from(DISGUISES)) + draw(st.binary(max_size=8))
    for _ in range(draw(st.integers(1, 3))):
        inside = [path for path in places(config) if path[:1] == ("config",) and len(path) > 1]
        if inside and draw(st.integers(0, 3)):
            path = draw(st.sampled_from(inside))
        else:
            path = draw(st.sampled_from([path for path in places(config) if path]))
        old = functools.reduce(lambda item, key: item[key], path, config)
        config = put(config, path, draw(values if draw(st.booleans()) else like(old)))
        if not isinstance(config.get("config"), dict):
            break
    text = json.dumps(config)
    if draw(st.integers(0, 5)) == 0:
        text = json.dumps(put(config, path, "@@"))
        text = text.replace('"@@"', draw(st.sampled_from(RAW)), 1)
    return text.encode("utf-8", "surrogatepass")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
