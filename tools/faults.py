"""The long forms of tests/faults, one command each; run them from the root of the repository. They write data.

python -m tools.faults kills                # 200 SIGKILLs at random instants over ten systems
python -m tools.faults fuzz                 # 10,000 hostile files and names
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SYSTEMS = ("dcgan", "wgan-gp", "vae", "iwae", "aae", "vae-gan", "vq-vae", "iaf-vae", "ddpm", "denoising-autoencoder")
CONFIG_SYSTEMS = ("dcgan", "gan", "vae", "iaf-vae", "pixel-vae", "aae", "vq-vae", "ddpm", "edm", "conv-autoencoder")


def kills(count: int, seed: int) -> dict[str, Any]:
    """`count` kills that struck before the end, shared out among SYSTEMS; a training is killed up to five times."""
    draw, rows = random.Random(seed), []
    for system in SYSTEMS:
        rows.append(_kill_system(system, count // len(SYSTEMS), draw))
        sys.stdout.write(f"{system}: {rows[-1]['kills']} kills, {len(rows[-1]['files_that_differ'])} files differ\n")
        sys.stdout.flush()
    return {"seed": seed, "systems": rows, "passed": not any(row["files_that_differ"] for row in rows)}


def _kill_system(system: str, count: int, draw: random.Random) -> dict[str, Any]:
    from tests.faults.kills import Kill, differences, run_killed, run_whole

    events: list[Kill] = []
    different: list[str] = []
    trainings = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run_whole(root / "warm-up", system, sync=True)
        seconds = run_whole(root / "whole", system, sync=True)
        while len(events) < count:
            trainings += 1
            killed = root / f"killed-{trainings}"
            told = run_killed(killed, system, seconds, draw, kills=min(5, count - len(events)), sync=True)
            events += [event for event in told if event.killed]
            different += differences(root / "whole", killed)
    return {
        "system": system,
        "trainings": trainings,
        "kills": len(events),
        "while_writing": sum(event.while_writing for event in events),
        "files_that_differ": different,
        "events": [dataclasses.asdict(event) for event in events],
    }


def fuzz(count: int, seed: int) -> dict[str, Any]:
    """Half of the cases are config.json, a quarter safetensors files, a quarter names."""
    import torch
    from hypothesis import strategies as st

    import gencore_hub
    from gencore.testing.conformance import tiny_model
    from tests.faults.hostile import configs
    from tests.faults.hostile_files import names, weights

    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for system in CONFIG_SYSTEMS:
            target = Path(folder, system)
            tiny_model(system).save_pretrained(target)
            share = count // 2 // len(CONFIG_SYSTEMS)
            strategy = configs(json.loads((target / "config.json").read_text()))
            rows.append(_fuzz_file(f"config.json of {system}", target / "config.json", strategy, share, seed))
        target = Path(folder, "gan")
        strategy = weights((target / "model.safetensors").read_bytes())
        rows.append(_fuzz_file("model.safetensors", target / "model.safetensors", strategy, count // 4, seed))
    both = st.tuples(names, st.none() | names)
    rows.append(_fuzz("names and revisions", lambda pair: gencore_hub.resolve(*pair), both, count // 4, seed))
    return {"seed": seed, "targets": rows, "passed": not any(row["foreign_errors"] for row in rows)}


def _fuzz_file(what: str, file: Path, strategy: Any, count: int, seed: int) -> dict[str, Any]:
    import gencore

    original = file.read_bytes()

    def load(data: bytes) -> None:
        file.write_bytes(data)
        before = sorted(path.name for path in file.parent.iterdir())
        try:
            gencore.from_pretrained(file.parent)
        finally:
            assert sorted(path.name for path in file.parent.iterdir()) == before

    try:
        return _fuzz(what, load, strategy, count, seed)
    finally:
        file.write_bytes(original)


def _fuzz(what: str, call: Callable[[Any], object], strategy: Any, count: int, seed: int) -> dict[str, Any]:
    """Calls with `count` drawn values; a ValueError is what is wanted, or that it is taken after all."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    outcomes: Counter[str] = Counter()
    foreign: list[str] = []
    slowest = 0.0

    def attempt(value: Any) -> None:
        nonlocal slowest
        began = time.monotonic()
        try:
            call(value)
            outcomes["accepted"] += 1
        except ValueError as error:
            outcomes[type(error).__name__] += 1
        except Exception as error:
            foreign.append(f"{type(error).__name__}: {str(error)[:200]} for {repr(value)[:500]}")
        slowest = max(slowest, time.monotonic() - began)

    options = settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    seeded(seed)(options(given(strategy)(attempt)))()
    sys.stdout.write(f"{what}: {sum(outcomes.values()) + len(foreign)} cases, {len(foreign)} foreign errors\n")
    return {
        "target": what,
        "cases": sum(outcomes.values()) + len(foreign),
        "outcomes": dict(outcomes),
        "slowest_seconds": round(slowest, 3),
        "foreign_errors": foreign[:20],
    }


def main() -> int:
    """Run one harness and write its data."""
    parser = argparse.ArgumentParser(prog="python -m tools.faults", description=__doc__)
    parser.add_argument("what", choices=("kills", "fuzz"))
    parser.add_argument("--count", type=int, help="kills (200) or cases (10,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="default bench/results/faults-<what>.json")
    options = parser.parse_args()
    began = time.monotonic()
    default, run = {"kills": (200, kills), "fuzz": (10_000, fuzz)}[options.what]
    result = run(options.count or default, options.seed)
    result |= {
        "command": f"python -m tools.faults {options.what} --count {options.count or default} --seed {options.seed}",
        "seconds": round(time.monotonic() - began, 1),
        "python": platform.python_version(),
        "date": date.today().isoformat(),
    }
    out = options.out or ROOT / "bench" / "results" / f"faults-{options.what}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(f"{'passed' if result['passed'] else 'FAILED'}; written to {out}\n")
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
