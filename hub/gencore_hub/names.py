"""From a name to a directory: bundled with the package, on this disk, or on the Hub."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from .errors import HubError
from .files import inside
from .strict_json import shorten

HUB_PREFIX = "hf://"

_REPO = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,254}")


@dataclass(frozen=True, slots=True)
class Source:
    """What a name stands for: a directory (`path`), or a repository on the Hub (`repo`, `revision`)."""

    kind: Literal["bundled", "local", "hub"]
    path: Path | None = None
    repo: str = ""
    revision: str | None = None


def locate(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    subfolder: str | None = None,
) -> Path:
    """The model directory that `name` stands for; downloads it if need be.

    | name | means |
    | --- | --- |
    | "dcgan-mnist" | the model of that name that comes with gencore, or a directory here |
    | "runs/mine", "./mine", "/data/mine", a `Path` | a directory |
    | "org/name", "org/name@revision" | a repository on the Hub, unless there is a directory "org/name" here |
    | "hf://org/name" | a repository on the Hub, whatever directories there are |

    Args:
        revision: branch, tag or commit on the Hub, instead of "@revision" in the name.
        token: for private repositories; None takes the one of `hf auth login` or HF_TOKEN, False sends none.
        cache_dir: instead of the Hub's own cache (HF_HOME, HF_HUB_CACHE).
        local_files_only: take what the cache has, without network (so does HF_HUB_OFFLINE=1).
        force_download: download again what the cache has.
        subfolder: the model's folder inside the directory or repository.

    Returns:
        An existing directory. `read_config` says whether it holds a model.

    Raises:
        HubError: nothing of that name, or two things; a repository or revision that is not there or not open to you;
            no network and not in the cache; a download that was cut or damaged.
    """
    check_token(token)
    source = resolve(name, revision)
    if source.kind == "hub":
        from .download import download

        return download(
            source.repo,
            revision=source.revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            force_download=force_download,
            subfolder=subfolder,
        )
    assert source.path is not None
    path = inside(source.path, subfolder)
    if not os.path.isdir(path):
        raise HubError(f"{source.path} has no subfolder {shorten(subfolder)}.")
    return path


def resolve(name: str | os.PathLike[str], revision: str | None = None) -> Source:
    """Decides what `name` stands for (see `locate`) without touching the network.

    What can be no path, for it is too long or cannot be encoded, is no directory: os.path says so, and pathlib raises.

    Raises:
        HubError: nothing, or more than one thing; or a revision where there are none.
    """
    if isinstance(name, os.PathLike):
        return _directory(Path(name), revision)
    if not isinstance(name, str) or not name or re.search(r"[\x00-\x1f\x7f]", name):
        raise HubError(f"{shorten(name)} is not a name. Expected 'dcgan-mnist', './directory' or 'org/name'.")
    if name.startswith(HUB_PREFIX):
        return _hub(name.removeprefix(HUB_PREFIX), revision)
    if _is_path(name):
        try:
            return _directory(Path(name).expanduser(), revision)
        except RuntimeError as error:  # "~nobody/model"
            raise HubError(f"there is no home directory for {shorten(name)}.") from error
    if "://" in name:
        raise HubError(
            f"{shorten(name, 1000)} is an address. Expected a directory, or the name of a repository: 'org/name', or "
            f"'{HUB_PREFIX}org/name'."
        )
    if "/" not in name:
        return _bare(name, revision)
    if os.path.exists(name):
        return _directory(Path(name), revision)
    if name.partition("@")[0].count("/") > 1:
        raise HubError(f"there is no directory {shorten(name, 1000)}, and a Hub id has one '/': 'org/name'.")
    return _hub(name, revision)


def bundled() -> tuple[str, ...]:
    """The names of the models that come with the installed package, sorted."""
    root = _bundled_root()
    if not root.is_dir():
        return ()
    return tuple(sorted(path.name for path in root.iterdir() if (path / "config.json").is_file()))


def split_revision(name: str) -> tuple[str, str | None]:
    """ "org/name@revision" -> ("org/name", "revision"); the revision may hold further "/" and "@" is no part of an id.

    Raises:
        HubError: either part is malformed.
    """
    repo, at, revision = name.partition("@")
    if not _REPO.fullmatch(repo) or "--" in repo or ".." in repo or repo.endswith((".git", ".", "-")):
        raise HubError(f"{shorten(name)} is not a Hub id. Expected 'org/name' or 'org/name@revision'.")
    return repo, check_revision(revision) if at else None


def check_revision(revision: str) -> str:
    """Returns a branch, tag or commit as it is. The client makes a file name of it, so ".." must not pass.

    Raises:
        HubError: it is malformed.
    """
    if not isinstance(revision, str) or not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision:
        raise HubError(f"revision {shorten(revision)} is malformed. Expected a branch, tag or commit such as 'main'.")
    return revision


def check_token(token: object) -> None:
    """Raises HubError, which does not show it, for a token that no header of a request can hold."""
    if isinstance(token, str) and not re.fullmatch(r"[!-~]+", token):
        raise HubError(
            "the token holds white space, a line break or a sign that no token has (it is not shown here). Copy it "
            "again, without what stands around it."
        )


def _bundled_root() -> Path:
    return Path(str(files("gencore_hub").joinpath("weights")))


def _is_path(name: str) -> bool:
    return name in (".", "..") or name.startswith(("./", "../", "~")) or name.endswith("/") or os.path.isabs(name)


def _directory(path: Path, revision: str | None) -> Source:
    if os.path.isdir(path):
        if revision is not None:
            raise HubError(
                f"revision={revision!r} is for repositories on the Hub, and {path} is a directory here. Leave it out, "
                f"or write {HUB_PREFIX}org/name for a repository."
            )
        return Source("local", path)
    if os.path.exists(path):
        raise HubError(f"{path} is a file. Expected the directory that holds it: {os.path.join('.', path.parent)}.")
    raise HubError(f"there is no directory {shorten(str(path), 1000)}.")


def _bare(name: str, revision: str | None) -> Source:
    known = bundled()
    if name not in known:
        if os.path.exists(name):
            return _directory(Path(name), revision)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise HubError(
            f"{shorten(name)} is neither a bundled model nor a directory here.{guess} Bundled: "
            f"{', '.join(known) or 'none'}. On the Hub a name is 'org/name'."
        )
    if os.path.isdir(name):
        raise HubError(
            f"{name!r} is both a bundled model and a directory here. Write './{name}' for the directory; for the "
            "bundled model, work from another directory or rename yours."
        )
    if revision is not None:
        raise HubError(f"{name!r} is bundled with the package and has no revisions. Leave out revision={revision!r}.")
    return Source("bundled", _bundled_root() / name)


def _hub(name: str, revision: str | None) -> Source:
    repo, inline = split_revision(name)
    if revision is not None:
        check_revision(revision)
        if inline is not None and inline != revision:
            raise HubError(f"{name!r} and revision={revision!r} disagree. Give the revision once.")
    return Source("hub", repo=repo, revision=inline if revision is None else revision)
