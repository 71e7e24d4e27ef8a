"""GANs: training through the Trainer against loops by hand around the same layers, to the same weights.

"hand-written loop": as a script would write it that knows what is fast: convolutions' weights channels last, an Adam in
one pass over memory, each player frozen in the other's step; nothing checked, nothing logged. "torch's defaults" is the
same loop without the layout and the fused Adam. Compiled: sn-gan alone, whose regions all compile; what is
differentiated twice (R1, path lengths, unrolled steps) stays eager by contract, and that is nearly all of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import gencore
from gencore.compilation import compile_regions
from gencore.data import digits
from gencore.nn.memory_format import put_channels_last
from gencore_gan.parts.spectral import iterate
from gencore_gan.parts.styles import mixed

STEPS = 16
"""One round of StyleGAN2's lazy regularisers."""


class Plain:
    """What a loop by hand does in a phase, "critic" or "generator"."""

    def loss(self, model: Any, phase: str, real: Tensor, step: int) -> Tensor:
        """To be minimised."""
        raise NotImplementedError

    def after(self, model: Any, phase: str) -> None:
        """After the phase's step."""


def trained(recipe: gencore.Recipe, source: Any, *, compile: bool = False) -> Tensor:
    """Through the Trainer; a weight of the generator, to show that all loops end at the same one."""
    trainer = gencore.Trainer(recipe, source, cpu=True, compile=compile)
    return last_weight(trainer.fit())


def last_weight(model: Any) -> Tensor:
    """The generator's last one."""
    generator = model.synthesis if hasattr(model, "synthesis") else model.generator
    return list(generator.parameters())[-1].detach().clone()


def by_hand(
    recipe: gencore.Recipe, source: Any, kind: Callable[[], Plain], *, fast: bool = True, compile: bool = False
) -> Tensor:
    """The same steps."""
    plain = kind()
    torch.manual_seed(0)
    model: Any = recipe.model(recipe.config)
    if fast:
        put_channels_last(model)
    torch.manual_seed(1)
    if compile:
        compile_regions(model, model.regions)
    phases = recipe.stages[0].phases
    own = {phase.name: [p for part in phase.parts for p in getattr(model, part).parameters()] for phase in phases}
    adam = {
        phase.name: torch.optim.Adam(
            own[phase.name],
            lr=phase.optimizer.learning_rate,  # type: ignore[attr-defined]
            betas=phase.optimizer.betas,  # type: ignore[attr-defined]
            fused=True if fast else None,
        )
        for phase in phases
    }
    batches = gencore.data.Batches(source, recipe.batch_size, seed=0)
    for step in range(recipe.stages[0].steps):
        real = batches[step]["x"]
        for phase in phases:
            for name, parameters in own.items():
                for parameter in parameters:
                    parameter.requires_grad_(phase.joint or name == phase.name)
            loss = plain.loss(model, phase.name, real, step)
            adam[phase.name].zero_grad()
            loss.backward()
            adam[phase.name].step()
            with torch.no_grad():
                plain.after(model, phase.name)
    return last_weight(model)


def contest(
    race: Any, case: str, recipe: gencore.Recipe, kind: Callable[[], Plain], *, tests: str, compile: bool = False
) -> None:
    """Trainer, loop by hand, loop with torch's defaults, on digits of the model's size."""
    source = digits("train", recipe.config.data_shape[-1])  # type: ignore[attr-defined]
    expected = by_hand(recipe, source, kind)
    race(
        "GAN",
        f"{case}, {STEPS} iterations of batch {recipe.batch_size}",
        {
            "gencore.Trainer": lambda: trained(recipe, source, compile=compile),
            "hand-written loop": lambda: by_hand(recipe, source, kind, compile=compile),
            "torch's defaults": lambda: by_hand(recipe, source, kind, compile=compile, fast=False),
        },
        error=lambda weight: (weight - expected).abs().max(),
        error_unit="max abs difference of a weight",
        tests=f"tests/plugins/gan/{tests}",
    )


class PlainSNGAN(Plain):
    """Hinge losses, and the power iteration after the critic's step."""

    def loss(self, model: Any, phase: str, real: Tensor, step: int) -> Tensor:
        """Equations 16 and 17."""
        z = torch.randn(len(real), model.config.latent_dim)
        if phase == "generator":
            return -model.judge(model.generate(z)).mean()
        with torch.no_grad():
            fake = model.generate(z)
        return F.relu(1 - model.judge(real)).mean() + F.relu(1 + model.judge(fake)).mean()

    def after(self, model: Any, phase: str) -> None:
        """u follows."""
        if phase == "critic":
            iterate(model.critic)


@pytest.mark.parametrize("compile", [False, True], ids=["eager", "compiled"])
def test_sn_gan_step(compile: bool, race: Any) -> None:
    """The bar: the hand-written loop at 1.0 of our time, or more."""
    recipe = gencore.recipe("sn-gan", data_shape=(1, 32, 32), steps=STEPS, ema_decay=0.0, batch_size=16)
    case = f"sn-gan 32x32, {'compiled' if compile else 'eager'}"
    contest(race, case, recipe, PlainSNGAN, tests="objectives/test_sn_gan.py", compile=compile)


class PlainUnrolledGAN(Plain):
    """The minimax game; the generator plays against the critic of five steps of gradient descent later."""

    def loss(self, model: Any, phase: str, real: Tensor, step: int) -> Tensor:
        """Equation 8."""
        z = torch.randn(len(real), model.config.code_size)
        psi = dict(model.critic.named_parameters())
        if phase == "critic":
            with torch.no_grad():
                fake = model.generate(z)
            return F.softplus(-model.judge(real)).mean() + F.softplus(model.judge(fake)).mean()
        fake = model.generate(z)
        for _ in range(5):
            slopes = torch.autograd.grad(
                self.critic_loss(model, psi, real, fake), list(psi.values()), create_graph=True
            )
            psi = {name: value - 0.3 * slope for (name, value), slope in zip(psi.items(), slopes, strict=True)}
        return -self.critic_loss(model, psi, real, fake)

    def critic_loss(self, model: Any, psi: dict[str, Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """Of a critic with other weights."""
        judged_real, judged_fake = (torch.func.functional_call(model.critic, psi, (x,))[:, 0] for x in (real, fake))
        return F.softplus(-judged_real).mean() + F.softplus(judged_fake).mean()


def test_unrolled_gan_step(race: Any) -> None:
    """The bar: the hand-written loop at 1.0 of our time, or more."""
    recipe = gencore.recipe("unrolled-gan", data_shape=(1, 16, 16), steps=STEPS, batch_size=16)
    contest(
        race, "unrolled-gan 16x16, 5 steps ahead", recipe, PlainUnrolledGAN, tests="stabilisers/test_unrolled_gan.py"
    )


class PlainStyleGAN2(Plain):
    """Mixed styles, R1 at every 16th step of the critic, path lengths at every 4th of the generator."""

    def __init__(self) -> None:
        self.path_average, self.batches, self.mean = torch.zeros(()), 0, torch.zeros(())
        self.mean_path: Tensor | None = None

    def made(self, model: Any, z: Tensor) -> Tensor:
        """Images of mixed styles."""
        styles = model.styles(z)
        others, layers = model.styles(torch.randn(len(z), model.config.latent_dim)), styles.shape[1]
        mix = torch.rand(len(z)) < 0.9
        crossover = torch.where(mix, 1 + torch.randint(layers - 1, (len(z),)), layers)
        self.mean = styles[:, 0].detach().mean(0)
        return model.synthesise(mixed(styles, others, crossover), z)

    def drawn(self, model: Any, count: int) -> Tensor:
        """z, and the noise of all layers."""
        return torch.randn(count, model.config.latent_dim + sum(side**2 for side in model.config.sides))

    def loss(self, model: Any, phase: str, real: Tensor, step: int) -> Tensor:
        """The non-saturating game and the lazy regularisers."""
        if phase == "critic":
            with torch.no_grad():
                fake = self.made(model, self.drawn(model, len(real)))
            loss = F.softplus(-model.judge(real)).mean() + F.softplus(model.judge(fake)).mean()
            if step % 16:
                return loss
            points = real.detach().requires_grad_()
            (slope,) = torch.autograd.grad(model.judge(points).sum(), points, create_graph=True)
            return loss + 0.5 * 16 * slope.flatten(1).square().sum(1).mean()
        loss = F.softplus(-model.judge(self.made(model, self.drawn(model, len(real))))).mean()
        self.mean_path = None
        if step % 4:
            return loss
        return loss + 4 * 2.0 * self.path_spread(model, (len(real) + 1) // 2)

    def path_spread(self, model: Any, count: int) -> Tensor:
        """E (||J^T y|| - a)^2."""
        z = self.drawn(model, count)
        styles = model.styles(z)
        images = model.synthesise(styles, z)
        y = torch.randn_like(images) / (images.shape[2] * images.shape[3]) ** 0.5
        (slopes,) = torch.autograd.grad((images * y).sum(), styles, create_graph=True)
        lengths = slopes.square().sum(2).mean(1).sqrt()
        self.mean_path = lengths.detach().mean()
        moved = torch.lerp(self.path_average, self.mean_path, 1 / (1 + self.batches))
        return (lengths - moved).square().mean()

    def after(self, model: Any, phase: str) -> None:
        """The averages of w and of path lengths."""
        if phase == "generator":
            model.style_average.lerp_(self.mean, 1 - 0.995)
            if self.mean_path is not None:
                self.path_average = torch.lerp(self.path_average, self.mean_path, 1 / (1 + self.batches))
                self.batches += 1


def test_stylegan2_step(race: Any) -> None:
    """The bar: the hand-written loop at 1.0 of our time, or more."""
    recipe = gencore.recipe("stylegan2", data_shape=(1, 32, 32), width=16, steps=STEPS, batch_size=8, ema_decay=0.0)
    contest(race, "stylegan2 32x32, width 16", recipe, PlainStyleGAN2, tests="architectures/test_stylegan2.py")
