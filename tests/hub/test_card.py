"""Cards: front matter that reads back as it was meant, whatever the texts contain."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gencore_hub import Card, HubError, Metric, render_card
from gencore_hub.card import renamed, yaml_string

FIELDS: dict[str, Any] = {
    "name": "org/wgan-gp-digits",
    "system": "wgan-gp",
    "family": "gan",
    "summary": "Digits of 32x32 by a 1-Lipschitz critic.",
    "license": "apache-2.0",
    "paper": "Improved Training of Wasserstein GANs",
    "arxiv": "1704.00028",
    "data": "MNIST, 60,000 images.",
    "command": "gencore train wgan-gp --data mnist --steps 20000 --seed 1 --out runs/wgan-gp",
    "limitations": ("Digits only.", "No control of the class."),
    "metrics": (Metric(name="Frechet distance", value=12.34567, provenance={"extractor": "lenet", "n": "10000"}),),
    "shell": "gencore sample org/wgan-gp-digits -n 64 -o samples.png",
}
TEXT = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(
    [
        "---\nlicense: evil",
        '"\n---\n',
        "a: b",
        "- x",
        "!!python/object:os.system",
        "*a",
        "&a",
        "null",
        "2024-01-01",
        "no",
    ]
)


def front_matter(text: str) -> Any:
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    assert match
    return yaml.safe_load(match[1])


def test_what_a_card_says() -> None:
    text = render_card(Card(**FIELDS))
    assert front_matter(text) == {
        "library_name": "gencore",
        "license": "apache-2.0",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["gencore", "wgan-gp", "gan", "arxiv:1704.00028"],
    }
    for expected in (
        "![samples](samples.png)",
        "https://arxiv.org/abs/1704.00028",
        "model = gencore.from_pretrained('org/wgan-gp-digits')\nimages = model.sample(16, seed=0)\n",
        FIELDS["command"] + "\n",
        FIELDS["shell"] + "\n",
        "| Frechet distance | 12.3457 | extractor: lenet, n: 10000 |",
        "- Digits only.\n- No control",
    ):
        assert expected in text


def test_a_family_of_its_systems_name_is_one_tag() -> None:
    text = render_card(Card(**{**FIELDS, "system": "gan", "family": "gan"}))
    assert front_matter(text)["tags"] == ["gencore", "gan", "arxiv:1704.00028"]


def test_what_is_not_known_is_left_out() -> None:
    fields = {**FIELDS, "paper": "", "arxiv": "", "metrics": (), "shell": "", "limitations": (), "has_samples": False}
    text = render_card(Card(**fields))
    assert "Paper" not in text
    assert "Metrics" not in text
    assert "samples.png" not in text
    assert "None are known." in text
    assert "\n\n\n" not in text


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8")))
@example("\\")
@example('"')
def test_a_yaml_string_reads_back(text: str) -> None:
    assert yaml.safe_load(yaml_string(text)) == text
    assert yaml.safe_load(f"key: {yaml_string(text)}\nnext: 1") == {"key": text, "next": 1}
    assert yaml_string(text).isascii()
    assert "\n" not in yaml_string(text)


@settings(deadline=None)
@given(TEXT, TEXT, TEXT, TEXT, TEXT)
def test_no_text_changes_the_front_matter(name: str, system: str, family: str, license: str, other: str) -> None:
    texts = {"name": name, "system": system, "family": family, "license": license, "pipeline_tag": other, "data": other}
    card = Card(**{**FIELDS, **texts, "summary": other, "paper": other, "command": other, "limitations": (other,)})
    text = render_card(card)
    expected = {
        "library_name": "gencore",
        **({"license": license} if license else {}),
        **({"pipeline_tag": other} if other else {}),
        "tags": list(dict.fromkeys(["gencore", system, family, "arxiv:1704.00028"])),
    }
    assert front_matter(text) == expected
    assert ModelCard(text).data.tags == expected["tags"]  # as the Hub's own client reads it


@settings(deadline=None)
@given(st.lists(st.sampled_from(["`", "```", "\n", "a", " ", "## Metrics"])).map("".join))
def test_a_command_stays_in_its_block(command: str) -> None:
    text = render_card(Card(**{**FIELDS, "command": command}))
    fence = re.search(r"## Training\n\n(`+)sh\n", text)
    assert fence
    assert not any(line.strip().startswith(fence[1]) for line in command.splitlines())
    block = text[fence.end() :].split(f"\n{fence[1]}\n\n## Metrics")[0]
    assert block == command.strip()


def test_markdown_and_html_in_texts_are_shown_not_interpreted() -> None:
    metric = Metric(name="a|b", value=1.0, provenance={"x": "<script>alert(1)</script>"})
    texts = {"name": "<b>a</b>", "summary": "# big\n[x](http://evil) <img src=x>", "limitations": ("<i>none</i>",)}
    text = render_card(Card(**{**FIELDS, **texts, "metrics": (metric,)}))
    assert "# \\<b\\>a\\</b\\>" in text
    assert "- \\<i\\>none\\</i\\>" in text
    assert "\\# big \\[x\\]\\(http://evil\\) \\<img src=x\\>" in text
    assert "| a\\|b | 1 | x: \\<script\\>" in text


@pytest.mark.parametrize("arxiv", ["1704", "1704.00028\n", "https://arxiv.org/abs/1704.00028", "x](evil)"])
def test_arxiv_ids_are_checked(arxiv: str) -> None:
    with pytest.raises(HubError, match="is not an arXiv id"):
        Card(**{**FIELDS, "arxiv": arxiv})


@pytest.mark.parametrize("arxiv", ["1704.00028v3", "cs/0112017", "math.GT/0309136"])
def test_arxiv_ids_of_all_ages(arxiv: str) -> None:
    assert f"arxiv:{arxiv}" in render_card(Card(**{**FIELDS, "arxiv": arxiv}))


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(HubError, match="summary cannot be written as UTF-8"):
        Card(**{**FIELDS, "summary": "\ud800"})


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=30))
@example("x; touch y")
@example("it's")
def test_a_pushed_card_names_the_repository_and_no_local_path(name: str) -> None:
    def card(name: str) -> str:
        shell = shlex.join(["gencore", "sample", name, "-n", "64", "-o", "samples.png"])
        return render_card(Card(**{**FIELDS, "name": name, "shell": shell}))

    text = card(name)
    assert renamed(text, "org/name") == card("org/name")


def test_a_card_of_other_hands_is_left_as_it_is() -> None:
    text = "# /tmp/x\n\nmodel = gencore.from_pretrained(__import__('os').getcwd())\n"
    assert renamed(text, "org/name") == text


def test_a_licence_that_nobody_stated_is_not_claimed() -> None:
    assert "license" not in front_matter(render_card(Card(**{**FIELDS, "license": ""})))


def test_any_command_gets_the_new_name() -> None:
    """And a task that the Hub does not have is left out."""
    fields = {**FIELDS, "name": "mine", "shell": "gencore translate mine picture.png -o mine.png", "pipeline_tag": ""}
    text = render_card(Card(**fields))
    assert "gencore translate org/name picture.png -o mine.png" in renamed(text, "org/name")
    assert "pipeline_tag" not in front_matter(text)
