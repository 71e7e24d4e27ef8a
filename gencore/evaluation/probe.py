"""What a representation knows, told by fresh judges that are no part of the model.

linear      softmax regression on standardised codes, L2 penalty, to its optimum (L-BFGS)
nonlinear   the same with a hidden layer: what a linear judge cannot read may still be there
k-NN        the most frequent class among the k nearest
few labels  the same probes on a few examples of every class

A figure alone says little: raw pixels, and the same network with random weights, belong beside it. `compare` puts them
there.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gencore.config import check
from gencore.data.by_class import balanced
from gencore.data.source import Source
from gencore.data.views import subset
from gencore.errors import GencoreError
from gencore.evaluation.beside import with_baselines
from gencore.evaluation.retrieval import nearest
from gencore.latent.codes import encode_all


def linear_probe(z: Tensor, label: Tensor, *, penalty: float = 1e-3, steps: int = 100) -> nn.Module:
    """A module, codes (N, D) -> logits (N, classes), fitted to codes z and label (N,); deterministic.

    Minimises CE + penalty / 2 ||W||^2, the codes standardised by z's own mean and standard deviation.
    """
    with torch.random.fork_rng():
        net = nn.Linear(z.shape[1], _classes(z, label))
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    return _fit(_standardised(z, net), z, label, penalty, steps)


def nonlinear_probe(
    z: Tensor, label: Tensor, *, hidden: int = 64, penalty: float = 1e-4, steps: int = 100, seed: int = 0
) -> nn.Module:
    """As `linear_probe`, through one hidden layer of tanh; its first weights are drawn from `seed`."""
    check(hidden >= 1, "hidden", hidden, "a positive width")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(z.shape[1], hidden), nn.Tanh(), nn.Linear(hidden, _classes(z, label)))
    return _fit(_standardised(z, net), z, label, penalty, steps)


@torch.no_grad()
def accuracy(probe: nn.Module, z: Tensor, label: Tensor) -> float:
    """The share of codes (N, D) whose largest logit is that of their label."""
    return (probe(z.float()).argmax(1) == label).float().mean().item()


def knn_accuracy(z: Tensor, label: Tensor, test_z: Tensor, test_label: Tensor, *, k: int = 5) -> float:
    """The share of test codes whose k nearest among z vote for their class; of equal votes the lower class wins."""
    found, _ = nearest(test_z, z, min(k, len(z)))
    votes = F.one_hot(label[found], int(label.max()) + 1).sum(1)
    return (votes.argmax(1) == test_label).float().mean().item()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """One row: whose codes, their dimension, and test accuracies in [0, 1]."""

    codes: str
    dim: int
    linear: float
    knn: float


def compare(
    model: Any, train: Source, test: Source, *, num_labels: int | None = None, k: int = 5, seed: int = 0
) -> tuple[Probed, ...]:
    """The model's codes, those of the same network untrained, and raw data, on the same labelled examples.

    `num_labels`: examples with a label, evenly of every class; all if None. `seed`: of the random network. Raises
    GencoreError for sources without labels.
    """
    if train.num_classes is None or test.num_classes is None:
        raise GencoreError(f"{train.name} and {test.name} must be labelled: a probe learns classes.")
    if num_labels is not None:
        train = subset(train, balanced(train, tuple(range(train.num_classes)), num_labels))
    rows = []
    for name, encoder in with_baselines(model, seed=seed):
        fitted, held_out = encode_all(encoder, train), encode_all(encoder, test)
        assert fitted.label is not None
        assert held_out.label is not None
        rows.append(
            Probed(
                codes=name,
                dim=fitted.z.shape[1],
                linear=accuracy(linear_probe(fitted.z, fitted.label), held_out.z, held_out.label),
                knn=knn_accuracy(fitted.z, fitted.label, held_out.z, held_out.label, k=k),
            )
        )
    return tuple(rows)


class _Standardise(nn.Module):
    mean: Tensor
    scale: Tensor

    def __init__(self, z: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", z.mean(0))
        self.register_buffer("scale", z.std(0, correction=0).clamp_min(1e-6))

    def forward(self, z: Tensor) -> Tensor:
        return (z - self.mean) / self.scale


def _standardised(z: Tensor, net: nn.Module) -> nn.Sequential:
    return nn.Sequential(_Standardise(z.detach().float()), net)


def _fit(probe: nn.Sequential, z: Tensor, label: Tensor, penalty: float, steps: int) -> nn.Module:
    check(penalty >= 0, "penalty", penalty, "0 or more")
    check(steps >= 1, "steps", steps, "at least 1")
    z = z.detach().float()
    parameters = list(probe.parameters())
    weights = [p for p in parameters if p.ndim > 1]
    optimizer = torch.optim.LBFGS(parameters, max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(probe(z), label) + penalty / 2 * sum(w.square().sum() for w in weights)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return probe.eval().requires_grad_(False)


def _classes(z: Tensor, label: Tensor) -> int:
    if z.ndim != 2 or label.shape != (len(z),) or label.is_floating_point() or not len(z):
        raise GencoreError(
            f"codes are {tuple(z.shape)}, labels {tuple(label.shape)} {label.dtype}; expected (N, D), (N,)."
        )
    return int(label.max()) + 1
