"""A repository on the Hub to a directory in the Hub's cache."""

from __future__ import annotations

import hashlib
import os
import re
import time
import warnings
from glob import escape
from pathlib import Path

from .errors import HubError
from .explain import explained, first_line, retry_after, transport_errors
from .files import CONFIG, MODEL_FILES, check_subfolder, inside, roots
from .verified import note

RETRY_SECONDS = (0.5, 1.0)  # between tries, when the Hub answers that it is overloaded or out of order
MAX_WAIT = 10.0  # seconds; a Hub that asks for more patience is an error that says so

_COMMIT = re.compile(r"[0-9a-f]{40}")


def download(
    repo: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    subfolder: str | None = None,
) -> Path:
    """The cached snapshot of a repository's model files, downloaded where it is missing; see `names.locate`.

    Nothing but `MODEL_FILES` is requested. Files that arrive in this call are compared with the hash by which the Hub
    knows them. If the Hub cannot be reached and the cache has the revision, that is used, with a warning.

    Raises:
        HubError: see `names.locate`.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if subfolder is not None:
        check_subfolder(subfolder)
    name = repo if revision is None else f"{repo}@{revision}"
    offline = local_files_only or constants.HF_HUB_OFFLINE
    if force_download and offline:
        raise HubError(
            f"{name}: force_download=True needs the network, which local_files_only or HF_HUB_OFFLINE rules out."
        )
    prefix = "" if subfolder is None else escape(subfolder) + "/"
    with explained(name, cache_dir=cache_dir):
        silence = None if offline else _why_no_answer(repo, revision, token)
        if silence is not None and force_download:
            raise silence
        known = frozenset() if force_download else _blob_names(repo, cache_dir)
        try:
            snapshot = snapshot_download(
                repo,
                revision=revision,
                token=token,
                cache_dir=None if cache_dir is None else Path(cache_dir),
                local_files_only=offline or silence is not None,
                force_download=force_download,
                allow_patterns=[prefix + pattern for pattern in MODEL_FILES],
            )
        except LocalEntryNotFoundError as error:
            raise (error if silence is None else silence) from error
        if silence is not None:
            warnings.warn(f"{name} is taken from the cache and may be out of date: {first_line(silence)}", stacklevel=4)
    path = inside(Path(snapshot), subfolder)
    if not (path / CONFIG).exists():
        where = name if subfolder is None else f"{name}, subfolder {subfolder!r},"
        raise HubError(
            f"{where} holds no config.json, so it is no gencore model. Check the name, or pass subfolder=..."
        )
    if not offline:
        _check_arrived(path, known, name)
    return path


def _why_no_answer(repo: str, revision: str | None, token: str | bool | None) -> Exception | None:
    """Asks the Hub for the revision. None if it answered (or need not be asked, for a commit never changes); else the
    error of a Hub that is out of order, overloaded or out of reach, after a few tries.

    `snapshot_download` alone would hand out cached files without a word, even where the Hub refused the login.
    """
    from huggingface_hub import HfApi, constants, errors

    if revision is not None and _COMMIT.fullmatch(revision):
        return None
    for pause in (*RETRY_SECONDS, None):
        try:
            HfApi(token=token).model_info(repo, revision=revision or constants.DEFAULT_REVISION)
            return None
        except errors.HfHubHTTPError as error:
            if error.response.status_code not in (408, 429) and error.response.status_code < 500:
                raise
            silence: Exception = error
        except transport_errors() as error:
            return error  # a missing network does not come back within seconds
        wait = max(pause or 0.0, retry_after(silence) or 0.0)
        if pause is None or wait > MAX_WAIT:
            break
        time.sleep(wait)
    return silence


def _blob_names(repo: str, cache_dir: str | os.PathLike[str] | None) -> frozenset[str]:
    from huggingface_hub import constants

    folder = Path(cache_dir or constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "blobs"
    return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()


def _check_arrived(folder: Path, known: frozenset[str], name: str) -> None:
    """Compares the files that were not in the cache before with their hashes. The cache keeps a file under its hash,
    and links to it: sha256 for large files, git's sha1 of a blob for the others. A cache without links tells nothing.
    A blob may be a link itself, to a store that repositories share: what is damaged must go from there too.
    """
    for link in folder.iterdir():
        if not link.is_symlink():
            continue
        blob = folder / os.readlink(link)
        if blob.name in known:
            continue
        real = blob.resolve()
        if blob.name == _digest_like(blob):
            note(real, blob.name)
        else:
            shared = [real] if any(real.is_relative_to(root) for root in roots(folder)) else []
            for path in (*shared, blob, link):
                path.unlink(missing_ok=True)
            raise HubError(
                f"{link.name} of {name} arrived damaged: its contents are not what the Hub announced. "
                "It was removed from the cache; load again."
            )


def _digest_like(blob: Path) -> str:
    """The hash of a blob, of the kind that its name is; of another kind of name nothing can be said: the name."""
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):
        digest = hashlib.sha256()
    elif _COMMIT.fullmatch(blob.name):
        digest = hashlib.sha1(b"blob %d\0" % blob.stat().st_size, usedforsecurity=False)
    else:
        return blob.name
    with open(blob, "rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
