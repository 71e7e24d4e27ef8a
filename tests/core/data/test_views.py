from __future__ import annotations

from typing import Any

import pytest
import torch

from gencore.conditions import ClassLabel, Image, Tokens
from gencore.data import (
    Batches,
    InMemory,
    Source,
    augmented,
    check_batch,
    conditions_of,
    digits,
    inverted,
    labelled_and_unlabelled,
    paired,
    resized,
    ring,
    subset,
    unpaired,
    weighted,
)
from gencore.data.source import epoch_order
from gencore.data.views import unlabelled
from gencore.errors import GencoreError


def numbered(length: int, start: int = 0, name: str = "numbered") -> InMemory:
    x = torch.arange(start, start + length)
    return InMemory(x=x[:, None].float(), label=x % 3, num_classes=3, name=name)


def test_resized() -> None:
    view = resized(digits(), 16)
    batch = Batches(view, 8, seed=1)[0]
    check_batch(batch, view.shape)
    assert (view.shape, len(view), view.num_classes) == ((1, 16, 16), 1400, 10)
    assert torch.equal(batch["x"], digits(image_size=16).fetch(batch["index"])["x"])
    with pytest.raises(GencoreError, match="expected images"):
        resized(ring(), 4)
    with pytest.raises(GencoreError, match="resize to 0"):
        resized(digits(), 0)


def test_resized_keeps_a_view_s_order_and_resizes_both_streams() -> None:
    pair = unpaired(digits(), digits("test"))
    view = resized(pair, 4)
    small, large = Batches(view, 9, seed=2)[3], Batches(pair, 9, seed=2)[3]
    assert torch.equal(small["index_b"], large["index_b"])
    assert small["x"].shape == small["x_b"].shape == (9, 1, 4, 4)


def test_subset() -> None:
    view = subset(numbered(10), torch.tensor([7, 2, 2]))
    batch = view.fetch(torch.tensor([0, 2]))
    assert len(view) == 3
    assert batch["x"].flatten().tolist() == [7, 2]
    assert batch["index"].tolist() == [7, 2]
    assert batch["label"].tolist() == [1, 2]
    with pytest.raises(GencoreError, match="from 0 to 3; the source has 3"):
        view.fetch(torch.tensor([0, 3]))
    with pytest.raises(GencoreError, match="from 0 to 10"):
        subset(numbered(10), torch.tensor([0, 10]))


@pytest.mark.parametrize("weights", [[0.0, 1.0, 2.0, 5.0, 0.0], [1.0, 0.0, 2.0, 0.0, 5.0]])
def test_weighted_draws_in_proportion(weights: list[float]) -> None:
    weights = torch.tensor(weights)
    source = numbered(5)
    view = weighted(source, weights)
    drawn = torch.cat([epoch_order(view, 3, epoch) for epoch in range(4000)])
    counts = torch.bincount(drawn, minlength=5).double()
    expected = weights.double() / 8
    deviation = (expected * (1 - expected) * 20_000).sqrt()
    assert (counts[weights == 0] == 0).all()
    assert ((counts - 20_000 * expected).abs() <= 5 * deviation).all()
    assert torch.equal(epoch_order(view, 3, 7), epoch_order(view, 3, 7))
    assert not torch.equal(epoch_order(weighted(numbered(99), torch.ones(99)), 3, 7), epoch_order(numbered(99), 3, 7))


def test_weights_apply_to_batches_on_any_number_of_ranks() -> None:
    view = weighted(numbered(12), torch.arange(12.0))
    single = Batches(view, 6, seed=4)
    ranks = [Batches(view, 3, seed=4, rank=r, world_size=2) for r in range(2)]
    for k in range(5):
        assert torch.equal(torch.cat([r[k]["x"] for r in ranks]), single[k]["x"])
        assert 0 not in single[k]["index"]


@pytest.mark.parametrize(
    "weights",
    [
        torch.ones(4),
        torch.zeros(5),
        -torch.ones(5),
        torch.tensor([-1.0, 2.0, 2.0, 2.0, 2.0]),
        torch.full((5,), torch.nan),
        torch.full((5,), torch.inf),
        torch.ones(5, 1),
    ],
)
def test_weights_that_are_none(weights: torch.Tensor) -> None:
    with pytest.raises(GencoreError, match=r"the weights have shape .* expected \(5,\), finite"):
        weighted(numbered(5), weights)


@pytest.mark.parametrize(("long", "short"), [(10, 3), (3, 10), (6, 6), (1, 5)])
def test_unpaired_visits_both_sides_evenly(long: int, short: int) -> None:
    a, b = numbered(long), numbered(short, start=100)
    view = unpaired(a, b)
    assert len(view) == max(long, short)
    rows = torch.cat([epoch_order(view, 1, epoch) for epoch in range(30)])
    for side, length in ((0, long), (1, short)):
        whole = len(rows) // length * length
        for visit in rows[:whole, side].split(length):
            assert sorted(visit.tolist()) == list(range(length))
    batch = view.fetch(rows[:7])
    assert set(batch) == {"x", "label", "index", "x_b", "label_b", "index_b"}
    assert torch.equal(batch["x"][:, 0], rows[:7, 0].float())
    assert torch.equal(batch["x_b"][:, 0], rows[:7, 1] + 100.0)


def test_unpaired_sources_of_equal_length_are_not_paired() -> None:
    rows = epoch_order(unpaired(numbered(500), numbered(500)), 0, 0)
    assert (rows[:, 0] == rows[:, 1]).sum() < 15
    again = epoch_order(unpaired(numbered(500), numbered(500)), 0, 1)
    partner = dict(rows.tolist())
    assert sum(partner[i] == j for i, j in again.tolist()) < 15


def test_unpaired_fetches_plain_positions_too() -> None:
    batch = unpaired(numbered(5), numbered(3, start=100), suffix="_target").fetch(torch.arange(5))
    assert batch["x"].flatten().tolist() == [0, 1, 2, 3, 4]
    assert batch["x_target"].flatten().tolist() == [100, 101, 102, 100, 101]


def test_unpaired_batches_on_ranks_and_weights_inside() -> None:
    view = unpaired(numbered(9), weighted(numbered(4), torch.tensor([0.0, 1.0, 0.0, 0.0])))
    single, ranks = Batches(view, 4, seed=0), [Batches(view, 2, seed=0, rank=r, world_size=2) for r in range(2)]
    for k in range(4):
        assert torch.equal(torch.cat([r[k]["x"] for r in ranks]), single[k]["x"])
        assert single[k]["index_b"].tolist() == [1] * 4


def test_labelled_and_unlabelled() -> None:
    source, labelled = numbered(20), torch.tensor([3, 8, 12])
    view = labelled_and_unlabelled(source, labelled)
    assert (len(view), view.num_classes, view.shape) == (20, 3, (1,))
    batches = Batches(view, 5, seed=6)
    epoch = [batches[k] for k in range(4)]
    assert all(set(batch) == {"x", "label", "index", "x_unlabelled", "index_unlabelled"} for batch in epoch)
    assert sorted(torch.cat([b["index_unlabelled"] for b in epoch]).tolist()) == list(range(20))
    assert set(torch.cat([b["index"] for b in epoch]).tolist()) == {3, 8, 12}
    assert all(torch.equal(b["label"], b["index"] % 3) for b in epoch)
    with pytest.raises(GencoreError, match="no labels"):
        labelled_and_unlabelled(InMemory(x=torch.zeros(3, 1)), torch.tensor([0]))


def test_views_that_cannot_be_combined() -> None:
    source = numbered(6)
    for own in (weighted(source, torch.ones(6)), unpaired(source, source)):
        with pytest.raises(GencoreError, match="order of its own"):
            subset(own, torch.tensor([0]))
        with pytest.raises(GencoreError, match="order of its own"):
            weighted(own, torch.ones(6))
    with pytest.raises(GencoreError, match="two streams already"):
        unpaired(unpaired(source, source), source)
    with pytest.raises(GencoreError, match="suffix is empty"):
        unpaired(source, source, suffix="")
    with pytest.raises(GencoreError, match="order of its own"):
        subset(resized(weighted(digits(), torch.ones(1400)), 4), torch.tensor([0]))
    assert len(subset(resized(digits(), 4), torch.tensor([5]))) == 1


def test_views_are_sources_and_read_ahead_only_where_all_allow_it() -> None:
    class Files:
        shape, num_classes, name, read_ahead = (1,), None, "files", True

        def __len__(self) -> int:
            return 4

        def fetch(self, indices: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"x": indices[:, None].float(), "index": indices}

    files, memory = Files(), numbered(4)
    views = [
        subset(files, torch.arange(2)),
        weighted(files, torch.ones(4)),
        unpaired(files, memory),
        unpaired(files, files),
    ]
    assert all(isinstance(view, Source) for view in views)
    assert [view.read_ahead for view in views] == [True, True, False, True]  # type: ignore[attr-defined]
    assert all(view.name for view in views)


CLASSES = ClassLabel(count=3, names=("a", "b", "c"))


def described(side: int = 8, input_side: int = 8) -> InMemory:
    """Six pictures with an input, words, a class each by name, and a further stream."""
    return InMemory(
        x=torch.linspace(-1, 1, 6 * side * side).view(6, 1, side, side),
        label=torch.arange(6) % 3,
        num_classes=3,
        class_names=("a", "b", "c"),
        further={
            "x_input": torch.zeros(6, 3, input_side, input_side),
            "x_b": torch.zeros(6, 1, side, side),
            "tokens": torch.ones(6, 2).long(),
        },
        conditions=(Image(shape=(3, input_side, input_side)), WORDS, CLASSES),
    )


WORDS = Tokens(length=2, words=("word",))


@pytest.mark.parametrize(
    "view",
    [
        lambda s: subset(s, torch.tensor([1, 0])),
        lambda s: weighted(s, torch.ones(6)),
        inverted,
        lambda s: resized(s, 4),
        augmented,
        lambda s: unpaired(s, numbered(3)),
        lambda s: unpaired(s, described()),
    ],
)
def test_views_pass_on_what_their_source_declares(view: Any) -> None:
    seen = view(described())
    batch = Batches(seen, 2, seed=0)[0]
    check_batch(batch, seen)
    assert seen.class_names == ("a", "b", "c")
    assert [condition.key for condition in conditions_of(seen)] == ["x_input", "tokens", "label"]
    assert {"x", "x_input", "x_b", "tokens", "label", "index"} <= set(batch)


def test_the_second_stream_s_conditions_are_declared_with_its_suffix() -> None:
    pair = unpaired(numbered(3), described(), suffix="_c")
    batch = pair.fetch(torch.arange(2))
    check_batch(batch, pair)
    assert {"tokens_c", "x_input_c", "x_b_c"} <= set(batch)
    assert pair.keys == ("x_input_c", "tokens_c")


def test_resized_resizes_inputs_of_the_same_size_and_refuses_others() -> None:
    view = resized(described(), 4)
    assert conditions_of(view)[0] == Image(shape=(3, 4, 4))
    assert view.fetch(torch.arange(2))["x_input"].shape == (2, 3, 4, 4)
    with pytest.raises(GencoreError, match="resized needs one size for both"):
        resized(described(8, 4), 6)


def test_unlabelled_takes_away_the_classes_alone() -> None:
    view = unlabelled(described())
    assert (view.num_classes, conditions_of(view)) == (None, (Image(shape=(3, 8, 8)), WORDS))
    assert set(view.fetch(torch.arange(2))) == {"x", "x_input", "x_b", "tokens", "index"}


def test_paired() -> None:
    target, given = digits(), inverted(digits())
    view = paired(target, given)
    batch = Batches(view, 8, seed=0)[0]
    check_batch(batch, view)
    assert torch.equal(batch["x_input"], -batch["x"])
    assert conditions_of(view) == (Image(shape=(1, 8, 8)), ClassLabel(count=10))
    with pytest.raises(GencoreError, match="has 1400 examples and digits .test. 397"):
        paired(digits(), digits("test"))
    with pytest.raises(GencoreError, match="order of its own"):
        paired(digits(), weighted(digits(), torch.ones(1400)))
    with pytest.raises(GencoreError, match="expected images"):
        paired(digits(), ring(1400))


def test_two_streams_may_be_joined_with_a_third_of_another_name() -> None:
    three = unpaired(unpaired(numbered(4), numbered(3, 10)), numbered(2, 20), suffix="_c")
    batches = Batches(three, 4, seed=0)
    assert batches.indices(0).shape == (4, 3)
    batch = batches[0]
    check_batch(batch, three)
    assert set(batch["x_b"].flatten().tolist()) <= {10, 11, 12}
    assert set(batch["x_c"].flatten().tolist()) == {20, 21}


def test_inverted() -> None:
    """Light for dark in every stream of images, nothing else."""
    pair = unpaired(digits(), digits("test"))
    plain, view = Batches(pair, 9, seed=2)[3], Batches(inverted(pair), 9, seed=2)[3]
    assert torch.equal(view["x"], -plain["x"])
    assert torch.equal(view["x_b"], -plain["x_b"])
    assert torch.equal(view["label"], plain["label"])
    with pytest.raises(GencoreError, match="expected images"):
        inverted(ring())
