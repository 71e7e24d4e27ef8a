"""CaloGAN (Paganini, de Oliveira & Nachman 2018, "CaloGAN: Simulating 3D High Energy Particle Showers in Multi-Layer
Electromagnetic Calorimeters with Generative Adversarial Networks", Phys. Rev. D 97, arXiv:1712.10321; first as
arXiv:1705.02355).

A LAGAN stream for each layer of a calorimeter, fed by z E, with E the energy asked for. From the second layer on a
stream sees the layer before it: with I' that layer at this one's size, and a the softmax over two maps of a convolution
of (I, I'), the layer is a_1 I + a_2 I' (attention). ReLU gives exact zeros.
The critic sees each layer and, beside their features,
    the energy of each layer and the share of its cells that are hit, with minibatch discrimination of these,
    the total E_dep, the energy asked for E, |E_dep - E|, and a flag 10 [|E_dep - E| > 5 GeV].
    critic     E sp(-D(x, E)) + E sp(D(G(z, E), E))
    generator  E sp(-D(G(z, E), E)) + energy_weight E |E_dep - E|, weight 0.05
with sp(u) = log(1 + exp(u)). One network for one kind of particle: `particle` picks its label.

Deviations: dense hidden layers, and one locally connected layer a stream; small cells, and z of 256 for 1024; the
networks see energy in units of 10 GeV, the critic the logarithm of deposits beside them; the soft features are of
order 1.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Loss, Model, ModelConfig, Objective, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import condition_of
from gencore.conditions import Attributes, Condition
from gencore.config import check
from gencore.data.views import subset
from gencore.errors import GencoreError
from gencore.nn.dense import mlp
from gencore.nn.minibatch import MinibatchDiscrimination
from gencore.noise import GlobalNoise, NoiseSource
from gencore_gan.parts.locally_connected import LocallyConnected
from gencore_gan.parts.shower_figures import figures
from gencore_gan.parts.two_rates import two_rates

SYSTEM = SystemSpec(
    name="calogan",
    summary="Particle showers in the layers of a calorimeter, of the energy that is asked for",
    paper=Paper(
        title="CaloGAN: Simulating 3D High Energy Particle Showers in Multi-Layer Electromagnetic Calorimeters",
        authors="Paganini, de Oliveira & Nachman",
        year=2018,
        arxiv="1712.10321",
    ),
    model="CaloGAN",
    recipe="calogan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles",),
    tiny={"latent_dim": 4, "width": 2, "hidden": (16,), "batch_size": 8},
)

UNIT = 10.0  # GeV that the networks count as 1
LAYOUTS: dict[tuple[int, ...], tuple[tuple[int, int], ...]] = {  # the toy's and the paper's
    (126,): ((3, 24), (6, 6), (6, 3)),
    (504,): ((3, 96), (12, 12), (12, 6)),
}
FAR = 5.0  # GeV between energies from which the critic sees a flag


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CaloGANConfig(ModelConfig):
    """`data_shape`: (all cells,); `layers`: those of each layer, (eta, phi), or None for one of LAYOUTS. `hidden`:
    widths of dense layers, `width`: maps of each stream's locally connected layer. `condition`: the energy asked for,
    in GeV as the cells."""

    data_shape: tuple[int, ...] = (126,)
    layers: tuple[tuple[int, int], ...] | None = None
    condition: Attributes = Attributes(names=("energy",), low=1.0, high=100.0)
    latent_dim: int = 256
    hidden: tuple[int, ...] = (128,)
    width: int = 4

    def __post_init__(self) -> None:
        shape, layers = self.data_shape, self.layout
        good = bool(layers) and all(min(layer) > 0 for layer in layers)
        check(good, "layers", layers, "(eta, phi) of each layer, positive")
        cells = sum(eta * phi for eta, phi in layers)
        check(shape == (cells,), "data_shape", shape, f"({cells},), the cells of the layers together")
        check(len(self.condition.names) == 1, "condition", self.condition.names, "one number: the energy")
        check(self.latent_dim > 0, "latent_dim", self.latent_dim, "a positive integer")
        check(bool(self.hidden) and min(self.hidden) > 0, "hidden", self.hidden, "positive widths")
        check(self.width > 0, "width", self.width, "a positive integer")

    @property
    def layout(self) -> tuple[tuple[int, int], ...]:
        """Cells of each layer. Raises GencoreError where they are not told and not known."""
        known = self.layers or LAYOUTS.get(self.data_shape)
        expected = f"{' or '.join(map(str, LAYOUTS))}, or layers=((eta, phi), ...) with it"
        check(known is not None, "data_shape", self.data_shape, expected)
        return known or ()


class Stream(nn.Module):
    """One layer, before attention and ReLU."""

    def __init__(self, config: CaloGANConfig, shape: tuple[int, int]) -> None:
        super().__init__()
        maps = config.width
        self.body = nn.Sequential(
            mlp((config.latent_dim, *config.hidden, maps * shape[0] * shape[1])),
            nn.Unflatten(1, (maps, *shape)),
            nn.LeakyReLU(0.2, inplace=True),
            LocallyConnected(maps, 1, shape),
        )

    def forward(self, z: Tensor) -> Tensor:
        """z (N, latent_dim) -> (N, 1, eta, phi)."""
        return self.body(z)


class Attention(nn.Module):
    """How much of a layer is its stream's, and how much the layer before it, place by place."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, own: Tensor, before: Tensor) -> Tensor:
        """own (N, 1, eta, phi), before (N, 1, eta', phi') -> (N, 1, eta, phi)."""
        both = torch.cat([own, F.adaptive_avg_pool2d(before, (own.shape[2], own.shape[3]))], 1)
        return (self.score(both).softmax(1) * both).sum(1, keepdim=True)


class ShowerGenerator(nn.Module):
    """z E -> cells in units."""

    def __init__(self, config: CaloGANConfig) -> None:
        super().__init__()
        self.streams = nn.ModuleList(Stream(config, shape) for shape in config.layout)
        self.attention = nn.ModuleList(Attention() for _ in config.layout[1:])

    def forward(self, z: Tensor, energy: Tensor) -> Tensor:
        """z (N, latent_dim), energy (N, 1) in units -> cells (N, all of them)."""
        own = [stream(z * energy) for stream in self.streams]
        layers = [own[0].relu()]
        for attention, image in zip(self.attention, own[1:], strict=True):
            layers.append(attention(image, layers[-1]).relu())
        return torch.cat([layer.flatten(1) for layer in layers], 1)


def energy_features(cells: Tensor, energy: Tensor) -> Tensor:
    """Cells (N, K) and energy (N, 1) [GeV] -> total, asked, their distance [units] and the flag of the header, (N, 4).

    The total is the exact sum of the cells.
    """
    total = cells.sum(1, keepdim=True)
    distance = (total - energy).abs()
    flag = 10.0 * (distance > FAR).to(cells.dtype)
    return torch.cat([total / UNIT, energy / UNIT, distance / UNIT, flag], 1)


def layer_features(layers: tuple[Tensor, ...]) -> Tensor:
    """Cells of each layer (N, K_i) [GeV] -> their energies [units] and shares of cells hit, (N, 2 layers)."""
    energies = [layer.sum(1) / UNIT for layer in layers]
    hits = [(layer > 0).to(layer.dtype).mean(1) for layer in layers]
    return torch.stack([*energies, *hits], 1)


class ShowerCritic(nn.Module):
    """Dense features of each layer, what physicists look at, and a linear logit on top."""

    def __init__(self, config: CaloGANConfig) -> None:
        super().__init__()
        self.sizes = [eta * phi for eta, phi in config.layout]
        self.streams = nn.ModuleList(
            nn.Sequential(mlp((2 * size, *config.hidden)), nn.LeakyReLU(0.2, inplace=True)) for size in self.sizes
        )
        self.similarity = MinibatchDiscrimination(2 * len(self.sizes), kernels=8)
        self.head = nn.Linear(len(self.sizes) * (config.hidden[-1] + 2) + 8 + 4, 1)

    def forward(self, cells: Tensor, energy: Tensor) -> Tensor:
        """Cells (N, all of them) and energy (N, 1), both in GeV -> logits (N,)."""
        layers = cells.split(self.sizes, 1)
        seen = [torch.cat([layer / UNIT, torch.log1p(100 * layer)], 1) for layer in layers]
        features = [stream(layer) for stream, layer in zip(self.streams, seen, strict=True)]
        physics = [self.similarity(layer_features(layers)), energy_features(cells, energy)]
        return rearrange(self.head(torch.cat([*features, *physics], 1)), "n 1 -> n")


class CaloGAN(Model):
    """Draws showers of an energy in GeV."""

    config_class = CaloGANConfig
    config: CaloGANConfig
    regions = ("generator", "critic")

    def __init__(self, config: CaloGANConfig) -> None:
        super().__init__(config)
        self.generator = ShowerGenerator(config)
        self.critic = ShowerCritic(config)

    @property
    def condition(self) -> Condition:
        """The energy asked for."""
        return self.config.condition

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim), energies (N, 1) [GeV] -> cells (N, all of them) [GeV], 0 or more."""
        if condition is None:
            raise GencoreError("CaloGAN draws showers of the energy that it is told: give condition=...")
        return UNIT * self.generator(z, condition / UNIT)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Cells (N, all of them) and energies (N, 1), both [GeV] -> (N,) logits, larger for real."""
        if condition is None:
            raise GencoreError("CaloGAN judges a shower by the energy asked for: give condition=...")
        return self.critic(x, condition)

    def figures_of_merit(self, x: Tensor, condition: Tensor | None) -> dict[str, Tensor]:
        """Of cells (N, all of them) and energies asked for (N, 1), both [GeV]: gencore_gan.parts.shower_figures."""
        assert condition is not None
        return figures(x, self.config.layout, condition)


class EnergyMatched(Objective):
    """Phases "critic" and "generator".

    Logs `real` and `fake`, and `energy_off`: mean distance of the energy deposited from the one asked for, in the
    data's units; lower is better.
    """

    def __init__(self, energy_weight: float) -> None:
        super().__init__()
        check(energy_weight >= 0, "energy_weight", energy_weight, "0 or more")
        self.energy_weight = energy_weight

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Real against generated showers of the same energies."""
        x, energy = batch["x"], condition_of(model, batch)
        with torch.no_grad():
            fake = model.generate(model.draw_prior(GlobalNoise.like(x)), condition=energy)
        real, judged = (model.judge(cells, condition=energy) for cells in (x, fake))
        return Loss(non_saturating.critic(real, judged), {"real": real.mean(), "fake": judged.mean()})

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Showers look real, and deposit what was asked for."""
        energy = condition_of(model, batch)
        assert energy is not None
        cells = model.generate(model.draw_prior(GlobalNoise.like(batch["x"])), condition=energy)
        off = F.l1_loss(cells.sum(1, keepdim=True), energy)
        game = non_saturating.generator(model.judge(cells, condition=energy))
        return Loss(game + self.energy_weight * off, {"energy_off": off})


def of_particle(source: Any, model: CaloGAN, *, particle: int | None) -> Any:
    """The showers of one label, where the data have labels."""
    if particle is None or source.num_classes is None:
        return source
    check(0 <= particle < source.num_classes, "particle", particle, f"a label from 0 to {source.num_classes - 1}")
    rows = torch.arange(len(source))
    labels = torch.cat([source.fetch(some)["label"] for some in rows.split(1024)])
    return subset(source, rows[labels == particle])


def calogan(
    *,
    config: CaloGANConfig = CaloGANConfig(),
    steps: int = 2000,
    batch_size: int = 128,
    particle: int | None = 0,
    energy_weight: float = 0.05,
    generator_rate: float = 4e-4,
    critic_rate: float = 5e-5,
) -> Recipe:
    """`particle`: the label of the showers to learn; None for all. `energy_weight`: of E |E_dep - E|, per GeV."""
    check(particle is None or particle >= 0, "particle", particle, "a label, 0 or more, or None")
    stages = two_rates(
        EnergyMatched(energy_weight),
        steps=steps,
        generator_rate=generator_rate,
        critic_rate=critic_rate,
        data=functools.partial(of_particle, particle=particle),
    )
    return Recipe(
        name="calogan",
        model=CaloGAN,
        config=config,
        stages=stages,
        batch_size=batch_size,
        data="showers",
    )
