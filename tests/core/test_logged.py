"""What a training logs, and what each number means, is read from docstrings without running anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gencore.logged import GOOD, OF_EVERY_PHASE, SHARED, logged_by, read_metrics
from gencore.registry import default_registry
from gencore.spec import Paper, SystemSpec


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("No paragraph of `x`: that is an argument.", {}),
        ("Logs `kl`.", {"kl": SHARED["kl"]}),
        ("Logs `unheard`.", {"unheard": ""}),
        ("First.\n\nLogs `a`: one; lower is better. `b`: two,\nin two lines; higher is better.\n\nLast `c`: no.",
         {"a": "one; lower is better", "b": "two, in two lines; higher is better"}),
        ("Logs `a` and `b`: both; lower is better.", dict.fromkeys("ab", "both; lower is better")),
        ("Logs `kl`, and `b`: its own; lower is better.", {"kl": SHARED["kl"], "b": "its own; lower is better"}),
        ("Logs `kl`: another kl; lower is better.", {"kl": "another kl; lower is better"}),
    ],
)  # fmt: skip
def test_a_paragraph_is_read(docstring: str, expected: dict[str, str]) -> None:
    assert logged_by(docstring) == expected


def test_shared_meanings_say_which_way_is_good() -> None:
    told = SHARED | OF_EVERY_PHASE
    assert [name for name, meaning in told.items() if not any(way in meaning for way in GOOD)] == []


def test_it_is_read_through_bases_arguments_and_helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The objective's base, a term that is passed to it, one that its __init__ makes, and one made by a helper in
    another module, by relative imports; not what the page mentions and does not use, nor another library's."""
    package = tmp_path / "strange_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('nobody may run this')\n")
    (package / "terms.py").write_text(
        "class Given:\n    '''Logs `given`: g; lower is better.'''\n"
        "class Made:\n    '''Logs `made`: m; lower is better.'''\n"
        "class Unused:\n    '''Logs `unused`: u; lower is better.'''\n"
        "class Base:\n    '''Logs `base`: b; lower is better.'''\n    def __init__(self):\n        self.term = Made()\n"
    )
    (package / "helper.py").write_text(
        "from .terms import Base\nfrom json import JSONDecoder\n"
        "class Own(Base):\n    '''Logs `base`: changed; higher is better.'''\n"
        "def build(term):\n    return Own(term), JSONDecoder\n"
    )
    (package / "page.py").write_text(
        "from .helper import build\nfrom strange_plugin.terms import Given, Unused\n"
        "def page(*, steps=1):\n    return build(Given())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    paper = Paper(title="t", authors="a", year=2000)
    spec = SystemSpec(
        name="strange", family="x", summary="s", paper=paper, model="strange_plugin.page:M",
        recipe="strange_plugin.page:page", roles=(),
    )  # fmt: skip
    found = read_metrics(spec)
    assert {name: found[name] for name in sorted(found.keys() - OF_EVERY_PHASE)} == {
        "base": "changed; higher is better",
        "given": "g; lower is better",
        "made": "m; lower is better",
    }


def test_real_systems_without_torch() -> None:
    code = (
        "import sys; from gencore.registry import default_registry; from gencore.logged import read_metrics; "
        "told = read_metrics(default_registry().owner('wgan-gp')[1]); "
        "assert {'real', 'fake', 'slope', 'loss'} <= told.keys() and 'r1' not in told; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "codes are in use" in read_metrics(default_registry().owner("vq-vae")[1])["perplexity"]
