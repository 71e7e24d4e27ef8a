"""A model directory to the Hub."""

from __future__ import annotations

import os
from pathlib import Path

from .config_file import read_config
from .directory import finish_write
from .errors import HubError
from .explain import explained
from .files import MODEL_FILES
from .names import check_revision, split_revision


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

    Only `MODEL_FILES` are sent; such files that the repository has and the directory has not are deleted in the same
    commit, so that no old weights stay behind.

    Args:
        repo: "org/name".
        private: the visibility of a new repository; None: the account's default. A repository that exists must have it.
        branch: instead of "main".
        create_pr: open a pull request against "main" instead of writing to it; not together with `branch`.
        commit_message: None: "Upload <system> with gencore".

    Returns:
        The address of the commit, or of the pull request.

    Raises:
        HubError: `directory` is no whole gencore model; no or an unfit token; a visibility that is not as asked; or
            the Hub refused.
    """
    from huggingface_hub import HfApi

    directory = Path(directory)
    if split_revision(repo)[1] is not None:
        raise HubError(f"{repo!r} names a revision. Expected 'org/name'; a branch goes into branch=...")
    if create_pr and branch is not None:
        raise HubError(f"branch={branch!r} and create_pr=True: the Hub opens pull requests against 'main' only.")
    finish_write(directory)
    config = read_config(directory)
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
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=directory,
            revision=branch,
            create_pr=create_pr,
            commit_message=commit_message or f"Upload {config['system']} with gencore",
            allow_patterns=list(MODEL_FILES),
            delete_patterns=list(MODEL_FILES),
        )
    return str(commit.pr_url or commit.commit_url)
