"""Drawn cases by the thousand for one door after another, with a row of data for each."""

from __future__ import annotations

import contextlib
import faulthandler
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from .hostile import MUST_BE_QUICK, OURS, Watch, contents

WAITS = 30
"""Seconds that no case may take by the clock; of work it may take MUST_BE_QUICK: a busy machine is no fault of it."""
HANGS = 60
"""Seconds after which a case is taken to hang."""


class Fuzzing:
    """Runs cases and keeps a row a target. A case fails if it ends in a foreign error, takes longer than MUST_BE_QUICK,
    does what a Watch must not see, changes what must stay, or is taken where it must be refused; one that hangs ends
    the whole run."""

    def __init__(self, seed: int) -> None:
        self.seed, self.rows, self.watch = seed, [], Watch()

    def files(self, what: str, file: Path, load: Callable[[], object], strategy: Any, count: int) -> None:
        """`load` with drawn contents in the place of `file`."""
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
        may_be_taken: bool = True,
        watched: bool = True,
    ) -> None:
        """`call` with `count` drawn values: one of our errors is what is wanted, or, where that `may_be_taken`, that
        it is taken after all. Not `watched`: it is its business to write."""
        outcomes: Counter[str] = Counter()
        failures: list[str] = []
        slowest = 0.0

        def attempt(value: Any) -> None:
            nonlocal slowest
            prepare(value)
            faulthandler.dump_traceback_later(HANGS, exit=True)
            began, worked, trouble, outcome = time.monotonic(), time.process_time(), [], "accepted"
            try:
                with self.watch if watched else contextlib.nullcontext():
                    call(value)
            except OURS as error:
                outcome = type(error).__name__
            except Exception as error:
                trouble.append(f"{type(error).__name__}: {str(error)[:200]}")
                outcome = "foreign error"
            took = time.monotonic() - began
            faulthandler.cancel_dump_traceback_later()
            trouble += self.watch.seen if watched else []
            if outcome == "accepted" and not may_be_taken:
                trouble.append("it was taken")
            if time.process_time() - worked > MUST_BE_QUICK or took > WAITS:
                trouble.append(f"{took:.1f} seconds")
            if not unchanged():
                trouble.append("something was changed that must stay")
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
