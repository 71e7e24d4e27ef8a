from __future__ import annotations

import itertools
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gencore.conditions import ClassLabel, Condition, Tokens
from gencore.data import Batches, InMemory, check_batch
from gencore.data.batches import AHEAD, WORKERS
from gencore.data.source import Batch, conditions_of
from gencore.errors import GencoreError, NonFiniteError


def numbered(length: int) -> InMemory:
    return InMemory(x=torch.arange(length, dtype=torch.float32)[:, None], name="numbered")


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 60),
    size=st.integers(1, 9),
    world=st.integers(1, 4),
    seed=st.integers(0, 2**64 - 1),
    whole=st.booleans(),
)
def test_ranks_partition_the_batch_of_one_process(length: int, size: int, world: int, seed: int, whole: bool) -> None:
    source = numbered(length)
    try:
        ranks = [Batches(source, size, seed=seed, rank=r, world_size=world, drop_last=whole) for r in range(world)]
    except GencoreError:
        assert length < size * world if whole else 0 < length % (size * world) < world
        return
    single = Batches(source, size * world, seed=seed, drop_last=whole)
    assert single.batches_per_epoch == ranks[0].batches_per_epoch
    for epoch in range(2):
        seen = []
        for number in range(epoch * single.batches_per_epoch, (epoch + 1) * single.batches_per_epoch):
            parts = [batches[number]["index"] for batches in ranks]
            assert torch.equal(torch.cat(parts), single[number]["index"])
            assert max(map(len, parts)) - min(map(len, parts)) <= (0 if whole else 1)
            seen += torch.cat(parts).tolist()
        assert len(set(seen)) == len(seen) == (length // (size * world) * size * world if whole else length)


def test_a_batch_is_a_function_of_its_number() -> None:
    forward, backward = Batches(numbered(20), 3, seed=5), Batches(numbered(20), 3, seed=5)
    first = [forward[k]["x"] for k in range(25)]
    assert all(torch.equal(backward[k]["x"], first[k]) for k in reversed(range(25)))


def test_the_examples_of_an_epoch_do_not_depend_on_the_batch_size() -> None:
    """With sizes that divide the length, an epoch is the same sequence however it is cut."""
    orders = [
        torch.cat([Batches(numbered(24), size, seed=1)[k]["index"] for k in range(48 // size)])
        for size in (1, 4, 8, 24)
    ]
    assert all(torch.equal(order, orders[0]) for order in orders)


def test_epochs_and_seeds_differ() -> None:
    orders = [
        tuple(Batches(numbered(50), 50, seed=seed)[epoch]["index"].tolist()) for seed in (0, 1) for epoch in (0, 1)
    ]
    assert len(set(orders)) == 4
    assert tuple(range(50)) not in orders


def test_shuffling_does_not_follow_the_data_of_a_table_with_the_same_seed() -> None:
    from gencore.data import gaussian

    x = Batches(gaussian(num_examples=1000, seed=0), 1000, seed=0)[0]["x"][:, 0]
    time = torch.arange(1000.0)
    assert abs(torch.corrcoef(torch.stack([x, time]))[0, 1]) < 0.15


class Slow:
    """A source that asks to be read ahead and notes which threads came."""

    shape, num_classes, name, read_ahead = (1,), None, "slow", True

    def __init__(self, broken: int | None = None) -> None:
        self.threads: set[str] = set()
        self.fetched = 0
        self.broken = broken
        self.permits = threading.Semaphore(1000)

    def __len__(self) -> int:
        return 30

    def fetch(self, indices: Tensor) -> Batch:
        self.threads.add(threading.current_thread().name)
        self.fetched += 1
        assert self.permits.acquire(timeout=5)
        if self.broken is not None and self.broken in indices:
            raise GencoreError(f"example {self.broken} is gone")
        return {"x": indices[:, None].float(), "index": indices}


@pytest.mark.parametrize("start", [0, 4, 17])
@pytest.mark.parametrize("source", [Slow(), numbered(30)])
def test_prefetch_yields_the_same_batches(source: Slow | InMemory, start: int) -> None:
    batches = Batches(source, 4, seed=2)
    ahead = batches.prefetch(start)
    for number, batch in zip(range(start, start + 20), ahead, strict=False):
        assert torch.equal(batch["x"], batches[number]["x"])
    ahead.close()


def test_only_sources_that_ask_for_it_are_read_in_threads() -> None:
    slow = Slow()
    ahead = Batches(slow, 4, seed=0).prefetch()
    next(ahead)
    ahead.close()
    assert threading.main_thread().name not in slow.threads
    slow.read_ahead = False
    slow.threads.clear()
    next(Batches(slow, 4, seed=0).prefetch())
    assert slow.threads == {threading.main_thread().name}


def test_a_closed_prefetch_ends_its_threads_and_reads_no_further() -> None:
    slow = Slow()
    slow.permits = threading.Semaphore(1)
    ahead = Batches(slow, 4, seed=0).prefetch()
    next(ahead)
    ahead.close()
    slow.permits.release(100)
    for thread in threading.enumerate():
        if thread.name.startswith("gencore-data"):
            thread.join(5)
            assert not thread.is_alive()
    assert slow.fetched <= 1 + WORKERS < AHEAD


def test_an_error_in_a_thread_arrives_at_its_batch() -> None:
    batches = Batches(Slow(broken=7), 5, seed=3)
    position = next(k for k in range(6) if 7 in batches.indices(k))
    ahead = batches.prefetch()
    assert len(list(itertools.islice(ahead, position))) == position
    with pytest.raises(GencoreError, match="example 7 is gone"):
        next(ahead)


def test_a_source_smaller_than_a_batch_is_refused_with_the_fix() -> None:
    with pytest.raises(GencoreError, match=r"10 examples, fewer than one batch of 6 on each of 2 .* up to 5"):
        Batches(numbered(10), 6, seed=0, world_size=2)
    assert len(Batches(numbered(10), 5, seed=0, world_size=2)[0]["x"]) == 5
    assert len(Batches(numbered(10), 64, seed=0, drop_last=False)[0]["x"]) == 10


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"rank": 1}, {"rank": -1}, {"world_size": 0}, {"seed": -1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(GencoreError, match=next(iter(wrong))):
        Batches(numbered(10), **{"batch_size": 2, "seed": 0} | wrong)  # type: ignore[arg-type]
    with pytest.raises(GencoreError, match="batch number is -1"):
        Batches(numbered(10), 2, seed=0)[-1]


def good_batch() -> Batch:
    return {"x": torch.zeros(4, 1, 2, 2), "index": torch.tensor([10, 11, 12, 13])}


def test_check_batch_accepts_a_good_batch() -> None:
    check_batch(good_batch(), (1, 2, 2))
    check_batch({"x": torch.full((3, 2), 1e30)}, (2,))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_check_batch_names_key_count_and_example_of_bad_numbers(value: float) -> None:
    batch = good_batch()
    batch["x"][2, 0, 1] = value
    with pytest.raises(NonFiniteError, match=r"'x' has 2 values .* in 1 of 4 examples; the first is example 12"):
        check_batch(batch, (1, 2, 2))
    batch = good_batch() | {"x_b": torch.tensor([[0.0], [value], [0.0], [0.0]]), "index_b": torch.tensor([5, 6, 7, 8])}
    with pytest.raises(NonFiniteError, match=r"'x_b' has 1 values .* first is example 6"):
        check_batch(batch, (1, 2, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(4, 3, 2, 2)}, r"\(4, 3, 2, 2\).*expected \(N, 1, 2, 2\)"),
        ({"x": torch.zeros(4, 1, 2, 2).double()}, "float64"),
        ({"x": torch.zeros(0, 1, 2, 2)}, r"\(0, 1, 2, 2\)"),
        ({"x": torch.full((4, 1, 2, 2), 1.01)}, "from 1.01 to 1.01"),
        ({"x_b": torch.full((4, 1, 2, 2), 255.0)}, "'x_b' holds images with values from 255"),
        ({"label": torch.zeros(3)}, "'label' is .*expected 4 rows"),
        ({"label": torch.tensor(1)}, "expected 4 rows"),
    ],
)
def test_check_batch_refuses(change: Batch, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        check_batch(good_batch() | change, (1, 2, 2))
    with pytest.raises(GencoreError, match="no key 'x'"):
        check_batch({"images": torch.zeros(1)}, (1,))


class Declared:
    """A source of two pictures that hands over what it is told to, and declares `conditions` and `keys`."""

    shape, num_classes, name = (1, 2, 2), None, "declared"

    def __init__(self, conditions: tuple[Condition, ...] = (), keys: tuple[str, ...] = ()) -> None:
        self.conditions, self.keys = conditions, keys

    def __len__(self) -> int:
        return 4

    def fetch(self, indices: Tensor) -> Batch:
        return {}


WORDS = Tokens(length=2, words=("red", "blue"))


@pytest.mark.parametrize("key", ["label", "label_b", "x_b", "index_unlabelled", "x_input"])
def test_streams_are_declared_by_their_names(key: str) -> None:
    check_batch(good_batch() | {key: torch.zeros(4, 1, 2, 2) if key[0] == "x" else torch.zeros(4).long()}, Declared())


@pytest.mark.parametrize("key", ["labels", "y", "mask", "tokens", "X_b", "xb"])
def test_a_key_that_nobody_declared_is_refused_by_name(key: str) -> None:
    batch = good_batch() | {key: torch.ones(4, 2).long()}
    with pytest.raises(GencoreError, match=f"batch of declared has the key '{key}', which nobody declared"):
        check_batch(batch, Declared())
    check_batch(batch, Declared(keys=(key,)))


def test_what_conditions_declare_must_be_there_and_fit() -> None:
    good = good_batch() | {"tokens": torch.tensor([[1, 2]] * 4)}
    check_batch(good, Declared((WORDS,)))
    check_batch(good | {"tokens_wrong": good["tokens"]}, Declared((WORDS,)))
    with pytest.raises(GencoreError, match="has no 'tokens'"):
        check_batch(good_batch(), Declared((WORDS,)))
    with pytest.raises(GencoreError, match="tokens outside 0"):
        check_batch(good | {"tokens": torch.tensor([[1, 3]] * 4)}, Declared((WORDS,)))
    with pytest.raises(GencoreError, match="batch of declared: .* classes as integers from 0 to 1"):
        check_batch(good_batch() | {"label": torch.tensor([0, 1, 2, 0])}, Declared((ClassLabel(count=2),)))


def test_conditions_of_a_source() -> None:
    assert conditions_of(numbered(3)) == ()
    labelled = InMemory(x=torch.zeros(2, 1), label=torch.tensor([0, 1]), num_classes=2, class_names=("cat", "dog"))
    assert conditions_of(labelled) == (ClassLabel(count=2, names=("cat", "dog")),)
    assert conditions_of(Declared((WORDS,))) == (WORDS,)
