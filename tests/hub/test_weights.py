"""Weights: bit for bit there and back, and nothing that is not exactly the model's."""

from __future__ import annotations

import json
import math
import os
import struct
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load as library_load
from safetensors.torch import load_model, save_file

from gencore_hub import HubError, load_into, read_config
from gencore_hub.safetensors_header import DTYPES, MAX_HEADER_BYTES, Header, read_header

from .helpers import Tied, same_state

ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def load(path: Path, module: torch.nn.Module, **options: Any) -> torch.nn.Module:
    return load_into(path, module, read_config(path), **options)


def encode(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def parse(path: Path, data: bytes) -> dict[str, Any]:
    path.write_bytes(data)
    with open(path, "rb", buffering=0) as file:
        return read_header(file, "x.safetensors").tensors


def exchange(path: Path, data: bytes) -> None:
    """Puts other weights into a model directory, and their sha256 into its config.json: a careful stranger."""
    import hashlib

    (path / "model.safetensors").write_bytes(data)
    config = json.loads((path / "config.json").read_bytes())
    config["weights"] = {"model.safetensors": hashlib.sha256(data).hexdigest()}
    (path / "config.json").write_text(json.dumps(config))


# there and back


@pytest.mark.parametrize("shard", ["5GB", 100, "0.00005MB"])
def test_round_trip_is_bit_equal_and_keeps_ties(save, shard: int | str) -> None:
    source, target = Tied(seed=1), Tied(seed=2)
    path = save(source, max_shard_size=shard)
    assert ("model.safetensors" in {file.name for file in path.iterdir()}) == (shard == "5GB")
    assert not same_state(source, target)
    assert load(path, target) is target
    assert same_state(source, target)
    assert target.out.weight.data_ptr() == target.embed.weight.data_ptr()


def test_every_dtype_comes_back(save) -> None:
    def module(seed: int) -> torch.nn.Module:
        result = torch.nn.Module()
        generator = torch.Generator().manual_seed(seed)
        for name, size in DTYPES.values():
            raw = torch.randint(0, 2 if name == "bool" else 60, (6 * size,), generator=generator, dtype=torch.uint8)
            result.register_buffer(f"a_{name}", raw.view(getattr(torch, name)).reshape(3, 2))
            result.register_buffer(f"none_of_{name}", raw.view(getattr(torch, name))[:0])
        return result

    source, target = module(1), module(2)
    load(save(source), target)
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor.view(torch.uint8), target.state_dict()[name].view(torch.uint8)), name


def test_nan_infinity_and_signed_zero_come_back_bit_for_bit(save) -> None:
    source, target = torch.nn.Linear(4, 1, bias=False), torch.nn.Linear(4, 1, bias=False)
    source.weight.data.copy_(torch.tensor([[math.nan, math.inf, -0.0, 1e-45]]))
    load(save(source), target)
    assert torch.equal(source.weight.view(torch.int32), target.weight.view(torch.int32))


def test_strided_tensors_and_views_of_one_storage(save) -> None:
    def module(seed: int) -> torch.nn.Module:
        result = torch.nn.Module()
        base = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
        for name, tensor in {"first": base[0], "base": base, "row": base[1], "turned": base.t()}.items():
            result.register_buffer(name, tensor)
        other = torch.randn(9, generator=torch.Generator().manual_seed(seed))
        for name, tensor in {"rest": torch.ones(9)[3:], "other": other, "bits": other.view(torch.int32)}.items():
            result.register_buffer(name, tensor)
        image = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
        result.weight = torch.nn.Parameter(image.to(memory_format=torch.channels_last))
        return result

    source, target = module(1), module(2)
    load(save(source), target)
    assert same_state(source, target)
    assert target.weight.is_contiguous(memory_format=torch.channels_last)


def test_the_library_itself_reads_our_files(save) -> None:
    source, target = Tied(seed=1), Tied(seed=2)
    load_model(target, save(source) / "model.safetensors")
    assert same_state(source, target)


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
def test_widening_is_exact(save, narrow: torch.dtype) -> None:
    source = torch.nn.Linear(3, 2).to(narrow)
    target = load(save(source), torch.nn.Linear(3, 2))
    assert target.weight.dtype == torch.float32
    assert torch.equal(target.weight, source.weight.float())


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [(torch.float32, torch.float16), (torch.float64, torch.float32), (torch.float16, torch.bfloat16)],
)
def test_narrowing_is_refused(save, stored: torch.dtype, wanted: torch.dtype) -> None:
    path = save(torch.nn.Linear(3, 2).to(stored))
    with pytest.raises(HubError, match="without loss"):
        load(path, torch.nn.Linear(3, 2).to(wanted))


# not this model's


def test_differences_are_listed_and_the_module_is_untouched(save) -> None:
    path = save(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)))
    other = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Identity(), torch.nn.Linear(4, 2, bias=False))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(HubError) as caught:
        load(path, other)
    text = str(caught.value)
    assert "missing: 2.weight;" in text
    assert "unexpected: 1.bias, 1.weight" in text.replace("1.weight, 1.bias", "1.bias, 1.weight")
    assert "0.weight has the shape (4, 3) instead of (5, 3)" in text
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


def test_as_many_values_in_another_shape_are_refused(save) -> None:
    path = save(torch.nn.Linear(3, 4, bias=False))
    with pytest.raises(HubError, match=r"weight has the shape \(4, 3\) instead of \(3, 4\)"):
        load(path, torch.nn.Linear(4, 3, bias=False))


def test_long_lists_are_cut(save) -> None:
    path = save(torch.nn.Linear(2, 2))
    with pytest.raises(HubError, match="and 32 more"):
        load(path, torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(21)))


def test_one_key_in_two_files_is_refused(save) -> None:
    path = save(torch.nn.Linear(4, 4), max_shard_size=20)
    files = sorted(file.name for file in path.glob("model-*.safetensors"))
    (path / files[1]).write_bytes((path / files[0]).read_bytes())
    with pytest.raises(HubError, match="stand in another file too"):
        load(path, torch.nn.Linear(4, 4))


@pytest.mark.parametrize("shard", ["5GB", 70])
def test_a_flipped_bit_is_found(save, shard: int | str) -> None:
    path = save(Tied(), max_shard_size=shard)
    for file in sorted(path.glob("*.safetensors")):
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        with pytest.raises(HubError, match=r"damaged|other than 0 and 1"):
            load(path, Tied())
        data[-1] ^= 1
        file.write_bytes(data)
    load(path, Tied())


def test_every_truncation_is_found(save) -> None:
    path = save(torch.nn.Linear(2, 2))
    file = path / "model.safetensors"
    data = file.read_bytes()
    for length in range(len(data)):
        file.write_bytes(data[:length])
        with pytest.raises(HubError):
            load(path, torch.nn.Linear(2, 2), verify=False)


def test_weights_of_another_save_are_found(save) -> None:
    first, second = save(torch.nn.Linear(2, 2), "first"), save(torch.nn.Linear(2, 2), "second")
    (first / "model.safetensors").write_bytes((second / "model.safetensors").read_bytes())
    with pytest.raises(HubError, match="belongs to another save"):
        load(first, torch.nn.Linear(2, 2))
    load(first, torch.nn.Linear(2, 2), verify=False)


def test_a_bool_that_is_neither_is_refused(save) -> None:
    module = torch.nn.Module()
    module.register_buffer("flag", torch.tensor([True]))
    path = save(module)
    exchange(path, encode({"flag": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]}}, b"\x02"))
    with pytest.raises(HubError, match="other than 0 and 1"):
        load(path, module)


def test_state_that_is_no_tensor_and_meta_tensors_are_refused(save, tmp_path: Path) -> None:
    class Extra(torch.nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {"steps": 3}

    with pytest.raises(HubError, match="is a dict, not a tensor"):
        save(Extra(2, 2), "extra")
    with pytest.raises(HubError, match="meta device"):
        save(torch.nn.Linear(2, 2, device="meta"), "meta")
    with pytest.raises(HubError, match="no weights"):
        save(torch.nn.Identity(), "none")
    assert not any(list((tmp_path / name).iterdir()) for name in ("extra", "meta", "none"))


# headers of strangers


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut short"),
        (b"\x00" * 9, "cut short"),
        (b"PK\x03\x04" + b"\0" * 60, "zip archive"),
        (b"\x80\x04\x95" + b"\0" * 60, "a pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (struct.pack("<Q", 2**63) + b"{}", "cut short"),
        (struct.pack("<Q", 100) + b"{}", "cut short"),
        (encode(b" " * (MAX_HEADER_BYTES + 1)), "at most"),
        (encode([]), "instead of an object"),
        (encode(b"{{"), "not strict JSON"),
        (encode(b'{"w":{},"w":{}}'), "stands twice"),
        (encode(b"[" * 50_000), "nested deeper"),
        (encode({"__metadata__": {"a": 1}}), "metadata"),
        (encode({"__metadata__": []}), "metadata"),
        (encode({"w": []}), "instead of dtype, shape and data_offsets"),
        (encode({"w": {**ENTRY, "code": "import os"}}, b"\0" * 8), "instead of dtype, shape and data_offsets"),
        (encode({"w": {**ENTRY, "dtype": "OBJECT"}}, b"\0" * 8), "dtype 'OBJECT'"),
        (encode({"w": {**ENTRY, "dtype": ["F32"]}}, b"\0" * 8), "dtype"),
        (encode({"w": {**ENTRY, "shape": [-2]}}, b"\0" * 8), "counts"),
        (encode({"w": {**ENTRY, "shape": [2.0]}}, b"\0" * 8), "counts"),
        (encode({"w": {**ENTRY, "shape": [True, 2]}}, b"\0" * 8), "counts"),
        (encode({"w": {**ENTRY, "shape": [1] * 17}}, b"\0" * 8), "counts"),
        (encode({"w": {**ENTRY, "shape": [2**62, 2**62]}}, b"\0" * 8), "does not fit its offsets"),
        (encode({"w": {**ENTRY, "shape": [2**63]}}, b"\0" * 8), "counts"),
        (encode({"w": {**ENTRY, "shape": [3]}}, b"\0" * 8), "does not fit its offsets"),
        (encode({"w": {**ENTRY, "data_offsets": [0, 16]}}, b"\0" * 16), "does not fit its offsets"),
        (encode({"w": {**ENTRY, "data_offsets": [8, 0]}}, b"\0" * 8), "does not fit its offsets"),
        (encode({"w": {**ENTRY, "data_offsets": [4, 12]}}, b"\0" * 12), "begins at byte"),
        (encode({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, b"\0" * 8), "cut short"),
        (encode({"w": ENTRY, "v": ENTRY}, b"\0" * 8), "begins at byte"),
        (encode({"w": ENTRY}, b"\0" * 9), "belong to no tensor"),
        (encode({}, b"hidden"), "belong to no tensor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_headers_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(HubError, match=message):
        parse(tmp_path / "x", data)


def test_a_huge_declared_shape_allocates_nothing(save, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(torch.nn.Linear(2, 2))
    exchange(path, encode({"weight": {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 2**42]}}))

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("something was allocated")

    module = torch.nn.Linear(2, 2)
    monkeypatch.setattr(torch, "empty", refuse)
    with pytest.raises(HubError, match="cut short"):
        load(path, module)


COUNTS = st.integers(-2, 2**64) | st.integers(0, 4)
ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*DTYPES, "F4", "f32", ""]),
        "shape": st.lists(COUNTS, max_size=4),
        "data_offsets": st.lists(COUNTS, min_size=1, max_size=3),
    }
)
HEADERS = st.dictionaries(
    st.sampled_from(["w", "v", "__metadata__", ""]), ENTRIES | st.just({}) | st.none(), max_size=3
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Valid files of a few tensors, of which some are then changed in one place."""
    items, position = {}, 0
    for name in draw(st.lists(st.sampled_from(["w", "v", "u", "t"]), unique=True)):
        dtype, shape = draw(st.sampled_from([*DTYPES])), draw(st.lists(st.integers(0, 3), max_size=3))
        size = DTYPES[dtype][1] * math.prod(shape)
        items[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + size]}
        position += size
    data = bytearray(encode(items, bytes(position)))
    if draw(st.booleans()):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(files() | HEADERS.map(lambda header: encode(header, b"\0" * 8)) | st.binary(max_size=80))
@example(encode({"w": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}, "v": ENTRY}, b"\0" * 8))
def test_we_accept_no_file_that_the_library_refuses(tmp_path: Path, data: bytes) -> None:
    try:
        ours = parse(tmp_path / "x", data)
    except HubError:
        return
    theirs = library_load(data)
    assert {name: entry.shape for name, entry in ours.items()} == {name: tuple(t.shape) for name, t in theirs.items()}
    assert {name: f"torch.{entry.dtype}" for name, entry in ours.items()} == {
        n: str(t.dtype) for n, t in theirs.items()
    }


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.data())
def test_we_accept_every_file_that_the_library_writes(tmp_path: Path, data: st.DataObject) -> None:
    shapes = data.draw(
        st.dictionaries(
            st.text(max_size=6).filter(lambda name: name != "__metadata__"), st.lists(st.integers(0, 3), max_size=3)
        )
    )
    dtypes = st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool])
    tensors = {name: torch.zeros(shape, dtype=data.draw(dtypes)) for name, shape in shapes.items()}
    try:
        save_file(tensors, tmp_path / "x", metadata={"format": "pt"})
    except (SafetensorError, UnicodeEncodeError):
        return
    entries = parse(tmp_path / "x", (tmp_path / "x").read_bytes())
    assert {name: entry.shape for name, entry in entries.items()} == {
        name: tuple(t.shape) for name, t in tensors.items()
    }


def test_an_empty_tensor_may_stand_behind_the_one_that_begins_where_it_does(tmp_path: Path) -> None:
    nothing = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    assert parse(tmp_path / "x", encode({"w": ENTRY, "none": nothing}, b"\0" * 8)).keys() == {"w", "none"}


def test_a_file_that_shrinks_while_it_is_read(save, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(torch.nn.Linear(2, 2))

    def read_then_cut(file: FileIO, source: str) -> Header:
        header = read_header(file, source)
        os.truncate(path / "model.safetensors", len(header.raw) + 4)
        return header

    monkeypatch.setattr("gencore_hub.weights.read_header", read_then_cut)
    with pytest.raises(HubError, match="became shorter"):
        load(path, torch.nn.Linear(2, 2))


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x0480, 0x0580])
def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path: Path, length: int) -> None:
    data = encode(b"{}" + b" " * (length - 2))
    assert data.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))
    assert parse(tmp_path / "x", data) == {}


def test_peak_memory_is_the_module_alone(save) -> None:
    """In a process of its own: the highest resident set while 64 MB are loaded into a module that has its memory."""
    import subprocess
    import sys

    import gencore_hub

    path = save(torch.nn.Linear(2048, 8192, bias=False), max_shard_size="1MB")
    code = f"""
import sys, pathlib; sys.path.insert(0, {str(Path(gencore_hub.__file__).parents[1])!r})
import torch, gencore_hub as hub
torch.set_num_threads(1)
def peak():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
path = pathlib.Path({str(path)!r})
config = hub.read_config(path)
small = torch.nn.Linear(2, 2)
before = peak()
module = torch.nn.Linear(2048, 8192, bias=False)
built = peak()
hub.load_into(path, module, config)
print(built - before, peak() - before)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    built, loaded = map(int, run.stdout.split())
    assert built > 60_000
    assert loaded <= 1.2 * 65_536
