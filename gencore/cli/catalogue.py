"""What there is: gencore list, info, plugins and doctor. None but doctor imports torch."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import json
import shutil
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gencore.cli.options import Json
from gencore.cli.show import print_rows, say, shown
from gencore.errors import UnknownNameError

if TYPE_CHECKING:
    from gencore.registry import Plugin
    from gencore.spec import SystemSpec


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("list")(list_command)
    for command in (info, plugins, doctor):
        app.command()(command)


def list_command(
    pattern: Annotated[str, typer.Argument(help="Shell pattern on the names, such as '*gan'.")] = "*",
    family: Annotated[str | None, typer.Option(help="Only this family.")] = None,
    role: Annotated[str | None, typer.Option(help="Only systems with this role.")] = None,
    long: Annotated[bool, typer.Option("--long", help="Whole summaries, and the papers' titles.")] = False,
    data: Annotated[bool, typer.Option("--data", help="The names of data, instead.")] = False,
    as_json: Json = False,
) -> None:
    """The systems by family, each with its paper; or the names of data."""
    from gencore.registry import list_systems

    if data:
        from gencore.data.names import list_data

        print_rows("Data", ("name", "summary"), [(entry.name, entry.summary) for entry in list_data()], as_json)
        return
    specs = list_systems(pattern, family=family, role=role)
    if as_json:
        print_rows("", ("system", "family", "summary", "paper"), [_row(s) for s in specs], True)
        return
    width = shutil.get_terminal_size((100, 24)).columns
    indent = max((len(spec.name) for spec in specs), default=0) + 4
    for name, members in itertools.groupby(specs, key=lambda spec: spec.family):
        say(f"\n{name}")
        for spec in members:
            say("\n".join(_entry(spec, indent, width, long)))


def _row(spec: SystemSpec) -> tuple[str, str, str, str]:
    return spec.name, spec.family, spec.summary, str(spec.paper)


def _entry(spec: SystemSpec, indent: int, width: int, long: bool) -> list[str]:
    """One line where there is room for one, two on a narrow terminal, more if asked for."""
    room = max(width - indent, 20)
    if long:
        texts = [spec.summary, spec.paper.title, str(spec.paper)]
        lines = [line for text in texts for line in textwrap.wrap(shown(text), room)]
    else:
        text = f"{shown(spec.summary)} ({spec.paper.year})"
        lines = [textwrap.shorten(text, room, placeholder=" ...")] if width >= 100 else textwrap.wrap(text, room)[:2]
    return [f"  {spec.name}".ljust(indent) + lines[0], *(" " * indent + line for line in lines[1:])]


def info(
    name: Annotated[str, typer.Argument(help="A system, its paper's arXiv id, or words of its title.")],
    data: Annotated[bool, typer.Option("--data", help="NAME is one of data.")] = False,
    as_json: Json = False,
) -> None:
    """One system: its paper, equations and deviations, what its recipe takes, and what its training log says."""
    from gencore.logged import OF_HELD_OUT, read_metrics
    from gencore.pages import read_page

    if data:
        _data_info(name)
        return
    plugin, spec = _find(name)
    page, metrics = read_page(spec), read_metrics(spec)
    if as_json:
        described = dataclasses.asdict(spec) | {"distribution": plugin.distribution, "path": str(page.path)}
        described["arguments"] = {a.name: _literal(a.default) for a in page.arguments}
        described["meanings"] = {a.name: a.meaning for a in page.arguments}
        described["metrics"], described["larger_data"] = metrics, page.sized
        say(json.dumps(described | {"docstring": page.docstring}, indent=1, default=str))
        return
    say(f"{spec.name}: {spec.summary}\n{spec.paper.title}\n{spec.paper}")
    say(f"family {spec.family}, from {plugin.distribution} {plugin.version}; {page.path}")
    for what, values in (("roles", spec.roles), ("traits", spec.traits), ("claims", spec.claims)):
        if values:
            say(f"{what}: {', '.join(values)}")
    say(f"\n{page.docstring}\n")
    for title, of_model in (("Model (--set name=value)", True), ("Training (--set name=value)", False)):
        rows = [(a.name, a.kind, a.default, a.meaning) for a in page.arguments if a.of_model == of_model]
        if rows:
            print_rows(title, ("name", "type", "default", "meaning"), rows, False)
    if page.sized:
        say(f"Other defaults for larger data: {page.sized}\n")
    logged = [*metrics.items(), ("heldout/PHASE", OF_HELD_OUT)]
    print_rows("Training log (PHASE/name in metrics.jsonl)", ("name", "meaning, and which way is good"), logged, False)


def _literal(text: str) -> Any:
    """A default's value where its source is a literal, else the source."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _data_info(name: str) -> None:
    from gencore.data.names import list_data
    from gencore.errors import suggest

    known = {entry.name: entry for entry in list_data()}
    if name not in known:
        raise UnknownNameError(f"No data {name!r}.{suggest(name, known)}")
    say(f"{name}: {known[name].summary}\nopened by {known[name].opens}")


def _find(words: str) -> tuple[Plugin, SystemSpec]:
    """The system of that name; else the one whose paper has that arXiv id or all those words in its title."""
    from gencore.registry import default_registry

    registry = default_registry()
    specs = registry.systems()
    named = [s for s in specs if words == s.name]
    by_paper = [s for s in specs if words in (s.paper.arxiv, f"arXiv:{s.paper.arxiv}")]
    by_title = [s for s in specs if all(word in s.paper.title.lower() for word in words.lower().split())]
    found = named or by_paper or (by_title if " " in words or len(by_title) == 1 else [])
    if len(found) > 1:
        names = ", ".join(spec.name for spec in found)
        raise UnknownNameError(f"{words!r} fits several systems: {names}. Name one.")
    return registry.owner(found[0].name if found else words)


def plugins(as_json: Json = False) -> None:
    """The installed plugins, and those that failed to load."""
    from gencore.registry import default_registry

    rows = [
        (
            p.name,
            f"{p.distribution} {p.version}",
            ", ".join(s.name for s in p.family.systems) if p.family else "",
            p.state,
        )
        for p in default_registry().plugins
    ]
    print_rows("Plugins", ("family", "distribution", "systems", "state"), rows, as_json)


def doctor(as_json: Json = False) -> None:
    """What is installed, which kernels run here and why, and what is missing."""
    from gencore.cli.doctor import report

    print_rows("gencore doctor", ("what", "state"), report(), as_json)
