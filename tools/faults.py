"""The long forms of tests/faults, one command each; run them from the root of the repository. They write data.

python -m tools.faults kills                # 200 SIGKILLs at random instants over ten systems
python -m tools.faults fuzz                 # 10,000 hostile files and names
"""

from __future__ import annotations

import argparse
import dataclasses
import faulthandler
import functools
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
HANGS = 60  # seconds after which a case is taken to hang
CONFIG_SYSTEMS = ("dcgan", "gan", "vae", "iaf-vae", "pixel-vae", "aae", "vq-vae", "ddpm", "edm", "conv-autoencoder")


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


def fuzz(count: int, seed: int) -> dict[str, Any]:
    """Half of the cases are config.json, a fifth each safetensors files and names, a tenth cards."""
    import torch
    from hypothesis import strategies as st

    import gencore
    import gencore_hub
    from gencore.cli.hub import _license, _text
    from gencore.cli.show import shown
    from gencore.testing.conformance import tiny_model
    from tests.faults.hostile import configs, lay_traps
    from tests.faults.hostile_files import cards, names, weights

    torch.set_num_threads(1)
    run = _Fuzzing(seed)
    with tempfile.TemporaryDirectory() as root:
        for system in CONFIG_SYSTEMS:
            target = Path(root, system)
            tiny_model(system).save_pretrained(target)
            lay_traps(target)
            load = functools.partial(gencore.from_pretrained, target)
            strategy = configs(json.loads((target / "config.json").read_text()))
            run.files(
                f"config.json of {system}", target / "config.json", load, strategy, count // 2 // len(CONFIG_SYSTEMS)
            )
        target = Path(root, "gan")
        load = functools.partial(gencore.from_pretrained, target)
        file = target / "model.safetensors"
        run.files("model.safetensors", file, load, weights(file.read_bytes()), count // 5)
        show = lambda: (shown(_text(target)), _license(target))  # noqa: E731
        run.files("README.md", target / "README.md", show, cards, count // 10)
        both = st.tuples(names, st.none() | names)
        run.values("names and revisions", lambda pair: gencore_hub.resolve(*pair), both, count // 5)
    return {"seed": seed, "targets": run.rows, "passed": not any(row["failures"] for row in run.rows)}


class _Fuzzing:
    """Runs cases and keeps a row a target. A case fails if it ends in a foreign error, takes longer than MUST_BE_QUICK,
    or does what a Watch must not see, or changes the target's directory; one that hangs ends the whole run."""

    def __init__(self, seed: int) -> None:
        from tests.faults.hostile import Watch

        self.seed, self.rows, self.watch = seed, [], Watch()

    def files(self, what: str, file: Path, load: Callable[[], object], strategy: Any, count: int) -> None:
        """`load` with drawn contents in the place of `file`."""
        from tests.faults.hostile import contents

        original = file.read_bytes()

        def unchanged() -> bool:
            return contents(file.parent) == before

        before: dict[str, bytes] = {}

        def prepare(data: bytes) -> None:
            nonlocal before
            file.write_bytes(data)
            before = contents(file.parent)

        try:
            self.values(what, lambda data: load(), strategy, count, prepare=prepare, unchanged=unchanged)
        finally:
            file.write_bytes(original)

    def values(
        self,
        what: str,
        call: Callable[[Any], object],
        strategy: Any,
        count: int,
        *,
        prepare: Callable[[Any], None] = lambda value: None,
        unchanged: Callable[[], bool] = lambda: True,
    ) -> None:
        """`call` with `count` drawn values: one of our errors is what is wanted, or that it is taken after all."""
        from hypothesis import HealthCheck, Phase, given, settings
        from hypothesis import seed as seeded

        from tests.faults.hostile import MUST_BE_QUICK, OURS

        outcomes: Counter[str] = Counter()
        failures: list[str] = []
        slowest = 0.0

        def attempt(value: Any) -> None:
            nonlocal slowest
            prepare(value)
            faulthandler.dump_traceback_later(HANGS, exit=True)
            began, trouble, outcome = time.monotonic(), [], "accepted"
            try:
                with self.watch:
                    call(value)
            except OURS as error:
                outcome = type(error).__name__
            except Exception as error:
                trouble.append(f"{type(error).__name__}: {str(error)[:200]}")
                outcome = "foreign error"
            took = time.monotonic() - began
            faulthandler.cancel_dump_traceback_later()
            trouble += self.watch.seen
            if took > MUST_BE_QUICK:
                trouble.append(f"{took:.1f} seconds")
            if not unchanged():
                trouble.append("the directory was changed")
            failures.extend(f"{text} for {repr(value)[:500]}" for text in trouble)
            outcomes[outcome] += 1
            slowest = max(slowest, took)

        options = settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        seeded(self.seed)(options(given(strategy)(attempt)))()
        cases = sum(outcomes.values())
        sys.stdout.write(f"{what}: {cases} cases, {len(failures)} failures, slowest {slowest:.2f} s\n")
        sys.stdout.flush()
        row = {"target": what, "cases": cases, "outcomes": dict(outcomes), "slowest_seconds": round(slowest, 3)}
        self.rows.append(row | {"failures": failures[:20]})


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
