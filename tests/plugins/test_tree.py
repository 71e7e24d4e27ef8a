"""The tests mirror the tree, page for page."""

from __future__ import annotations

from pathlib import Path

from gencore.pages import read_page
from gencore.registry import list_systems

ROOT = Path(__file__).parents[2]


def test_every_page_has_a_test_file_of_its_name() -> None:
    """plugins/gan/gencore_gan/conditional/infogan.py: tests/plugins/gan/conditional/test_infogan.py."""
    missing = []
    for spec in list_systems():
        if not spec.page.startswith("gencore_"):
            continue
        page = read_page(spec).path.relative_to(ROOT / "plugins")
        family, _, *folders, name = page.parts
        mirrored = Path(__file__).parent.joinpath(family, *folders, f"test_{name}")
        if not mirrored.is_file():
            missing.append(f"{spec.name}: {mirrored.relative_to(ROOT)}")
    assert not missing


def test_the_fields_of_every_config_are_listed_and_not_the_config() -> None:
    """So that gencore info says what --set takes, also where a recipe names its default config."""
    unlisted = [
        spec.name for spec in list_systems() if any(argument.name == "config" for argument in read_page(spec).arguments)
    ]
    assert not unlisted
