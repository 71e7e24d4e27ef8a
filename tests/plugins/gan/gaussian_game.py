"""Games in which the best critic is known: real x ~ N(0, 1), generated x ~ N(shift, scale^2).

In two dimensions the second coordinate is N(0, 1) on both sides, which leaves W1 as it is. WGAN-GP needs it: on a line
a critic that begins with the wrong sign is held there, since its slope would have to pass through 0, where the
penalty is highest.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

import gencore
from gencore.adversarial.objective import Adversarial, AdversarialLosses
from gencore.data import arrays
from gencore.optimizers import OptimizerConfig
from gencore_gan.parts.networks import DenseGAN, DenseGANConfig

GRID = torch.linspace(-2, 3, 101)[:, None]
"""Where a critic is compared with the best one."""


class Affine(nn.Module):
    """A generator that is given: z -> shift + scale z in the first coordinate."""

    def __init__(self, shift: float, scale: float) -> None:
        super().__init__()
        self.shift, self.scale = shift, scale

    def forward(self, z: Tensor) -> Tensor:
        return torch.cat([self.shift + self.scale * z[:, :1], z[:, 1:]], 1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GivenGeneratorConfig(DenseGANConfig):
    shift: float = 0.0
    scale: float = 1.0


class GivenGenerator(DenseGAN):
    config_class = GivenGeneratorConfig

    def __init__(self, config: GivenGeneratorConfig) -> None:
        super().__init__(config)
        self.generator = Affine(config.shift, config.scale)


def train_critic(
    objective: Adversarial,
    *,
    shift: float,
    scale: float = 1.0,
    steps: int = 1500,
    optimizer: OptimizerConfig | None = None,
    dim: int = 1,
    callbacks: tuple = (),
    seed: int = 0,
) -> DenseGAN:
    """A critic trained by `objective` between N(0, 1) and N(shift, scale^2)."""
    config = GivenGeneratorConfig(
        data_shape=(dim,), latent_dim=dim, hidden=(64, 64), output="linear", shift=shift, scale=scale
    )
    optimizer = optimizer or gencore.Adam(learning_rate=1e-3, betas=(0.5, 0.9))
    phase = gencore.Phase(name="critic", parts=("critic",), optimizer=optimizer)
    recipe = gencore.Recipe(
        name="toy",
        model=GivenGenerator,
        config=config,
        stages=(gencore.Stage(objective=objective, phases=(phase,), steps=steps),),
        batch_size=256,
    )
    real = torch.randn(20_000, dim, generator=torch.Generator().manual_seed(1))
    return gencore.Trainer(recipe, arrays(real), seed=seed, cpu=True, callbacks=callbacks).fit()


def distance(model: DenseGAN, *, shift: float, scale: float = 1.0) -> float:
    """E D(x) - E D(G(z)) on the normal's quantiles: the Wasserstein estimate."""
    quantiles = torch.special.ndtri(torch.linspace(0.0005, 0.9995, 1000))[:, None]
    others = torch.randn(1000, model.config.latent_dim - 1, generator=torch.Generator().manual_seed(2))
    real = torch.cat([quantiles, others], 1)
    with torch.no_grad():
        return float(model.judge(real).mean() - model.judge(Affine(shift, scale)(real)).mean())


def critic_error(losses: AdversarialLosses, best: Tensor) -> float:
    """The largest, on GRID, from the best critic `best` (101,), of a critic between N(0, 1) and N(1, 1)."""
    model = train_critic(Adversarial(losses), shift=1.0)
    with torch.no_grad():
        return (model.judge(GRID) - best).abs().max().item()
