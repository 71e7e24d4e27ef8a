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
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gencore_hub", "gencore.config", "gencore.pretrained", "gencore.cli.hub"]):
    import gencore.config
    import gencore.pretrained  # noqa: F401
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


def main() -> None:
    """Fuzz until libFuzzer's options say stop."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        folder, corpus = Path(root, "model"), Path(root, "corpus")
        tiny_model("gan").save_pretrained(folder)
        lay_traps(folder)
        chosen = targets(folder)
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
