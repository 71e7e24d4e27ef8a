"""Deep embedded clustering, DEC (Xie, Girshick & Farhadi 2016, "Unsupervised Deep Embedding for Clustering Analysis",
arXiv:1511.06335).

    q_ij = (1 + ||z_i - m_j||^2)^-1 / sum_k (1 + ||z_i - m_k||^2)^-1            (equation 1, with alpha = 1)
    loss = KL(P || Q) = E_i sum_j p_ij log(p_ij / q_ij)                          (equation 2)
    p_ij = (q_ij^2 / f_j) / sum_k (q_ik^2 / f_k),   f_j = sum_i q_ij             (equation 3)
An autoencoder is trained; the centres m_j begin at the best of 20 runs of k-means on its codes; then encoder and
centres follow P, a sharper Q. P is made of all data at once and held for `refresh` iterations, which are a stage each.
The cluster of x is `model.judge(x).argmax(1)`. k-means needs the extra `eval` (scikit-learn).

Deviations: the autoencoder is trained as a whole, not in denoising layers; a fixed number of iterations, where the
paper stops once 0.1 % of the examples change their cluster; Adam, begun anew with every P. The decoder stays as it was
pre-trained, and the codes move away from it.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.data import Batch, Source
from gencore.data.source import epoch_order
from gencore.distributed import from_first_process
from gencore.latent import encode_all, k_means
from gencore_ae.parts.networks import DenseAutoencoder, DenseAutoencoderConfig
from gencore_ae.parts.reconstruction import Reconstruction, cosine, one_phase

SYSTEM = SystemSpec(
    name="deep-embedded-clustering",
    summary="Codes and cluster centres that follow their own surest assignments (DEC)",
    paper=Paper(
        title="Unsupervised Deep Embedding for Clustering Analysis",
        authors="Xie, Girshick & Farhadi",
        year=2016,
        arxiv="1511.06335",
    ),
    model="ClusteringAutoencoder",
    recipe="deep_embedded_clustering",
    roles=("encoder", "generator", "critic"),
    traits=("reconstruct",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"data_shape": (1, 8, 8), "code_dim": 4, "batch_size": 8, "hidden": (16,), "num_clusters": 3, "refresh": 2},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClusteringAutoencoderConfig(DenseAutoencoderConfig):
    """The autoencoder's, and the number of clusters."""

    num_clusters: int = 10

    def __post_init__(self) -> None:
        DenseAutoencoderConfig.__post_init__(self)
        check(self.num_clusters >= 2, "num_clusters", self.num_clusters, "at least 2")


class ClusteringAutoencoder(DenseAutoencoder):
    """Encoder, decoder, and the clusters' centres (num_clusters, code_dim).

    `anchor`: encoder and centres as they were when P was made, so that a resume makes the same P; `begun`: whether the
    centres are at k-means' yet.
    """

    config_class = ClusteringAutoencoderConfig
    config: ClusteringAutoencoderConfig
    anchor: Tensor
    begun: Tensor

    def __init__(self, config: ClusteringAutoencoderConfig) -> None:
        super().__init__(config)
        self.centres = nn.Parameter(torch.randn(config.num_clusters, config.code_dim))
        self.register_buffer("anchor", parameters_to_vector(self.embedding).detach().clone())
        self.register_buffer("begun", torch.zeros((), dtype=torch.int64))

    @property
    def embedding(self) -> list[nn.Parameter]:
        """What clustering trains."""
        return [*self.encoder.parameters(), self.centres]

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> log q (N, num_clusters)."""
        return log_assignment(self.encode(x), self.centres)


def log_assignment(z: Tensor, centres: Tensor) -> Tensor:
    """log q (N, K) of codes z (N, D) and centres (K, D): equation 1."""
    return (z[:, None] - centres).square().sum(2).log1p().neg().log_softmax(1)


def sharpened(q: Tensor) -> Tensor:
    """P (N, K) of the assignments q (N, K) of all data: equation 3. Rows sum to one."""
    weight = q.square() / q.sum(0)
    return weight / weight.sum(1, keepdim=True)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WithTargets:
    """A source whose batches have one key more: target (N, K), the rows of P."""

    source: Source
    target: Tensor
    keys: ClassVar[tuple[str, ...]] = ("target",)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def num_classes(self) -> int | None:
        return self.source.num_classes

    @property
    def name(self) -> str:
        return self.source.name

    def __len__(self) -> int:
        return len(self.source)

    def order(self, seed: int, epoch: int) -> Tensor:
        return epoch_order(self.source, seed, epoch)

    def fetch(self, indices: Tensor) -> Batch:
        return {**self.source.fetch(indices), "target": self.target[indices]}


@torch.no_grad()
def drop_anchor(model: ClusteringAutoencoder) -> None:
    """A stage begins: P will be that of the model as it stands."""
    model.anchor.copy_(parameters_to_vector(model.embedding))


@torch.no_grad()
def with_targets(source: Source, model: ClusteringAutoencoder) -> Source:
    """P of all data at the anchor; the first time, the centres go to k-means' before. Raises what `k_means` raises."""
    then = copy.deepcopy(model)
    vector_to_parameters(then.anchor, then.embedding)
    z = encode_all(then, source).z
    if not model.begun:
        found = k_means(z, len(model.centres), restarts=20)[1].to(model.centres)
        for centres in (model.centres, then.centres):
            centres.copy_(from_first_process(found))
        model.anchor.copy_(parameters_to_vector(then.embedding))
        model.begun.fill_(1)
    return WithTargets(source=source, target=sharpened(log_assignment(z, then.centres.cpu()).exp()))


class Clustering(Objective):
    """Phase "clustering": equation 2, in nats an example.

    Logs `confidence`: mean of the largest probability of a cluster; higher is better, if the clusters are the right
    ones.
    """

    def clustering(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"] and its rows of P, batch["target"]."""
        log_q = model.judge(batch["x"])
        sure = log_q.detach().exp().amax(1).mean()
        return Loss(F.kl_div(log_q, batch["target"], reduction="batchmean"), {"confidence": sure})


def deep_embedded_clustering(
    *,
    config: ClusteringAutoencoderConfig = ClusteringAutoencoderConfig(
        data_shape=(1, 8, 8), code_dim=10, hidden=(256, 128)
    ),
    steps: int = 2000,
    clustering_steps: int | None = None,
    batch_size: int = 256,
    refresh: int = 140,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`steps` of the autoencoder, then `clustering_steps` (as many if None), with a new P every `refresh`."""
    check(refresh >= 1, "refresh", refresh, "at least 1 iteration")
    rounds = steps if clustering_steps is None else clustering_steps
    check(rounds >= 0, "clustering_steps", rounds, "0 or more")
    optimizer = Adam(learning_rate=learning_rate)
    phase = Phase(name="clustering", parts=("encoder", "centres"), optimizer=optimizer)
    clustering = tuple(
        Stage(
            name="clustering",
            objective=Clustering(),
            phases=(phase,),
            steps=min(refresh, rounds - start),
            data=with_targets,
            begin=drop_anchor,
            frozen=("decoder",),
        )
        for start in range(0, max(rounds, 1), refresh)
    )
    return Recipe(
        name="deep-embedded-clustering",
        model=ClusteringAutoencoder,
        config=config,
        stages=(*one_phase(Reconstruction(), optimizer, steps=steps, schedule=cosine(steps)), *clustering),
        batch_size=batch_size,
    )
