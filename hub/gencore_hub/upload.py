"""A model directory to the Hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .card import renamed
from .config_file import read_config
from .directory import finish_write
from .errors import HubError
from .explain import explained
from .files import CARD, CONFIG, INDEX, SAMPLES, find, is_model_file, open_inside
from .names import check_revision, check_token, split_revision
from .weights import check_whole

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

MOST_BYTES = 2**26
"""Of each file beside the weights."""


def push(
    directory: str | os.PathLike[str],
    repo: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    branch: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
) -> str:
    """Uploads a model directory to the Hub as one commit; makes the repository and the branch if they are missing.

    Only the model's own files are sent, each as it is when it is read here, and no link is followed but those of the
    Hub's cache; the card names the repository instead of the directory. Such files that the repository has and the
    directory has not are deleted in the same commit, so that no old weights stay behind.

    Args:
        repo: "org/name".
        private: the visibility of a new repository; None: the account's default. A repository that exists must have it.
        branch: instead of "main".
        create_pr: open a pull request against "main" instead of writing to it; not together with `branch`.
        commit_message: None: "Upload <system> with gencore".

    Returns:
        The address of the commit, or of the pull request.

    Raises:
        HubError: `directory` is no whole gencore model, or a file of it is a link; no or an unfit token; a visibility
            that is not as asked; or the Hub refused.
    """
    from huggingface_hub import HfApi

    check_token(token)
    directory = Path(directory)
    if split_revision(repo)[1] is not None:
        raise HubError(f"{repo!r} names a revision. Expected 'org/name'; a branch goes into branch=...")
    if create_pr and branch is not None:
        raise HubError(f"branch={branch!r} and create_pr=True: the Hub opens pull requests against 'main' only.")
    finish_write(directory)
    config = read_config(directory)
    additions = _additions(directory, config, repo)
    api = HfApi(token=token)
    with explained(repo, pushing=True):
        api.create_repo(repo, private=private, exist_ok=True)
        if private is not None and bool(api.model_info(repo).private) != private:
            is_now = "public" if private else "private"
            raise HubError(
                f"{repo} exists and is {is_now}, and private={private} was asked. Change it in its settings first."
            )
        if branch is not None:
            api.create_branch(repo, branch=check_revision(branch), exist_ok=True)
        commit = api.create_commit(
            repo,
            [*_deletions(api, repo, branch, additions), *additions],
            revision=branch,
            create_pr=create_pr,
            commit_message=commit_message or f"Upload {config['system']} with gencore",
        )
    return str(commit.pr_url or commit.commit_url)


def _additions(directory: Path, config: dict[str, Any], repo: str) -> list[CommitOperationAdd]:
    """The files of weights, which may be large, by path and only if they are what config.json says; the others as they
    are read now."""
    from huggingface_hub import CommitOperationAdd

    small: dict[str, bytes] = {}
    for name in (CONFIG, INDEX, CARD, SAMPLES):
        if os.path.lexists(directory / name):
            with open_inside(directory, name, links=False) as file:
                small[name] = file.read(MOST_BYTES + 1)
            if len(small[name]) > MOST_BYTES:
                raise HubError(f"{directory / name} has more than {MOST_BYTES:,} bytes, and is not sent.")
    if CARD in small:
        text = small[CARD].decode("utf-8", "surrogateescape")
        small[CARD] = renamed(text, repo).encode("utf-8", "surrogateescape")
    check_whole(directory, config["weights"], links=False)
    files = small | {name: find(directory, name) for name in config["weights"]}
    return [CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in files.items()]


def _deletions(
    api: HfApi, repo: str, branch: str | None, additions: list[CommitOperationAdd]
) -> list[CommitOperationDelete]:
    from huggingface_hub import CommitOperationDelete

    sent = {addition.path_in_repo for addition in additions}
    present = api.list_repo_files(repo, revision=branch)
    return [CommitOperationDelete(name) for name in present if is_model_file(name) and name not in sent]
