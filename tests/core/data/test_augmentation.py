from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gencore.conditions import Image
from gencore.data import Batches, InMemory, augmented, check_batch, degraded, digits, ring, subset, unpaired
from gencore.data.augmentation import FORMS
from gencore.data.source import conditions_of, epoch_order
from gencore.data.toys import degradations
from gencore.errors import GencoreError


def ramps(count: int = 12, side: int = 8) -> InMemory:
    """Pictures in which a pixel's value tells its place: 8 rows x 8 columns, different in every picture."""
    place = torch.arange(side * side, dtype=torch.float32).view(1, side, side) / (side * side) * 1.8 - 0.9
    x = place + torch.arange(count).view(-1, 1, 1, 1) * 1e-5
    return InMemory(x=x, label=torch.arange(count) % 3, num_classes=3)


def place(x: Tensor) -> tuple[int, int, bool]:
    """(top, left, mirrored) of a crop of a ramp."""
    number = (((x[0] + 0.9) / 1.8 * 64) + 1e-3).floor().long()
    mirrored = bool(number[0, 0] > number[0, 1])
    corner = int(number[0].min())
    return corner // 8, corner % 8, mirrored


def test_crops_and_mirrors_are_a_function_of_seed_epoch_and_index() -> None:
    source = ramps()
    view = augmented(source, crop=5)
    batches = Batches(view, 12, seed=3)
    check_batch(batches[0], view)
    assert view.shape == (1, 5, 5)

    def by_index(batch: dict[str, Tensor]) -> dict[int, tuple[int, int, bool]]:
        return {int(i): place(x) for i, x in zip(batch["index"], batch["x"], strict=True)}

    first, second = by_index(batches[0]), by_index(batches[1])
    halves = [Batches(view, 6, seed=3, rank=rank, world_size=2)[0] for rank in range(2)]
    assert by_index(halves[0]) | by_index(halves[1]) == first
    assert by_index(Batches(view, 12, seed=3)[0]) == first
    assert by_index(Batches(view, 12, seed=4)[0]) != first
    assert second != first
    for i, x in zip(batches[0]["index"], batches[0]["x"], strict=True):
        top, left, mirrored = first[int(i)]
        cut = source.x[i, :, top : top + 5, left : left + 5]
        assert torch.equal(x, cut.flip(-1) if mirrored else cut)
        assert batches[0]["label"].tolist() == (batches[0]["index"] % 3).tolist()


def test_every_place_is_as_likely() -> None:
    view = augmented(ramps(60), crop=5)
    seen = [place(x) for epoch in range(16) for x in Batches(view, 60, seed=0)[epoch]["x"]]
    counts = torch.zeros(4, 4)
    for top, left, _ in seen:
        counts[top, left] += 1
    expected = len(seen) / 16
    assert ((counts - expected).abs() < 5 * (expected * 15 / 16) ** 0.5).all()
    assert abs(sum(mirrored for *_, mirrored in seen) - len(seen) / 2) < 5 * len(seen) ** 0.5 / 2
    plain = augmented(ramps(60), crop=5, flip=False)
    assert not any(place(x)[2] for x in Batches(plain, 60, seed=0)[0]["x"])


def test_plain_positions_give_the_middle() -> None:
    source = ramps()
    view = augmented(source, crop=4)
    assert torch.equal(view.fetch(torch.arange(3))["x"], source.x[:3, :, 2:6, 2:6])
    assert torch.equal(augmented(source).fetch(torch.arange(3))["x"], source.x[:3])


def test_all_streams_of_one_size_are_cut_alike() -> None:
    twin = InMemory(x=ramps().x, further={"x_input": ramps().x}, conditions=(Image(shape=(1, 8, 8)),))
    batch = Batches(augmented(twin, crop=5), 6, seed=0)[0]
    assert torch.equal(batch["x"], batch["x_input"])


def test_augmented_sources_can_stand_side_by_side() -> None:
    pair = unpaired(augmented(ramps(6), crop=5), augmented(ramps(4), crop=5))
    batch = Batches(pair, 6, seed=1)[0]
    check_batch(batch, pair)
    assert epoch_order(pair, 0, 0).shape == (6, 4)
    assert pair.fetch(torch.arange(2))["x_b"].shape == (2, 1, 5, 5)


def test_degraded() -> None:
    source = digits()
    view = degraded(source, "downsample:2", crop=6, flip=True)
    batch = Batches(view, 32, seed=0)[0]
    check_batch(batch, view)
    assert conditions_of(view)[0] == Image(shape=(1, 3, 3))
    assert torch.equal(batch["x_input"], degradations.downsample(batch["x"], 2).clamp(-1, 1))


@pytest.mark.parametrize("kind", ["rain:0.05", "noise:0.3", "random-hole:3", "strokes:2"])
def test_what_is_random_depends_on_the_epoch_and_the_picture_alone(kind: str) -> None:
    view = degraded(ramps(), kind)
    batches = Batches(view, 12, seed=3)
    whole, again = batches[0], Batches(view, 4, seed=3)
    parts = [again[k] for k in range(3)]
    assert torch.equal(torch.cat([part["x_input"] for part in parts]), whole["x_input"])
    other = batches[1]
    order, other_order = whole["index"].argsort(), other["index"].argsort()
    assert torch.equal(whole["x"][order], other["x"][other_order])
    assert not torch.equal(whole["x_input"][order], other["x_input"][other_order])
    assert torch.equal(view.fetch(torch.arange(3))["x_input"], view.fetch(torch.arange(3))["x_input"])


@pytest.mark.parametrize("kind", ["blur:1", "jpeg:30", "hole:2", "grey"])
def test_every_word_is_understood(kind: str) -> None:
    source = InMemory(x=torch.linspace(-1, 1, 768).view(4, 3, 8, 8))
    batch = degraded(source, kind).fetch(torch.arange(4))
    assert batch["x_input"].shape == (4, 1 if kind == "grey" else 3, 8, 8)
    assert not torch.equal(batch["x_input"], batch["x"][:, :1] if kind == "grey" else batch["x"])
    assert len(FORMS) == 9


def test_what_is_refused() -> None:
    for kind in ("blurr:1", "blur", "grey:1", "blur:x", "jpeg:1.5"):
        with pytest.raises(GencoreError, match=f"degradation '{kind}"):
            degraded(digits(), kind)
    with pytest.raises(GencoreError, match="images of side 9"):
        augmented(digits(), crop=9)
    with pytest.raises(GencoreError, match="expected images"):
        augmented(ring())
    with pytest.raises(GencoreError, match="x_input already"):
        degraded(degraded(digits(), "blur:1"), "blur:1")
    with pytest.raises(GencoreError, match="order of its own"):
        subset(augmented(digits()), torch.tensor([0]))
    with pytest.raises(GencoreError, match=r"indices of shape \(2, 5\)"):
        augmented(digits()).fetch(torch.zeros(2, 5).long())
