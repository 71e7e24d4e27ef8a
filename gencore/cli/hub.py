"""gencore push, pull, card and index."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from gencore.cli.options import Model
from gencore.cli.show import print_rows, say
from gencore.errors import GencoreError
from gencore.paths import user_path
from gencore_hub.files import CARD, CONFIG, find, open_inside
from gencore_hub.strict_json import shorten

_LICENSE = re.compile(r"^license:[ \t]*[\"']?([A-Za-z0-9][A-Za-z0-9._+ -]{0,60})", re.MULTILINE)
MAX_CARD_BYTES = 2**20
UNKNOWN = "not stated"

Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.")]
Subfolder = Annotated[str | None, typer.Option(help="The model's folder inside the directory or repository.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (push, pull, card, index):
        app.command()(command)


def push(
    model: Model,
    repo: Annotated[str, typer.Argument(metavar="ORG/NAME", help="The repository; made if it is missing.")],
    private: Annotated[bool | None, typer.Option("--private/--public", help="Visibility of a new repository.")] = None,
    branch: Annotated[str | None, typer.Option(help='Instead of "main"; made if it is missing.')] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request.")] = False,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Of the commit.")] = None,
) -> None:
    """Publish a model on the Hub. The login is that of `hf auth login`, or HF_TOKEN.

    The model is loaded first, so that nothing broken is published. Only its own files are sent: no checkpoints.
    """
    import gencore
    import gencore_hub

    folder = gencore_hub.locate(model)
    gencore.from_pretrained(folder)
    if not find(folder, CARD).is_file():
        raise GencoreError(f"{folder} has no {CARD}: write one with gencore card {folder} --write.")
    address = gencore_hub.push(
        folder, repo, private=private, branch=branch, create_pr=create_pr, commit_message=message
    )
    say(address)


def pull(
    model: Model,
    out: Annotated[Path | None, typer.Option(help="Copy the model's files into this new directory.")] = None,
    revision: Revision = None,
    subfolder: Subfolder = None,
    force_download: Annotated[bool, typer.Option("--force-download", help="Download again what is cached.")] = False,
) -> None:
    """Download a model into the Hub's cache, compare its hashes, and print where it lies."""
    import gencore_hub
    from gencore_hub.weights import check_whole

    folder = gencore_hub.locate(model, revision=revision, subfolder=subfolder, force_download=force_download)
    try:
        check_whole(folder, gencore_hub.read_config(folder)["weights"])
    except gencore_hub.HubError as error:
        raise GencoreError(f"{error} Pull again with --force-download.") from error
    if out is not None:
        out = user_path(out)
        with gencore_hub.atomic_directory(out) as new:
            for name in _files(folder):
                with open_inside(folder, name) as file, open(new / name, "wb") as copy:
                    shutil.copyfileobj(file, copy)
        folder = out
    say(str(folder))


def card(
    model: Model,
    write: Annotated[bool, typer.Option("--write", help="Replace README.md in the directory.")] = False,
    name: Annotated[
        str | None, typer.Option(help="What readers shall give to from_pretrained, such as ORG/NAME.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="What it was trained on, and the data's licence.")] = None,
    command: Annotated[str | None, typer.Option(help="The training command.")] = None,
    license: Annotated[str | None, typer.Option(help="Of the weights, as the Hub abbreviates it.")] = None,
    limitation: Annotated[list[str], typer.Option(help="What it cannot do; may be repeated.")] = [],  # noqa: B006
) -> None:
    """Print a model's card; with any option, make it anew, from the options alone."""
    import gencore
    import gencore_hub
    from gencore.cards import card_for

    folder = gencore_hub.locate(model)
    given = {"data": data, "command": command, "license": license, "limitations": tuple(limitation) or None}
    given = {key: value for key, value in given.items() if value is not None}
    if not (given or name or write):
        gencore_hub.read_config(folder)
        if not find(folder, CARD).is_file():
            raise GencoreError(f"{folder} has no {CARD}. Make one: gencore card {folder} --write.")
        say(_text(folder), nl=False)
        return
    loaded = gencore.from_pretrained(folder)
    options: dict[str, Any] = {"has_samples": "samples.png" in _files(folder), **given}
    text = card_for(loaded, name=name or model, **options)
    if not write:
        say(text, nl=False)
        return
    if gencore_hub.resolve(model).kind != "local":
        raise GencoreError(f"{model} is no directory of yours, so its card cannot be written. Pull it first: --out.")
    gencore_hub.atomic_write(find(folder, CARD), text.encode())
    say(f"Wrote {folder / CARD}.", err=True)


def index(
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the Hub.")] = False,
    limit: Annotated[int, typer.Option(help="Models to ask the Hub for.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Models that can be loaded: bundled, in the Hub's cache, and on the Hub under the tag gencore."""
    from huggingface_hub import constants

    import gencore_hub

    if limit < 1:
        raise GencoreError(f"--limit is {limit}; expected at least 1.")
    rows, silence = [*_bundled(), *_cached()], None
    if not (offline or constants.HF_HUB_OFFLINE):
        try:
            rows += _on_the_hub(limit)
        except gencore_hub.HubError as error:
            silence = error
    print_rows("Models", ("name", "where", "system", "bytes", "license"), rows, as_json)
    if silence is not None:
        raise GencoreError(f"Only what is on this machine was listed: {silence}") from silence


def _bundled() -> Iterator[tuple[str, ...]]:
    import gencore_hub

    for name in gencore_hub.bundled():
        folder = gencore_hub.locate(name)
        size = sum(find(folder, file).stat().st_size for file in _files(folder))
        yield name, "bundled", gencore_hub.read_config(folder)["system"], str(size), _license(folder)


def _cached() -> Iterator[tuple[str, ...]]:
    import gencore_hub

    for model in gencore_hub.cached():
        yield f"{model.name}@{model.commit[:12]}", "cache", model.system, str(model.size), _license(model.path)


def _on_the_hub(limit: int) -> list[tuple[str, ...]]:
    """Tags say system and family; what a stranger wrote there is shown as text, cut to a line."""
    from huggingface_hub import HfApi, constants, get_session

    from gencore.registry import list_systems
    from gencore_hub.explain import explained

    systems = {spec.name for spec in list_systems()}
    rows = []
    with explained("the list of models"):
        get_session().head(constants.ENDPOINT, timeout=10.0)  # without an answer the client tries for 25 seconds
        for info in HfApi().list_models(filter="gencore", limit=limit, expand=["tags", "safetensors"]):
            tags = [str(tag) for tag in info.tags or ()]
            licenses = [tag.removeprefix("license:") for tag in tags if tag.startswith("license:")]
            named = [tag for tag in tags if tag in systems]
            size = _hub_bytes(info.safetensors)
            rows.append(
                (_line(info.id), "Hub", *(named[:1] or ["?"]), size, _line(licenses[0]) if licenses else UNKNOWN)
            )
    return rows


def _hub_bytes(safetensors: Any) -> str:
    """From the Hub's own count of parameters by dtype; "" where it has none."""
    widths = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I8": 1, "U8": 1, "BOOL": 1}
    counts = getattr(safetensors, "parameters", None) or {}
    if not counts or any(kind not in widths for kind in counts):
        return ""
    return str(sum(int(count) * widths[kind] for kind, count in counts.items()))


def _files(folder: Path) -> list[str]:
    """The files of the model in a directory."""
    import gencore_hub
    from gencore_hub.files import INDEX, SAMPLES

    names = [CONFIG, *gencore_hub.read_config(folder)["weights"], INDEX, CARD, SAMPLES]
    return [name for name in names if find(folder, name).is_file()]


def _text(folder: Path) -> str:
    with open_inside(folder, CARD) as file:
        return file.read(MAX_CARD_BYTES).decode("utf-8", "replace")


def _license(folder: Path) -> str:
    """As the card's front matter says. Read by pattern: a stranger's YAML is not parsed."""
    if not find(folder, CARD).is_file():
        return UNKNOWN
    head = _text(folder).partition("\n---")[0]
    match = _LICENSE.search(head)
    return match[1].strip() if match else UNKNOWN


def _line(text: str) -> str:
    return text if text.isprintable() and len(text) <= 100 else shorten(text)
