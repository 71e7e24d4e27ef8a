"""Losses on pairs and triplets: formulas written out, another library's figures, and memory."""

from __future__ import annotations

import itertools

import pytest
import torch

import gencore.nn.pairwise as pairwise
from gencore.errors import GencoreError


def codes(seed: int, count: int = 24, dim: int = 5, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, dim, dtype=torch.float64, generator=generator)
    return z, torch.randint(classes, (count,), generator=generator)


def by_hand(z: torch.Tensor, label: torch.Tensor, margin: float, squared: bool) -> torch.Tensor:
    alike, different = [], []
    for i, j in itertools.permutations(range(len(z)), 2):
        d = (z[i] - z[j]).square().sum().sqrt()
        short = (margin - d).clamp_min(0)
        if label[i] == label[j]:
            alike.append(d**2 / 2 if squared else d)
        else:
            different.append(short**2 / 2 if squared else short)
    return torch.stack(alike).mean() + torch.stack(different).mean()


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("block", [2**24, 100])
def test_contrastive_equals_a_double_loop(squared: bool, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Value and gradient, in one block and in several."""
    monkeypatch.setattr(pairwise, "BLOCK", block)
    z, label = codes(0)
    ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
    loss = pairwise.contrastive_loss(ours, label, margin=2.5, squared=squared)
    expected = by_hand(theirs, label, 2.5, squared)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)


def test_contrastive_slopes() -> None:
    """Unit length within the margin, none beyond it, none and no NaN at distance 0."""
    label = torch.tensor([0, 1])
    for gap, slope in ((0.4, 1.0), (1.5, 0.0), (0.0, 0.0)):
        z = torch.tensor([[0.0, 0.0], [gap, 0.0]], requires_grad=True)
        pairwise.contrastive_loss(z, label, margin=1.0, squared=False).backward()
        assert z.grad is not None
        assert z.grad[1].norm().item() == pytest.approx(slope)
    near = torch.zeros(2, 2, requires_grad=True)
    pairwise.contrastive_loss(near, torch.tensor([3, 3]), squared=False).backward()
    assert near.grad is not None
    assert near.grad.isfinite().all()


@pytest.mark.parametrize("seed", range(20))
def test_semi_hard_equals_a_triple_loop(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anchors without a farther negative are among them: their farthest negative is taken."""
    monkeypatch.setattr(pairwise, "BLOCK", 24 * 7)
    z, label = codes(seed)
    anchor, positive = pairwise.positive_pairs(label)
    negative = pairwise.semi_hard_negatives(z, label, anchor, positive)
    hard = pairwise.hard_negatives(z, label, anchor, positive)
    d = (z[:, None] - z[None]).square().sum(-1).sqrt()
    expected, pairs = [], []
    for a in range(len(z)):
        for p in range(len(z)):
            if a == p or label[a] != label[p]:
                continue
            pairs.append((a, p))
            best, farthest, nearest = None, None, None
            for n in range(len(z)):
                if label[n] == label[a]:
                    continue
                if d[a, n] > d[a, p] and (best is None or d[a, n] < d[a, best]):
                    best = n
                if farthest is None or d[a, n] > d[a, farthest]:
                    farthest = n
                if nearest is None or d[a, n] < d[a, nearest]:
                    nearest = n
            expected.append((farthest if best is None else best, nearest))
    assert list(zip(anchor.tolist(), positive.tolist(), strict=True)) == pairs
    assert list(zip(negative.tolist(), hard.tolist(), strict=True)) == expected
    drawn = pairwise.random_negatives(z, label, anchor, positive)
    assert (label[drawn] != label[anchor]).all()


def test_some_anchor_has_no_farther_negative() -> None:
    """The case for which the rule above has a second half."""
    z = torch.tensor([[0.0], [9.0], [1.0], [2.0]])
    label = torch.tensor([0, 0, 1, 1])
    pair = torch.tensor([0]), torch.tensor([1])
    assert pairwise.semi_hard_negatives(z, label, *pair).tolist() == [3]


def test_as_far_is_not_farther() -> None:
    """A negative at the positive's own distance is passed over."""
    z = torch.tensor([[0.0], [1.0], [-1.0], [3.0]])
    label = torch.tensor([0, 0, 1, 1])
    assert pairwise.semi_hard_negatives(z, label, torch.tensor([0]), torch.tensor([1])).tolist() == [3]


def test_losses_equal_another_library() -> None:
    """pytorch-metric-learning 2.9, to 1e-6."""
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.reducers import MeanReducer

    z, label = codes(1, count=40)
    plain = LpDistance(normalize_embeddings=False)
    theirs = losses.ContrastiveLoss(pos_margin=0, neg_margin=2.5, distance=plain, reducer=MeanReducer())(z, label)
    ours = pairwise.contrastive_loss(z, label, margin=2.5, squared=False)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    anchor, positive = pairwise.positive_pairs(label)
    negative = pairwise.semi_hard_negatives(z, label, anchor, positive)
    unit = torch.nn.functional.normalize(z)
    facenet = losses.TripletMarginLoss(margin=0.2, distance=LpDistance(power=2), reducer=MeanReducer())
    near, far = (pairwise.pair_distances(unit[anchor], unit[other]).square() for other in (positive, negative))
    ours = pairwise.triplet_loss(near, far, margin=0.2)
    assert ours.item() == pytest.approx(facenet(z, label, (anchor, positive, negative)).item(), abs=1e-6)


def test_semi_hard_triplets_are_those_of_another_library() -> None:
    """Ours is the nearest of each pair's semi-hard ones."""
    miners = pytest.importorskip("pytorch_metric_learning.miners")
    from pytorch_metric_learning.distances import LpDistance

    z, label = codes(2, count=40)
    unit = torch.nn.functional.normalize(z)
    miner = miners.TripletMarginMiner(margin=0.2, type_of_triplets="semihard", distance=LpDistance(power=2))
    nearest: dict[tuple[int, int], tuple[float, int]] = {}
    for a, p, n in zip(*(part.tolist() for part in miner(z, label)), strict=True):
        nearest[a, p] = min(nearest.get((a, p), (9.0, 0)), ((unit[a] - unit[n]).norm().item(), n))
    anchor, positive = pairwise.positive_pairs(label)
    ours = pairwise.semi_hard_negatives(unit, label, anchor, positive).tolist()
    of_pair = dict(zip(zip(anchor.tolist(), positive.tolist(), strict=True), ours, strict=True))
    assert nearest
    assert all(of_pair[pair] == n for pair, (_, n) in nearest.items())


def test_triplet_loss_by_hand() -> None:
    """[1 - 2 + 0.5]+ = 0, [1 - 1.2 + 0.5]+ = 0.3; none is 0."""
    near, far = torch.tensor([1.0, 1.0]), torch.tensor([2.0, 1.2])
    assert pairwise.triplet_loss(near, far, margin=0.5).item() == pytest.approx(0.15)
    assert pairwise.triplet_loss(near[:0], far[:0], margin=0.5).item() == 0


def test_no_square_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor of N x N numbers is made or kept for the backward pass."""
    count, largest = 600, 0
    monkeypatch.setattr(pairwise, "BLOCK", 10 * count)
    z, label = torch.randn(count, 3, requires_grad=True), torch.arange(count) // 2

    def note(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = pairwise.contrastive_loss(z, label)
    assert largest <= 10 * count
    assert loss.grad_fn is not None
    assert [tensor.numel() for tensor in loss.grad_fn.saved_tensors] == [3 * count]  # type: ignore[attr-defined]
    loss.backward()
    label = torch.arange(count) // 4
    anchor, positive = pairwise.positive_pairs(label)
    assert len(anchor) == 3 * count
    sizes: list[int] = []
    real = pairwise.distances
    monkeypatch.setattr(pairwise, "distances", lambda a, b: (sizes.append(len(a) * len(b)), real(a, b))[1])
    pairwise.semi_hard_negatives(z.detach(), label, anchor, positive)
    # once for all positives of an anchor, twice where its pairs fall into two blocks
    assert count * count <= sum(sizes) < 1.5 * count * count
    assert max(sizes) <= 10 * count


def test_half_precision_is_summed_in_single() -> None:
    """As a mixed-precision run calls it: codes in bfloat16, under autocast; the slope is theirs, and no cruder."""
    z, label = codes(3)
    half = z.bfloat16().requires_grad_()
    single = half.detach().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = pairwise.contrastive_loss(half, label, margin=2.5)
    expected = pairwise.contrastive_loss(single, label, margin=2.5)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(half.grad, single.grad.bfloat16())  # type: ignore[union-attr]


def test_no_second_derivative() -> None:
    """It is refused, not wrong."""
    z, label = codes(4)
    (slope,) = torch.autograd.grad(pairwise.contrastive_loss(z.requires_grad_(), label), z, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        slope.sum().backward()


def test_refusals() -> None:
    """One class, wrong shapes, no margin."""
    z = torch.zeros(3, 2)
    ones = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(GencoreError, match="one class"):
        pairwise.semi_hard_negatives(z, ones, *pairwise.positive_pairs(ones))
    with pytest.raises(GencoreError, match="expected \\(N, D\\)"):
        pairwise.contrastive_loss(z, torch.zeros(3))
    with pytest.raises(GencoreError, match="margin"):
        pairwise.contrastive_loss(z, ones, margin=0.0)
