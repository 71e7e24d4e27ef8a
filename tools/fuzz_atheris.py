"""Coverage-guided fuzzing of what reads a stranger's bytes, by atheris (libFuzzer). Run from the repository's root:

    pip install atheris                                     # wheels for Linux; any folder on PYTHONPATH does
    python -m tools.fuzz_atheris -max_total_time=300 [CORPUS_FOLDER]

The first byte of a case chooses the target. Anything but one of gencore's errors ends the run with the case written to
a file `crash-...`, and so does a case of more than 10 seconds or 2 GB, a file opened for writing, a program, a pickle.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=[
        *("gencore_hub", "gencore.config", "gencore.pretrained", "gencore.cli.hub", "gencore.data"),
        "gencore.training.checkpoint",
    ]
):
    import gencore.config
    import gencore.data
    import gencore.data.sources.arrays
    import gencore.data.sources.folder
    import gencore.data.sources.hdf5
    import gencore.data.sources.idx
    import gencore.data.sources.metadata
    import gencore.data.sources.midi
    import gencore.data.sources.volumes
    import gencore.pretrained
    import gencore.training.checkpoint
    import gencore_hub.files
    import gencore_hub.names
    import gencore_hub.safetensors_header
    import gencore_hub.strict_json
    from gencore import from_pretrained
    from gencore.cli.hub import _license, _text
    from gencore.cli.show import shown

import torch

from gencore.testing.conformance import tiny_model
from tests.faults.hostile import OURS, Watch, contents, lay_traps
from tests.faults.hostile_data import DataFile, data_files, lay_pictures, read_data

LIMITS = ("-timeout=10", "-rss_limit_mb=2048", "-max_len=65536")


def targets(folder: Path) -> list[tuple[Callable[[bytes], object], bytes]]:
    """What is called with a case's bytes, and a first case for it."""
    seeds = contents(folder)

    def load(name: str) -> Callable[[bytes], object]:
        def replaced(data: bytes) -> object:
            (folder / name).write_bytes(data)
            with watch:
                return from_pretrained(folder)

        return restoring(name, replaced)

    def restoring(name: str, call: Callable[[bytes], object]) -> Callable[[bytes], object]:
        def run(data: bytes) -> object:
            try:
                return call(data)
            finally:
                (folder / name).write_bytes(seeds[name])

        return run

    def header(data: bytes) -> object:
        (folder / "model.safetensors").write_bytes(data)
        with watch, gencore_hub.files.open_inside(folder, "model.safetensors") as file:
            return gencore_hub.safetensors_header.read_header(file, "x")

    def card(data: bytes) -> object:
        (folder / "README.md").write_bytes(data)
        with watch:
            return shown(_text(folder)), _license(folder)

    def name(data: bytes) -> object:
        first, _, second = data.decode("utf-8", "surrogateescape").partition("\n")
        with watch:
            gencore_hub.files.check_subfolder(second)
            return gencore_hub.names.resolve(first, second or None)

    def text(data: bytes) -> object:
        with watch:
            return gencore_hub.strict_json.strict_json(data, "it")

    weights = seeds["model.safetensors"]
    length = 8 + int.from_bytes(weights[:8], "little")
    return [
        (load("config.json"), seeds["config.json"]),
        (load("model.safetensors"), weights),
        (restoring("model.safetensors", header), weights[:length]),
        (restoring("README.md", card), seeds["README.md"]),
        (name, b"org/name@main\nsub/folder"),
        (text, b'{"a": [1, 2.5, null, "b"]}'),
    ]


def targets_of_data(root: Path) -> list[tuple[Callable[[bytes], object], bytes]]:
    """One for each kind of data file, beside four pictures."""

    def target(folder: Path, file: DataFile) -> Callable[[bytes], object]:
        def read(data: bytes) -> None:
            (folder / file.name).write_bytes(data)
            with watch, warnings.catch_warnings(action="ignore"):
                read_data(folder, file)

        return read

    found = []
    for what, file in data_files().items():
        lay_pictures(root / what)
        found.append((target(root / what, file), file.content))
    return found


def targets_of_checkpoints(root: Path) -> list[tuple[Callable[[bytes], object], bytes]]:
    """One for each file of a checkpoint; nothing but its own bytes may be taken for it."""
    whole = gencore.training.checkpoint.Checkpoint(tensors={"a": torch.arange(9.0)}, values={"step": 1})
    folder = gencore.training.checkpoint.write(root, 1, whole, keep=1)
    seeds = contents(folder)

    def target(name: str) -> Callable[[bytes], object]:
        def read(data: bytes) -> None:
            (folder / name).write_bytes(data)
            try:
                with watch:
                    gencore.training.checkpoint.read(folder)
                assert data == seeds[name] or name == "SHA256SUMS", f"{data!r} was taken for {name}"
            finally:
                (folder / name).write_bytes(seeds[name])

        return read

    return [(target(name), content) for name, content in seeds.items()]


def main() -> None:
    """Fuzz until libFuzzer's options say stop."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        folder, corpus = Path(root, "model"), Path(root, "corpus")
        tiny_model("gan").save_pretrained(folder)
        lay_traps(folder)
        chosen = [*targets(folder), *targets_of_data(Path(root, "data")), *targets_of_checkpoints(Path(root, "run"))]
        corpus.mkdir()
        for number, (_, seed) in enumerate(chosen):
            (corpus / str(number)).write_bytes(bytes([number]) + seed)

        def one_case(data: bytes) -> None:
            if not data:
                return
            with contextlib.suppress(OURS):
                chosen[data[0] % len(chosen)][0](data[1:])
            assert watch.seen == [], watch.seen

        arguments = [sys.argv[0], *LIMITS, *sys.argv[1:], str(corpus)]
        atheris.Setup(arguments, one_case)
        atheris.Fuzz()


watch = Watch()

if __name__ == "__main__":
    main()
