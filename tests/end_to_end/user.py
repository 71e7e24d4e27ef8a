"""A user's process against the Hub on loopback, for the tests of the library and of the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

from ..hub.server import Handler, HubServer

SCRIPT = Path(__file__).with_name("hub_client.py")


class Server(Protocol):
    url: str


def user(hub: Server, home: Path, *arguments: str, **environment: str) -> Any:
    """What hub_client.py prints when it is run with a cache in `home`; its error text is in the AssertionError."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(SCRIPT), *arguments]
    done = subprocess.run(
        command, env=kept | settings | environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def commands(hub: HubServer, home: Path, *lines: list[str], **environment: str) -> list[list[str | None]]:
    """[output, error] of each command line, run one after the other in one process."""
    return user(hub, home, "commands", json.dumps([[str(word) for word in line] for line in lines]), **environment)


class ListingHandler(Handler):
    """Answers `GET /api/models?filter=TAG` too: by the tags in each card's front matter."""

    def list_models(self) -> None:
        models = []
        for name, repo in self.hub.repos.items():
            card = repo.commits[repo.branches["main"]].get("README.md")
            front = card.data.decode().split("---")[1] if card else ""
            lines = [line.replace('"', "") for line in front.splitlines()]
            tags = [line[2:] for line in lines if line.startswith("- ")]
            tags += [f"license:{line[9:]}" for line in lines if line.startswith("license: ")]
            if not repo.private and set(self.query.get("filter", [])) <= set(tags):
                counts = {"parameters": {"F32": 10}, "total": 10}
                models.append({"id": name, "modelId": name, "tags": tags, "safetensors": counts, "downloads": 0})
        self._answer(200, models)

    routes = (*Handler.routes, (("GET",), r"/api/models", list_models))


class ListingServer(HubServer):
    handler = ListingHandler
