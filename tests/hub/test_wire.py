"""The Hub over real HTTP: gencore in processes of its own, the real client, and a server on loopback with faults."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from gencore_hub import HubError, load_into, read_config
from gencore_hub.files import PENDING, is_model_file
from gencore_hub.verified import is_noted

from .helpers import Client, RemoteError
from .server import HubServer

WIDTH = 300  # 361 kB of weights: several packets
REPO = "org/name"


def digest(module: torch.nn.Module) -> str:
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in module.state_dict().values())).hexdigest()


@pytest.fixture
def module() -> torch.nn.Linear:
    return torch.nn.Linear(WIDTH, WIDTH)


@pytest.fixture
def model(save: Callable[..., Path], module: torch.nn.Linear) -> Path:
    return save(module)


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}


@pytest.fixture
def locate(client: Client, tmp_path: Path) -> Callable[..., Path]:
    """`locate(name, ...)` in the other process, with a cache of the test's own."""

    def call(name: str, **options: Any) -> Path:
        return Path(client.call("locate", name, **{"cache_dir": str(tmp_path / "cache"), **options}))

    return call


def refused(call: Callable[..., object], *args: Any, kind: str = "HubError", **options: Any) -> str:
    """The text of the error, which is one of ours."""
    with pytest.raises(RemoteError) as caught:
        call(*args, **options)
    assert caught.value.kind == kind, caught.value
    assert "Traceback" not in caught.value.text
    assert len(caught.value.text) < 700
    return caught.value.text


def size_under_way(folder: Path) -> int:
    """Bytes of the largest file that is being downloaded; such files vanish at any moment."""
    sizes = [0]
    for path in folder.rglob("*.incomplete"):
        with suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return max(sizes)


# there and back


def test_push_then_load_in_another_process_is_bit_equal_also_offline(
    hub: HubServer, start_client: Callable[..., Client], model: Path, module: torch.nn.Linear, tmp_path: Path
) -> None:
    (model / "checkpoints").mkdir()
    (model / "checkpoints" / "model.safetensors").write_bytes(b"private")
    (model / "optimizer.pt").write_bytes(b"private")
    (model / "metrics.jsonl").write_bytes(b"private")
    writer = start_client(HF_TOKEN=hub.token)
    url = writer.call("push", str(model), REPO, commit_message="first")
    assert url == f"{hub.url}/{REPO}/commit/{hub.repos[REPO].branches['main']}"
    tree = hub.repos[REPO].commits[hub.repos[REPO].branches["main"]]
    assert sorted(tree) == ["README.md", "config.json", "model.safetensors", "samples.png"]

    home = tmp_path / "home"
    reader = start_client(home)
    path = Path(reader.call("locate", REPO))
    assert not reader.call("is_imported", "torch")
    assert contents(path) == {name: data for name, data in contents(model).items() if is_model_file(name)}
    before = len(hub.log)
    offline = start_client(home, HF_HUB_OFFLINE="1", NO_SOCKETS="1")
    assert offline.call("locate", REPO) == str(path)
    assert offline.call("state_digest", str(path), WIDTH) == digest(module)
    assert "local_files_only or HF_HUB_OFFLINE" in refused(offline.call, "locate", "org/other")
    assert "needs the network" in refused(offline.call, "locate", REPO, force_download=True)
    assert len(hub.log) == before


def test_a_second_push_of_the_same_changes_nothing(hub: HubServer, client: Client, model: Path) -> None:
    for _ in range(2):
        client.call("push", str(model), REPO, token=hub.token)
    assert len(hub.repos[REPO].commits) == 2  # the empty one of create_repo, and the first push
    assert len(hub.requests("PUT /large")) == 2


def test_a_push_of_fewer_files_deletes_the_old_ones(hub: HubServer, client: Client, save: Callable[..., Path]) -> None:
    client.call("push", str(save(torch.nn.Linear(9, 9), max_shard_size=100)), REPO, token=hub.token)
    client.call("push", str(save(torch.nn.Linear(9, 9), samples_png=None)), REPO, token=hub.token)
    repo = hub.repos[REPO]
    assert sorted(repo.commits[repo.branches["main"]]) == ["README.md", "config.json", "model.safetensors"]


def test_a_save_whose_writer_was_killed_is_pushed_whole(
    hub: HubServer, client: Client, save: Callable[..., Path]
) -> None:
    path = save(torch.nn.Linear(3, 3), max_shard_size=20)
    new = contents(save(torch.nn.Linear(5, 5), "new"))
    (path / PENDING).mkdir()
    for name, data in {**new, "MANIFEST": json.dumps(sorted(new)).encode()}.items():
        (path / PENDING / name).write_bytes(data)
    client.call("push", str(path), REPO, token=hub.token)
    pushed = hub.repos[REPO].commits[hub.repos[REPO].branches["main"]]
    assert {name: file.data for name, file in pushed.items()} == new


def test_sharded_weights_travel(
    hub: HubServer, client: Client, save: Callable[..., Path], locate: Callable[..., Path], module: torch.nn.Linear
) -> None:
    client.call("push", str(save(module, max_shard_size=2000)), REPO, token=hub.token)
    path = locate(REPO)
    assert len(list(path.glob("model-*.safetensors"))) == 2
    other = torch.nn.Linear(WIDTH, WIDTH)
    assert digest(load_into(path, other, read_config(path))) == digest(module)


def test_only_model_files_are_downloaded(hub: HubServer, locate: Callable[..., Path], model: Path) -> None:
    extra = {
        "pytorch_model.bin": b"\x80\x04evil",
        "modeling.py": b"import os",
        "sub/config.json": b"{}",
        "a.safetensors": b"",
    }
    hub.add(REPO, contents(model) | extra)
    assert sorted(os.listdir(locate(REPO))) == ["README.md", "config.json", "model.safetensors", "samples.png"]
    assert not hub.requests(r"resolve/.*(bin|py|sub|/a\.|-1-)")


def test_revisions(hub: HubServer, locate: Callable[..., Path], save: Callable[..., Path]) -> None:
    files = [contents(save(torch.nn.Linear(2, 2), name)) for name in ("one", "two", "three")]
    first = hub.add(REPO, files[0])
    hub.add(REPO, files[1])
    hub.add(REPO, files[2], branch="refs/pr/1")
    for name, options, index in [
        (REPO, {}, 1),
        (f"{REPO}@{first}", {}, 0),
        (REPO, {"revision": first}, 0),
        (f"hf://{REPO}@refs/pr/1", {}, 2),
    ]:
        assert contents(locate(name, **options)) == files[index], name
    assert "no such branch, tag or commit" in refused(locate, f"{REPO}@none")


def test_a_moved_branch_is_noticed_and_a_commit_asks_nothing(
    hub: HubServer, locate: Callable[..., Path], save: Callable[..., Path]
) -> None:
    files = [contents(save(torch.nn.Linear(2, 2), name)) for name in ("one", "two")]
    first = hub.add(REPO, files[0])
    assert contents(locate(REPO)) == files[0]
    before = len(hub.log)
    assert contents(locate(f"{REPO}@{first}")) == files[0]
    assert len(hub.log) == before
    hub.add(REPO, files[1])
    assert contents(locate(REPO)) == files[1]


def test_force_download_replaces_what_was_damaged_in_the_cache(
    hub: HubServer, locate: Callable[..., Path], model: Path
) -> None:
    hub.add(REPO, contents(model))
    path = locate(REPO)
    blob = (path / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    with pytest.raises(HubError, match="sha256"):
        load_into(locate(REPO), torch.nn.Linear(WIDTH, WIDTH), read_config(path))
    assert contents(locate(REPO, force_download=True)) == contents(model)


def test_a_large_file_is_hashed_on_arrival_and_not_again(
    hub: HubServer, locate: Callable[..., Path], save: Callable[..., Path]
) -> None:
    if not hasattr(os, "setxattr"):
        pytest.skip("this system has no extended attributes")
    model = save(torch.nn.Linear(2100, 2100))
    hub.add(REPO, contents(model))
    hub.fail("GET .*config.json", "slow")  # so that the weights have lain there for a while
    weights = locate(REPO) / "model.safetensors"
    with open(weights, "rb", buffering=0) as file:
        assert is_noted(file, read_config(model)["weights"]["model.safetensors"])


def test_subfolders(hub: HubServer, locate: Callable[..., Path], model: Path) -> None:
    hub.add(REPO, {f"ema/fast/{name}": data for name, data in contents(model).items()})
    assert contents(locate(REPO, subfolder="ema/fast")) == contents(model)
    assert "no gencore model" in refused(locate, REPO)
    assert "no gencore model" in refused(locate, REPO, subfolder="ema")
    assert "is not a relative path" in refused(locate, REPO, subfolder="../x")


def test_branches_and_pull_requests(hub: HubServer, client: Client, save: Callable[..., Path]) -> None:
    path = save(torch.nn.Linear(2, 2))
    client.call("push", str(path), REPO, token=hub.token, branch="v2")
    assert sorted(hub.repos[REPO].branches) == ["main", "v2"]
    assert hub.repos[REPO].commits[hub.repos[REPO].branches["main"]] == {}
    url = client.call("push", str(path), REPO, token=hub.token, create_pr=True)
    assert url == f"{hub.url}/{REPO}/discussions/1"
    assert "refs/pr/1" in hub.repos[REPO].branches
    assert "malformed" in refused(client.call, "push", str(path), REPO, token=hub.token, branch="../x")
    both = {"branch": "v3", "create_pr": True}
    assert "against 'main' only" in refused(client.call, "push", str(path), REPO, token=hub.token, **both)
    assert "v3" not in hub.repos[REPO].branches


def test_private_repositories(hub: HubServer, client: Client, locate: Callable[..., Path], model: Path) -> None:
    client.call("push", str(model), REPO, token=hub.token, private=True)
    assert hub.repos[REPO].private
    text = refused(locate, REPO)
    assert "does not exist on the Hub, or is private" in text
    assert "hf auth login" in text
    assert contents(locate(REPO, token=hub.token)) == contents(model)
    assert "does not exist on the Hub, or is private" in refused(locate, REPO)  # though the cache has it by now
    assert contents(locate(REPO, local_files_only=True)) == contents(model)
    text = refused(client.call, "push", str(model), REPO, token=hub.token, private=False)
    assert text.startswith(f"{REPO} exists and is private, and private=False was asked")


def test_cached_lists_gencore_models_with_sizes(
    hub: HubServer, start_client: Callable[..., Client], model: Path
) -> None:
    hub.add(REPO, contents(model))
    hub.add("org/bert", {"config.json": b'{"model_type": "bert"}', "model.safetensors": b""})
    reader = start_client()
    assert reader.call("cached") == []
    reader.call("locate", REPO)
    reader.call("locate", "org/bert")  # a directory with a config.json; read_config would refuse it
    (entry,) = reader.call("cached")
    size = sum(len(data) for data in contents(model).values())
    assert re.match(
        rf"CachedModel\(name='{REPO}', commit='[0-9a-f]{{40}}', system='dcgan', family='gan', size={size},", entry
    )


# what is refused


def test_names_that_are_not_there(hub: HubServer, locate: Callable[..., Path]) -> None:
    text = refused(locate, "org/none")
    assert "org/none does not exist on the Hub, or is private" in text
    assert "'./org/none'" in text


def test_pushing_without_a_login_or_with_a_bad_one(hub: HubServer, client: Client, model: Path) -> None:
    for token in (None, "hf_wrong", False):
        assert "Log in with `hf auth login`" in refused(client.call, "push", str(model), REPO, token=token)
    assert hub.repos == {}


@pytest.mark.parametrize("token", ["hf_secret\nX", "hf_secret ", "hf_secr\u00e9t", " "])
def test_a_token_that_cannot_be_sent_is_not_shown(
    hub: HubServer, client: Client, locate: Callable[..., Path], model: Path, token: str
) -> None:
    for call, names in ((locate, [REPO]), (client.call, ["push", str(model), REPO])):
        text = refused(call, *names, token=token)
        assert "hf_secr" not in text
        assert "it is not shown here" in text
    assert hub.log == []


def test_what_is_no_model_is_not_pushed(hub: HubServer, client: Client, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no config.json" in refused(client.call, "push", str(tmp_path / "empty"), REPO, token=hub.token)
    assert "is not a Hub id" in refused(client.call, "push", str(model), "name", token=hub.token)
    assert "names a revision" in refused(client.call, "push", str(model), f"{REPO}@main", token=hub.token)
    (model / "model.safetensors").unlink()
    assert "lacks model.safetensors" in refused(client.call, "push", str(model), REPO, token=hub.token)
    assert hub.log == []


# faults


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "hf auth login"),
        (403, "no right"),
        (404, "refused with 404"),
        (429, "slow down"),
        (500, "out of order (500)"),
    ],
)
def test_a_status_that_stays(
    hub: HubServer, locate: Callable[..., Path], model: Path, status: int, message: str
) -> None:
    hub.add(REPO, contents(model))
    hub.fail("GET /api/models/org/name", status, times=99)
    assert message in refused(locate, REPO)


@pytest.mark.parametrize("status", [429, 503])
def test_a_status_that_passes(hub: HubServer, locate: Callable[..., Path], model: Path, status: int) -> None:
    hub.add(REPO, contents(model))
    hub.fail("GET /api/models/org/name", status)
    assert contents(locate(REPO)) == contents(model)


def test_a_hub_that_asks_for_patience(hub: HubServer, locate: Callable[..., Path], model: Path) -> None:
    """Retry-After is kept where it is short, and told where it is long."""
    hub.add(REPO, contents(model))
    hub.fail("GET /api/models/org/name", 429, Retry_After="2")
    began = time.monotonic()
    locate(REPO)
    assert time.monotonic() - began >= 2
    hub.fail("GET /api/models/org/name", 429, times=9, Retry_After="3600")
    began = time.monotonic()
    assert "(429). Wait 3600 seconds" in refused(locate, REPO, force_download=True)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(("method", "status"), [("HEAD", 429), ("HEAD", 500), ("GET", 429)])
def test_a_file_that_is_refused_once(
    hub: HubServer, locate: Callable[..., Path], model: Path, status: int, method: str
) -> None:
    hub.add(REPO, contents(model))
    hub.fail(rf"{method} .*model\.safetensors", status)
    assert contents(locate(REPO)) == contents(model)


@pytest.mark.slow
@pytest.mark.parametrize(("action", "message"), [(401, "login"), (404, "404"), (500, "(500)"), ("cut", "peer closed")])
def test_a_file_that_never_arrives(
    hub: HubServer, locate: Callable[..., Path], model: Path, action: Any, message: str
) -> None:
    """The client's own retries end, and what is in the cache by then is no model."""
    hub.add(REPO, contents(model))
    hub.fail(r"GET .*model\.safetensors", action, times=99)
    assert message in refused(locate, REPO)
    hub.faults.clear()
    assert contents(locate(REPO)) == contents(model)


def test_a_hub_out_of_order_leaves_the_cache_with_a_warning(
    hub: HubServer, client: Client, locate: Callable[..., Path], model: Path
) -> None:
    hub.add(REPO, contents(model))
    path = locate(REPO)
    assert client.warnings == []
    hub.fail("GET /api/models/org/name", 500, times=99)
    assert locate(REPO) == path
    assert len(client.warnings) == 1
    assert "taken from the cache and may be out of date" in client.warnings[0]
    assert "out of order (500)" in refused(locate, REPO, force_download=True)


def test_a_hub_that_is_gone(start_client: Callable[..., Client]) -> None:
    gone = start_client(HF_ENDPOINT="http://127.0.0.1:9")
    assert "http://127.0.0.1:9 cannot be reached" in refused(gone.call, "locate", REPO)


def test_a_cut_download_is_resumed_where_it_broke(hub: HubServer, locate: Callable[..., Path], model: Path) -> None:
    """The client keeps whole pieces of 10 MiB."""
    files = contents(model) | {"model.safetensors": os.urandom(50 * 2**20)}
    hub.add(REPO, files)
    hub.fail(r"GET .*model\.safetensors", "cut", times=2)
    assert contents(locate(REPO)) == files
    ranges = [request.range for request in hub.requests(r"GET .*model\.safetensors")]
    assert [text and text.split("-")[0] for text in ranges] == [None, f"bytes={20 * 2**20}", f"bytes={30 * 2**20}"]


def test_a_download_that_stalls_is_resumed(hub: HubServer, locate: Callable[..., Path], model: Path) -> None:
    hub.add(REPO, contents(model))
    hub.fail(r"GET .*model\.safetensors", "stall")
    assert contents(locate(REPO)) == contents(model)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_is_not_what_was_announced(
    hub: HubServer, locate: Callable[..., Path], model: Path, name: str
) -> None:
    hub.add(REPO, contents(model))
    hub.fail(f"GET .*{name}", "corrupt")
    assert f"{name} of {REPO} arrived damaged" in refused(locate, REPO)
    assert contents(locate(REPO)) == contents(model)  # the damaged file did not stay in the cache


def test_two_processes_download_at_once(
    hub: HubServer, client: Client, start_client: Callable[..., Client], model: Path, tmp_path: Path
) -> None:
    """The second comes while the first is half way."""
    hub.add(REPO, contents(model))
    hub.fail(r"GET .*model\.safetensors", "slow", times=2)
    readers = (client, start_client())
    for reader in readers:
        reader.call("read_config", str(model))  # awake
    for reader in readers:
        reader.send("locate", REPO, cache_dir=str(tmp_path / "cache"))
    paths = {reader.receive() for reader in readers}
    assert len(paths) == 1
    assert contents(Path(paths.pop())) == contents(model)


def test_a_process_that_is_killed_while_it_downloads(
    hub: HubServer, start_client: Callable[..., Client], locate: Callable[..., Path], model: Path, tmp_path: Path
) -> None:
    """No half file is taken for a whole one. (The client resumes within one call only: each process has its own.)"""
    files = contents(model) | {"model.safetensors": os.urandom(30 * 2**20)}
    hub.add(REPO, files)
    hub.fail(r"GET .*model\.safetensors", "slow", times=99)
    victim = start_client()
    victim.send("locate", REPO, cache_dir=str(tmp_path / "cache"))
    while size_under_way(tmp_path) < 10 * 2**20:
        time.sleep(0.01)
    victim.process.kill()
    victim.process.wait()
    hub.faults.clear()
    assert "is not, or not whole, in the cache" in refused(locate, REPO, local_files_only=True)
    assert contents(locate(REPO)) == files


def test_a_push_that_breaks_can_be_repeated(hub: HubServer, client: Client, model: Path) -> None:
    hub.fail("POST .*commit/main", 400)
    assert "refused with 400" in refused(client.call, "push", str(model), REPO, token=hub.token)
    assert hub.repos[REPO].commits[hub.repos[REPO].branches["main"]] == {}
    client.call("push", str(model), REPO, token=hub.token)
    assert len(hub.repos[REPO].commits[hub.repos[REPO].branches["main"]]) == 4
    assert len(hub.requests("PUT /large")) == 2  # what had arrived was not sent again


def test_a_cache_that_cannot_be_written(
    hub: HubServer, locate: Callable[..., Path], model: Path, tmp_path: Path
) -> None:
    hub.add(REPO, contents(model))
    (tmp_path / "file").write_bytes(b"")
    assert "could not be stored" in refused(locate, REPO, kind="StorageError", cache_dir=str(tmp_path / "file"))
