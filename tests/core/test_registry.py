"""Families by entry point, systems by name: nobody is overruled silently."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import types
from pathlib import Path

import pytest

from gencore import Family, Paper, Registry, SystemSpec
from gencore import registry as registry_module
from gencore.errors import GencoreError, PluginError, UnknownNameError

PAPER = Paper(title="T", authors="A", year=2020)


def spec(name: str, family: str = "toy", **changes: object) -> SystemSpec:
    fields = {
        "name": name,
        "family": family,
        "summary": "s",
        "paper": PAPER,
        "model": "collections:OrderedDict",
        "recipe": "json:dumps",
        "roles": ("generator",),
    }
    return SystemSpec(**(fields | changes))


class Distribution:
    def __init__(self, name: str) -> None:
        self.name, self.version = name, "1.0"


def entry(
    monkeypatch: pytest.MonkeyPatch, distribution: str, name: str, family: object
) -> importlib.metadata.EntryPoint:
    module = types.ModuleType(f"manifest_{distribution}_{name}")
    module.family = family
    monkeypatch.setitem(sys.modules, module.__name__, module)
    point = importlib.metadata.EntryPoint(name, f"{module.__name__}:family", "gencore.families")
    return point._for(Distribution(distribution))


def registry(*entries: importlib.metadata.EntryPoint) -> Registry:
    return Registry(lambda: entries)


def test_lists_by_pattern_family_and_role(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Family(name="toy", summary="", systems=(spec("a-gan"), spec("b", roles=("encoder",))))
    two = Family(name="other", summary="", systems=(spec("c-gan", "other"),))
    found = registry(entry(monkeypatch, "d1", "toy", one), entry(monkeypatch, "d2", "other", two))
    assert [s.name for s in found.systems()] == ["c-gan", "a-gan", "b"]
    assert [s.name for s in found.systems("*gan")] == ["c-gan", "a-gan"]
    assert [s.name for s in found.systems(family="toy", role="encoder")] == ["b"]
    with pytest.raises(UnknownNameError, match="'toyy'.*'toy'"):
        found.systems(family="toyy")
    with pytest.raises(UnknownNameError, match="encodr.*encoder"):
        found.systems(role="encodr")


def test_unknown_system_suggests(monkeypatch: pytest.MonkeyPatch) -> None:
    found = registry(entry(monkeypatch, "d", "toy", Family(name="toy", summary="", systems=(spec("wgan-gp"),))))
    with pytest.raises(UnknownNameError, match="'wgangp'.*'wgan-gp'"):
        found.owner("wgangp")


def test_two_distributions_claiming_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    family = Family(name="toy", summary="", systems=(spec("x"), spec("only")))
    again = Family(name="toy", summary="", systems=(spec("x"),))
    found = registry(entry(monkeypatch, "first", "toy", family), entry(monkeypatch, "second", "toy2", again))
    with pytest.raises(PluginError, match=r"first 1\.0.*second 1\.0"):
        found.owner("x")
    assert found.owner("only")[0].distribution == "first"


@pytest.mark.parametrize("broken", [42, None])
def test_a_broken_plugin_breaks_nothing_else(monkeypatch: pytest.MonkeyPatch, broken: object) -> None:
    good = Family(name="toy", summary="", systems=(spec("x"),))
    found = registry(entry(monkeypatch, "bad", "bad", broken), entry(monkeypatch, "good", "toy", good))
    assert found.owner("x")[0].distribution == "good"
    assert "expected a gencore.Family" in found.plugins[0].problem
    with pytest.raises(UnknownNameError, match=r"failed to load.*bad"):
        found.owner("y")


def test_a_plugin_that_raises_on_import(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("bad", "no_such_module_here:family", "gencore.families")
    good = Family(name="toy", summary="", systems=(spec("x"),))
    found = registry(point._for(Distribution("bad")), entry(monkeypatch, "good", "toy", good))
    assert "no_such_module_here" in next(p for p in found.plugins if p.name == "bad").problem
    assert found.owner("x")


def test_a_plugin_that_exits_prints_and_dawdles(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is reported, spoils no output, and is named while it is waited for; nothing else breaks."""
    (tmp_path / "quits_at_once.py").write_text("import sys\nsys.exit('no licence')\n")
    (tmp_path / "talks_slowly.py").write_text("import time\nprint('hello')\ntime.sleep(0.2)\nfamily = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry_module, "SLOW", 0.05)
    points = [
        importlib.metadata.EntryPoint(name, f"{name}:family", "gencore.families")._for(Distribution(name))
        for name in ("quits_at_once", "talks_slowly")
    ]
    good = Family(name="toy", summary="", systems=(spec("x", model="quits_at_once:M"),))
    found = registry(*points, entry(monkeypatch, "good", "toy", good))
    assert {p.name: p.state for p in found.plugins} == {
        "quits_at_once": "SystemExit: no licence",
        "talks_slowly": "talks_slowly:family is a int; expected a gencore.Family",
        "toy": "ok",
    }
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "hello\n" in printed.err
    assert "The plugin talks_slowly of talks_slowly 1.0 is being imported" in printed.err
    assert "quits_at_once 1.0 is being" not in printed.err
    with pytest.raises(PluginError, match="failed to import quits_at_once: SystemExit: no licence"):
        found.resolve("x", "model")


def test_newer_api_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    family = Family(name="toy", summary="", systems=(spec("x", requires_api=99),))
    found = registry(entry(monkeypatch, "d", "toy", family))
    with pytest.raises(PluginError, match=r"needs plugin API 99.*Upgrade gencore"):
        found.owner("x")
    assert found.plugins[0].state.startswith("x: needs a newer plugin API")


def test_missing_requirement_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    family = Family(name="toy", summary="", extra="toy", systems=(spec("x", model="no_such_requirement:M"),))
    with pytest.raises(PluginError, match=r'pip install "d\[toy\]"'):
        registry(entry(monkeypatch, "d", "toy", family)).resolve("x", "model")


def test_a_missing_module_is_said_to_be_what_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A plugin that is installed is not to be installed again."""
    (tmp_path / "imports_more.py").write_text("import no_such_requirement\n")
    monkeypatch.syspath_prepend(tmp_path)
    systems = (spec("x", model="imports_more:M"), spec("y", model="json.no_such_page:M"))
    found = registry(entry(monkeypatch, "d", "toy", Family(name="toy", summary="", systems=systems)))
    with pytest.raises(
        PluginError, match=r"'no_such_requirement', which is not installed, and which d 1.0 does not req"
    ):
        found.resolve("x", "model")
    with pytest.raises(PluginError, match=r"'json.no_such_page', which d 1.0 does not hold"):
        found.resolve("y", "model")


def test_missing_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    family = Family(name="toy", summary="", systems=(spec("x", model="json:Nothing"),))
    with pytest.raises(PluginError, match="json:Nothing"):
        registry(entry(monkeypatch, "d", "toy", family)).resolve("x", "model")


def test_environment_variable_restricts(monkeypatch: pytest.MonkeyPatch) -> None:
    one = entry(monkeypatch, "d1", "one", Family(name="one", summary="", systems=(spec("x", "one"),)))
    two = entry(monkeypatch, "d2", "two", Family(name="two", summary="", systems=(spec("y", "two"),)))
    monkeypatch.setenv("GENCORE_PLUGINS", "two")
    assert [s.name for s in registry(one, two).systems()] == ["y"]
    monkeypatch.setenv("GENCORE_PLUGINS", "twoo")
    with pytest.raises(PluginError, match="twoo.*'two'"):
        registry(one, two).plugins


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Bad_Name"}, "lower-case"),
        ({"model": "no-colon"}, "module:Name"),
        ({"roles": ("generater",)}, "unknown roles"),
        ({"claims": ("fast",)}, "unknown claims"),
    ],
)
def test_specs_are_checked(changes: dict, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        spec(**{"name": "x", **changes})


def test_families_are_checked() -> None:
    with pytest.raises(GencoreError, match="family is 'other'"):
        Family(name="toy", summary="", systems=(spec("x", "other"),))
    with pytest.raises(GencoreError, match="more than once"):
        Family(name="toy", summary="", systems=(spec("x"), spec("x")))


@pytest.mark.parametrize("code", ["import gencore", "import gencore; gencore.list_systems()", "import gencore_hub"])
def test_no_torch_to_import_or_list(code: str) -> None:
    assert (
        subprocess.run([sys.executable, "-c", f"{code}; import sys; sys.exit('torch' in sys.modules)"]).returncode == 0
    )


def test_public_names_resolve() -> None:
    import gencore

    for name in gencore.__all__:
        assert getattr(gencore, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gencore.nothing
