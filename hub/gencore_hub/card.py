"""README.md of a model directory: what the model is, what it was trained on and how, and what it cannot do."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from .errors import HubError
from .files import SAMPLES
from .foreign import shown

_ARXIV = re.compile(r"[0-9]{4}\.[0-9]{4,5}(v[0-9]+)?|[a-z-]+(\.[A-Z]{2})?/[0-9]{7}(v[0-9]+)?")
_LOAD = "model = gencore.from_pretrained("
_LOADS = re.compile(rf"{re.escape(_LOAD)}('([^'\\]|\\.)*'|\"([^\"\\]|\\.)*\")\)")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A measured number and where it comes from, such as {"extractor": "lenet-mnist", "n real": "10000"}."""

    name: str
    value: float
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a card says. Texts are plain: whatever Markdown, HTML or YAML they contain is shown, not interpreted.

    Attributes:
        name: what `gencore.from_pretrained` is given: a bundled name, or "org/name".
        system, family: as in `config.json`.
        summary: one sentence or two.
        license: of the weights, as the Hub abbreviates it ("apache-2.0"); "" where nobody has stated one.
        pipeline_tag: the Hub's task, such as "unconditional-image-generation"; "" where it has none.
        paper, arxiv: title and id of the paper; "" if there is none.
        data: what it was trained on, and the data's licence.
        command: the exact training command.
        limitations: what it cannot do, one sentence each.
        metrics: see `Metric`.
        python: what a reader may do with `model` once it is loaded, one line of Python.
        shell: the same on the command line.
        has_samples: whether samples.png lies beside the card.
    """

    name: str
    system: str
    family: str
    summary: str
    license: str
    data: str
    command: str
    limitations: tuple[str, ...]
    pipeline_tag: str = "unconditional-image-generation"
    paper: str = ""
    arxiv: str = ""
    metrics: tuple[Metric, ...] = ()
    python: str = "images = model.sample(16, seed=0)"
    shell: str = ""
    has_samples: bool = True

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, str) and not value.isascii():
                _check_utf8(item.name, value)
        if self.arxiv and not _ARXIV.fullmatch(self.arxiv):
            raise HubError(f"arxiv={self.arxiv!r} is not an arXiv id such as '1704.00028'.")


def render_card(card: Card) -> str:
    """The text of README.md: YAML between two "---" lines for the Hub, then Markdown for people."""
    blocks = [
        _front_matter(card),
        f"# {_plain(card.name)}",
        _plain(card.summary),
        f"![samples]({SAMPLES})" if card.has_samples else "",
        _paper(card),
        "## Use",
        _code("python", f"import gencore\n{_LOAD}{card.name!r})\n{card.python}"),
        _code("sh", card.shell) if card.shell else "",
        "## Data",
        _plain(card.data),
        "## Training",
        _code("sh", card.command),
        *_metrics(card.metrics),
        "## Limitations",
        "\n".join(f"- {_plain(text)}" for text in card.limitations) or "None are known.",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def renamed(text: str, name: str) -> str:
    """A card that `render_card` made, for readers to whom the model has another name; other texts as they are.

    The heading and the lines under "Use" change. What it was trained with stays.
    """
    lines = text.split("\n")
    loads = [place for place, line in enumerate(lines) if _LOADS.fullmatch(line)]
    if not loads:
        return text
    old = ast.literal_eval(lines[loads[0]][len(_LOAD) : -1])
    end = lines.index("## Data") if "## Data" in lines else len(lines)
    shell = re.compile(rf"gencore \w+ {re.escape(shown(shlex.quote(old)))}(?= )")
    for place, line in enumerate(lines[:end]):
        if place == loads[0]:
            lines[place] = f"{_LOAD}{name!r})"
        elif line == f"# {_plain(old)}":
            lines[place] = f"# {_plain(name)}"
        elif found := shell.match(line):
            verb = found[0].split(" ")[1]
            lines[place] = f"gencore {verb} {shlex.quote(name)}{line[found.end() :]}"
    return "\n".join(lines)


def yaml_string(text: str) -> str:
    """A YAML double-quoted scalar that reads back as `text` and cannot end early, whatever it holds."""
    return '"' + "".join(_escape(ord(character)) for character in text) + '"'


def _escape(code: int) -> str:
    if 0x20 <= code < 0x7F and chr(code) not in '"\\':
        return chr(code)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _front_matter(card: Card) -> str:
    tags = ["gencore", card.system, card.family]
    if card.arxiv:
        tags.append(f"arxiv:{card.arxiv}")
    lines = [
        "---",
        'library_name: "gencore"',
        *([f"license: {yaml_string(card.license)}"] if card.license else []),
        *([f"pipeline_tag: {yaml_string(card.pipeline_tag)}"] if card.pipeline_tag else []),
        "tags:",
        *[f"- {yaml_string(tag)}" for tag in dict.fromkeys(tags)],
        "---",
    ]
    return "\n".join(lines)


def _paper(card: Card) -> str:
    if not card.paper and not card.arxiv:
        return ""
    link = f" [arXiv:{card.arxiv}](https://arxiv.org/abs/{card.arxiv})" if card.arxiv else ""
    return f"Paper: {_plain(card.paper)}{link}"


def _metrics(metrics: tuple[Metric, ...]) -> list[str]:
    if not metrics:
        return []
    rows = [f"| {_plain(item.name)} | {item.value:.6g} | {_provenance(item)} |" for item in metrics]
    return ["## Metrics", "\n".join(["| metric | value | measured with |", "| --- | --- | --- |", *rows])]


def _provenance(metric: Metric) -> str:
    return _plain(", ".join(f"{key}: {value}" for key, value in metric.provenance.items()))


def _plain(text: str) -> str:
    """`text` on one line, with Markdown's signs escaped."""
    return _MARKDOWN.sub(r"\\\1", shown(" ".join(text.split()), line=True))


def _code(language: str, text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{shown(text.strip())}\n{fence}"


def _check_utf8(name: str, text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise HubError(f"the card's {name} cannot be written as UTF-8: {error}.") from error
