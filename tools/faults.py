"""The long forms of tests/faults, one command each; run them from the root of the repository. They write data.

python -m tools.faults kills                # 200 SIGKILLs at random instants over ten systems
python -m tools.faults fuzz                 # 10,000 hostile files, names, folders and runs
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import random
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SYSTEMS = ("dcgan", "wgan-gp", "vae", "iwae", "aae", "vae-gan", "vq-vae", "iaf-vae", "ddpm", "denoising-autoencoder")


def kills(count: int, seed: int) -> dict[str, Any]:
    """`count` kills that struck before the end, shared out among SYSTEMS; a training is killed up to five times. Some
    must have struck while a checkpoint or the model was being written, or nothing is shown."""
    draw, rows = random.Random(seed), []
    for system in SYSTEMS:
        rows.append(_kill_system(system, count // len(SYSTEMS), draw))
        sys.stdout.write(f"{system}: {rows[-1]['kills']} kills, {len(rows[-1]['files_that_differ'])} files differ\n")
        sys.stdout.flush()
    while_writing = sum(row["while_writing"] for row in rows)
    passed = while_writing > 0 and not any(row["files_that_differ"] for row in rows)
    return {"seed": seed, "systems": rows, "while_writing": while_writing, "passed": passed}


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


def main() -> int:
    """Run one harness and write its data."""
    parser = argparse.ArgumentParser(prog="python -m tools.faults", description=__doc__)
    parser.add_argument("what", choices=("kills", "fuzz"))
    parser.add_argument("--count", type=int, help="kills (200) or cases (10,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="default bench/results/faults-<what>.json")
    options = parser.parse_args()
    from tools.faults_fuzz import fuzz

    began = time.monotonic()
    default, run = {"kills": (200, kills), "fuzz": (10_000, fuzz)}[options.what]
    result = run(options.count or default, options.seed)
    result |= {
        "command": f"python -m tools.faults {options.what} --count {options.count or default} --seed {options.seed}",
        "seconds": round(time.monotonic() - began, 1),
        "python": platform.python_version(),
        "date": date.today().isoformat(),
        "user": "root" if os.geteuid() == 0 else "another",
    }
    out = options.out or ROOT / "bench" / "results" / f"faults-{options.what}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(f"{'passed' if result['passed'] else 'FAILED'}; written to {out}\n")
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
