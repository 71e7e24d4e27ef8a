"""What `huggingface_hub` raises, as one paragraph that says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .errors import HubError, StorageError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

_LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN"


@contextmanager
def explained(name: str, *, pushing: bool = False, cache_dir: object = None) -> Iterator[None]:
    """Turns what `huggingface_hub` raises about the repository `name` into one `HubError`."""
    try:
        yield
    except HubError:
        raise
    except _foreign_errors() as error:
        kind = StorageError if _is_disk_error(error) else HubError
        raise kind(_explanation(error, name, pushing=pushing, cache_dir=cache_dir)) from error


def transport_errors() -> tuple[type[Exception], ...]:
    """What is raised when no answer comes: the client's HTTP library's own error, whichever library it uses."""
    from huggingface_hub import errors

    library = [base for base in errors.HfHubHTTPError.__mro__[1:] if base.__name__ == "HTTPError"]
    return (ConnectionError, TimeoutError, *(base for base in library if issubclass(base, Exception)))


def _foreign_errors() -> tuple[type[Exception], ...]:
    return (OSError, ValueError, RuntimeError, *transport_errors())


def _is_disk_error(error: BaseException) -> bool:
    return isinstance(error, OSError) and not isinstance(error, ConnectionError) and error.errno is not None


def _explanation(error: Exception, name: str, *, pushing: bool, cache_dir: object) -> str:
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        return (
            f"{name} is open only to those whom its owner admits. Ask at {constants.ENDPOINT}/{name.partition('@')[0]}."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        what = "cannot be written with this login" if pushing else "does not exist on the Hub, or is private"
        return f"{name} {what}. Check the name (a directory here is written './{name}'). {_LOG_IN} if it is private."
    if isinstance(error, errors.RevisionNotFoundError):
        return (
            f"{name}: the repository exists, and has no such branch, tag or commit. Leave the revision out for 'main'."
        )
    if isinstance(error, errors.LocalEntryNotFoundError):
        place = f"the cache ({cache_dir or constants.HF_HUB_CACHE})"
        return (
            f"{name} is not, or not whole, in {place}, and the network is off, cannot be reached, or was ruled out by "
            "local_files_only or HF_HUB_OFFLINE. Load it once with network, or copy its directory here and name that."
        )
    if isinstance(error, errors.HfHubHTTPError):
        return _explain_status(error, name)
    if isinstance(error, transport_errors()):
        return (
            f"{name}: the Hub at {constants.ENDPOINT} cannot be reached: {first_line(error)}. Check the network, or "
            "give a directory; what the cache has can be loaded with HF_HUB_OFFLINE=1."
        )
    if isinstance(error, errors.LocalTokenNotFoundError):
        return f"{name}: no login was found on this machine. {_LOG_IN}."
    if _is_disk_error(error):
        return f"{name}: the files could not be stored or read: {error}. Free some space, or choose another HF_HOME."
    verb = "pushed" if pushing else "downloaded"
    return f"{name} could not be {verb}: {first_line(error)} Try again; files that arrived whole are kept."


def retry_after(error: Exception) -> float | None:
    """The seconds that a Hub's refusal asks to wait (the header Retry-After); None if it does not say."""
    text = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
    return float(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _explain_status(error: HfHubHTTPError, name: str) -> str:
    status = error.response.status_code
    if status == 401:
        return f"{name}: the Hub does not accept this login. {_LOG_IN}."
    if status == 403:
        return f"{name}: this login has no right to do that. Take a token that may write, or another name."
    if status == 429:
        seconds = retry_after(error)
        wait = "some minutes" if seconds is None else f"{seconds:.0f} seconds"
        return f"{name}: the Hub asks to slow down (429). Wait {wait}; with a login the limits are higher."
    if status >= 500:
        return f"{name}: the Hub is out of order ({status}). Try again later, or use the cache with HF_HUB_OFFLINE=1."
    return f"{name}: the Hub refused with {status}: {first_line(error)}"


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
