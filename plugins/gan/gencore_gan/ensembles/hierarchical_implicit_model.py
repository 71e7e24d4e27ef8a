"""Hierarchical implicit models and likelihood-free variational inference (Tran, Ranganath & Blei 2017, "Hierarchical
Implicit Models and Likelihood-Free Variational Inference", arXiv:1702.08896). An early version was called "Deep and
Hierarchical Implicit Models"; its Bayesian GAN is not that of Saatchi & Wilson (`bayesian-gan`).

A simulator with a global and local unknowns, here the smallest of them, each number of x by itself:
    beta ~ N(0, 1),   z_n ~ N(beta, 1),   x_n = z_n + noise_std e_n,  e_n ~ N(0, 1),   n = 1 ... N
Only draws of it are used, never the densities of z and x. q(beta) is a diagonal Gaussian, q(z_n | x_n, beta) a network
fed with noise, whose density nobody knows.
    ratio      r(x, z, beta) maximises E_p(x, z | beta) log s(r) + E_q(x, z | beta) log(1 - s(r)),  beta ~ q   (eq. 5)
               so that r = log p(x_n, z_n | beta) - log q(x_n, z_n | beta), q(x) the data's own distribution
    inference  minimises KL(q(beta) || p(beta)) - sum_n E r(x_n, z_n, beta)                           (equation 4)
with s the sigmoid. Equation 4 has -E log q(beta) / p(beta), of which the Gaussian KL is the exact value.

`generate` draws from the posterior predictive: beta ~ q(beta), then the simulator. As the simulator is Gaussian, the
exact posterior is known: beta | x ~ N(N mean(x) / (N + 1 + s^2), (1 + s^2) / (N + 1 + s^2)), s = noise_std.

Deviations: the paper's experiments have simulators of ecology and neural networks; the ratio sees x, z, beta and all
products of two of them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from gencore import Adam, Loss, Model, ModelConfig, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.losses import logistic_critic_loss
from gencore.config import check
from gencore.data.views import subset
from gencore.nn.dense import mlp
from gencore.nn.distributions import DiagonalGaussian
from gencore.noise import GlobalNoise, NoiseSource

SYSTEM = SystemSpec(
    name="hierarchical-implicit-model",
    summary="Posterior of a simulator's global and local unknowns, by an estimated ratio",
    paper=Paper(
        title="Hierarchical Implicit Models and Likelihood-Free Variational Inference",
        authors="Tran, Ranganath & Blei",
        year=2017,
        arxiv="1702.08896",
    ),
    model="HierarchicalImplicitModel",
    recipe="hierarchical_implicit_model",
    roles=("encoder", "generator", "sampler"),
    claims=("compiles",),
    tiny={"hidden": (8,), "num_draws": 4, "num_examples": 16, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HierarchicalImplicitConfig(ModelConfig):
    """`data_shape`: (numbers,). `noise_std`: of the simulator's x around z. `hidden`: widths of q(z | x, beta) and of
    the ratio."""

    data_shape: tuple[int, ...] = (1,)
    noise_std: float = 0.5
    hidden: tuple[int, ...] = (32, 32)

    def __post_init__(self) -> None:
        shape = self.data_shape
        check(len(shape) == 1 and shape[0] > 0, "data_shape", shape, "(numbers,)")
        check(self.noise_std > 0, "noise_std", self.noise_std, "a positive number")
        check(bool(self.hidden) and min(self.hidden) > 0, "hidden", self.hidden, "positive widths")


class GlobalPosterior(nn.Module):
    """q(beta), a diagonal Gaussian."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(size))
        self.log_std = nn.Parameter(torch.zeros(size))

    def forward(self, e: Tensor) -> Tensor:
        """e ~ N(0, 1), (N, numbers) -> beta (N, numbers)."""
        return self.mean + self.log_std.exp() * e

    def distribution(self) -> DiagonalGaussian:
        """With a batch of one."""
        return DiagonalGaussian(self.mean[None], 2 * self.log_std[None])


def products(x: Tensor, z: Tensor, beta: Tensor) -> Tensor:
    """x, z, beta (N, d) -> these, their squares and the products of two of them, (N, 9 d)."""
    return torch.cat([x, z, beta, x * x, z * z, beta * beta, x * z, x * beta, z * beta], 1)


class HierarchicalImplicitModel(Model):
    """Parts `posterior` (q(beta)), `local` (q(z | x, beta)) and `log_ratio`."""

    config_class = HierarchicalImplicitConfig
    config: HierarchicalImplicitConfig
    regions = ("local", "log_ratio")

    def __init__(self, config: HierarchicalImplicitConfig) -> None:
        super().__init__(config)
        size = config.data_shape[0]
        self.posterior = GlobalPosterior(size)
        self.local = mlp((3 * size, *config.hidden, size))
        self.log_ratio = mlp((9 * size, *config.hidden, 1))

    def simulate(self, beta: Tensor, noise: NoiseSource) -> tuple[Tensor, Tensor]:
        """beta (N, d) -> x and z (N, d), of the simulator."""
        e = noise.normal(2, *self.config.data_shape)
        return self._simulated(beta, e)

    def _simulated(self, beta: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        z = beta + e[:, 0]
        return z + self.config.noise_std * e[:, 1], z

    def infer(self, x: Tensor, beta: Tensor, noise: NoiseSource) -> Tensor:
        """z ~ q(z | x, beta), (N, d), for x and beta (N, d)."""
        return self.local(torch.cat([x, beta, noise.normal(*self.config.data_shape)], 1))

    def ratio(self, x: Tensor, z: Tensor, beta: Tensor) -> Tensor:
        """r(x, z, beta), (N,) nats."""
        return rearrange(self.log_ratio(products(x, z, beta)), "n 1 -> n")

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, d) -> a draw of z for each, at the mean of q(beta), from torch's global stream."""
        return self.infer(x, self.posterior.mean.expand_as(x), GlobalNoise.like(x))

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Standard normal numbers (N, 3, d), for beta, z and x -> new x (N, d)."""
        return self._simulated(self.posterior(z[:, 0]), z[:, 1:])[0]

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """What `generate` takes, (n, 3, d)."""
        return noise.normal(3, *self.config.data_shape)


class LikelihoodFree(Objective):
    """Phases "ratio" and "inference". `num_draws`: of beta and z for each x; `num_examples`: N of the header.

    Logs `kl`, and `gain`: nats of all data that the ratio sees in the model's favour; higher is better, if the ratio is
    right.
    """

    def __init__(self, *, num_examples: int, num_draws: int, prior_weight: float) -> None:
        super().__init__()
        check(num_draws > 0, "num_draws", num_draws, "a positive integer")
        check(prior_weight >= 0, "prior_weight", prior_weight, "0 or more; 1 is the paper's")
        self.num_examples, self.num_draws, self.prior_weight = num_examples, num_draws, prior_weight

    def _draw(self, model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, GlobalNoise]:
        x = batch["x"].repeat(self.num_draws, 1)
        noise = GlobalNoise.like(x)
        beta = model.posterior(noise.normal(x.shape[1]))
        return x, model.infer(x, beta, noise), beta, noise

    def ratio(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The simulator's x and z against the data with inferred z."""
        with torch.no_grad():
            x, z, beta, noise = self._draw(model, batch)
            simulated = model.simulate(beta, noise)
        return Loss(logistic_critic_loss(model.ratio(*simulated, beta), model.ratio(x, z, beta)))

    def inference(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Nats for all N examples together."""
        x, z, beta, _ = self._draw(model, batch)
        kl = model.posterior.distribution().kl_to_standard_normal().mean()
        gain = self.num_examples * model.ratio(x, z, beta).mean()
        return Loss(self.prior_weight * kl - gain, {"kl": kl, "gain": gain})


def first_examples(source: Any, model: Model, *, count: int) -> Any:
    """The first `count` of a source."""
    check(count <= len(source), "num_examples", count, f"at most {len(source)}, which {source.name} has")
    return subset(source, torch.arange(count))


def hierarchical_implicit_model(
    *,
    config: HierarchicalImplicitConfig = HierarchicalImplicitConfig(),
    steps: int = 2000,
    batch_size: int = 5,
    num_examples: int = 5,
    num_draws: int = 64,
    prior_weight: float = 1.0,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`num_examples`: the first so many of the data are what is observed; `num_draws`: of beta and z for each in a
    batch; `prior_weight`: of KL(q(beta) || p(beta))."""
    check(num_examples > 0, "num_examples", num_examples, "a positive integer")
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    phases = (
        Phase(name="ratio", parts=("log_ratio",), optimizer=optimizer, repeats=2),
        Phase(name="inference", parts=("posterior", "local"), optimizer=optimizer),
    )
    objective = LikelihoodFree(num_examples=num_examples, num_draws=num_draws, prior_weight=prior_weight)
    data = functools.partial(first_examples, count=num_examples)
    return Recipe(
        name="hierarchical-implicit-model",
        model=HierarchicalImplicitModel,
        config=config,
        stages=(Stage(objective=objective, phases=phases, steps=steps, data=data),),
        batch_size=batch_size,
        data="gaussian:2,1",
    )
