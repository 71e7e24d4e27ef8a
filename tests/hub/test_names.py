"""Names: one meaning each, or an error that shows both."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gencore_hub import HubError, bundled, load_into, locate, read_config, resolve
from gencore_hub.names import Source, check_revision, split_revision

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture
def shelf(bundle: Path, save: Callable[..., Path]) -> Path:
    """Two bundled models and a folder that is none."""
    for name in ("dcgan-mnist", "vq-vae-mnist"):
        shutil.copytree(save(torch.nn.Linear(2, 2)), bundle / name)
    (bundle / "__pycache__").mkdir()
    return bundle


def test_bundled_names_and_their_directories(shelf: Path) -> None:
    assert bundled() == ("dcgan-mnist", "vq-vae-mnist")
    path = locate("dcgan-mnist")
    assert path == shelf / "dcgan-mnist"
    load_into(path, torch.nn.Linear(2, 2), read_config(path))


def test_bundled_without_any() -> None:
    assert isinstance(bundled(), tuple)


def test_near_matches_are_suggested(shelf: Path) -> None:
    with pytest.raises(
        HubError, match=r"'dcgan-mist' is neither .* Did you mean 'dcgan-mnist'.* Bundled: dcgan-mnist, vq"
    ):
        locate("dcgan-mist")
    with pytest.raises(HubError) as caught:
        locate("zzz")
    assert "Did you mean" not in str(caught.value)


LONG = "x" * 300


@pytest.mark.parametrize(
    "name", [LONG, f"./{LONG}", f"a/{LONG}", f"a/b/{LONG}", "a/" * 3000, f"~{LONG}/x", "\udcff", "./\udcff"]
)
def test_what_can_be_no_path_is_no_directory(name: str, bundle: Path) -> None:
    """The operating system refuses to look for it; that is no crash."""
    for one in (name, Path(name)):
        with pytest.raises(HubError) as caught:
            resolve(one)
        assert len(str(caught.value)) < 1500


def test_a_subfolder_that_can_be_no_path(save: Callable[..., Path], tmp_path: Path) -> None:
    path = save(torch.nn.Linear(2, 2))
    (path / "loop").symlink_to("loop")
    for subfolder in (LONG, f"a/{LONG}", "a/" * 3000 + "a", "loop", "loop/b"):
        with pytest.raises(HubError, match="has no subfolder"):
            locate(path, subfolder=subfolder)


def test_directories(shelf: Path, save: Callable[..., Path]) -> None:
    here = Path.cwd()
    for name in ("runs/mine", "plain", "runs/a@b", "deep/er/still"):
        (here / name).mkdir(parents=True)
    for name in (
        "runs/mine",
        "./runs/mine",
        str(here / "runs/mine"),
        here / "runs/mine",
        "plain",
        "runs/a@b",
        "runs/mine/",
    ):
        assert locate(name).samefile(here / name), name
    assert locate("deep/er/still") == Path("deep/er/still")


def test_a_name_that_is_bundled_and_a_directory_is_an_error_with_both_ways_out(shelf: Path) -> None:
    Path("dcgan-mnist").mkdir()
    with pytest.raises(HubError, match=r"both a bundled model and a directory.*'\./dcgan-mnist'"):
        locate("dcgan-mnist")
    assert locate("./dcgan-mnist") == Path("dcgan-mnist")


@pytest.mark.parametrize("name", ["./none", "/none/at/all", "a/b/c", "none/", Path("none")])
def test_what_can_only_be_a_directory_is_not_looked_for_on_the_hub(bundle: Path, name: str | Path) -> None:
    with pytest.raises(HubError, match="there is no directory"):
        locate(name)


def test_a_file_is_not_a_directory(bundle: Path) -> None:
    Path("weights.safetensors").write_bytes(b"")
    for name in ("weights.safetensors", "./weights.safetensors"):
        with pytest.raises(HubError, match="is a file"):
            locate(name)


@pytest.mark.parametrize("name", [3, "", "a\nb", "\0", "org/na me", "../..//x\0", "org/../x@1"])
def test_malformed_names(bundle: Path, name: str) -> None:
    with pytest.raises(HubError):
        locate(name)


def test_hub_names(bundle: Path) -> None:
    assert resolve("org/name") == Source("hub", repo="org/name")
    assert resolve("org/name@v1.0") == Source("hub", repo="org/name", revision="v1.0")
    assert resolve("org/name@refs/pr/1") == Source("hub", repo="org/name", revision="refs/pr/1")
    assert resolve("org/name", "v1") == resolve("org/name@v1", "v1") == Source("hub", repo="org/name", revision="v1")
    with pytest.raises(HubError, match="disagree"):
        resolve("org/name@v1", "v2")


@pytest.mark.parametrize(
    "revision", ["a/../../x", "..", "/etc/passwd", "a//b", "-rf", "", "a b", "a\n", "a\0", "x" * 256]
)
def test_revisions_that_would_be_paths_are_refused(bundle: Path, revision: str) -> None:
    with pytest.raises(HubError, match="malformed"):
        resolve("org/name", revision)
    with pytest.raises(HubError):
        resolve(f"org/name@{revision}")


def test_a_revision_is_a_text(bundle: Path) -> None:
    with pytest.raises(HubError, match="malformed"):
        resolve("org/name", 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "org/..",
        "org/a..b",
        "o..g/a",
        "org/.a",
        "org/-a",
        "org/a--b",
        "org/a.git",
        "org/a.",
        "org/a-",
        "org/a%2e",
        "o/a b",
    ],
)
def test_what_is_no_hub_id_is_refused(bundle: Path, name: str) -> None:
    """The client makes a folder's name of an id, with "--" for "/"."""
    with pytest.raises(HubError, match="is not a Hub id"):
        resolve(f"hf://{name}")


def test_a_directory_named_like_a_hub_id_wins_and_the_prefix_overrules_it(bundle: Path) -> None:
    Path("org/name").mkdir(parents=True)
    assert resolve("org/name") == Source("local", Path("org/name"))
    assert resolve("hf://org/name") == Source("hub", repo="org/name")
    with pytest.raises(HubError, match="is for repositories on the Hub"):
        resolve("org/name", "main")


def test_a_bundled_model_has_no_revisions(shelf: Path) -> None:
    with pytest.raises(HubError, match="has no revisions"):
        locate("dcgan-mnist", revision="v1")


def test_subfolders(shelf: Path, tmp_path: Path) -> None:
    Path("run/ema/fast").mkdir(parents=True)
    assert locate("run", subfolder="ema/fast") == Path("run/ema/fast")
    with pytest.raises(HubError, match="has no subfolder 'none'"):
        locate("run", subfolder="none")
    Path("run/link").symlink_to(tmp_path)
    with pytest.raises(HubError, match="leads out of"):
        locate("run", subfolder="link")


@pytest.mark.parametrize("subfolder", ["", "..", "../x", "/etc", "a/../b", "a//b", "a/", ".", "a\\b", "C:x", "a\0b"])
def test_subfolders_that_leave_are_refused(bundle: Path, subfolder: str) -> None:
    Path("run").mkdir()
    for name in ("run", "hf://org/name"):
        with pytest.raises(HubError, match="is not a relative path inside"):
            locate(name, subfolder=subfolder)


@settings(deadline=None)
@given(st.text() | st.text(alphabet="a.-/@_\\ ~", max_size=12))
def test_any_text_as_id_and_revision_is_harmless_or_refused(text: str) -> None:
    try:
        repo, revision = split_revision(text)
    except HubError:
        pass
    else:
        assert text == (repo if revision is None else f"{repo}@{revision}")
        assert repo.count("/") == 1
        assert not any(part.startswith(".") for part in repo.split("/"))
        assert ".." not in text
    try:
        check_revision(text)
    except HubError:
        return
    inside = Path("/cache/refs", text).resolve()
    assert inside.is_relative_to("/cache/refs")
    assert inside != Path("/cache/refs")


def test_a_file_of_a_model_and_an_address_are_no_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said at once, without asking the Hub."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.safetensors").write_bytes(b"")
    with pytest.raises(HubError, match=r"model\.safetensors is a file\. Expected the directory that holds it: \./m\."):
        resolve("m/model.safetensors")
    with pytest.raises(HubError, match="is an address. Expected a directory, or the name of a repository"):
        resolve("https://huggingface.co/org/name")
