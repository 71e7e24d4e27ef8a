"""GANs: training through the Trainer against other people's loops around the same layers.

"PyTorch example": the loop of pytorch/examples' DCGAN. Its picture is drawn once for both players, the critic's two
losses go backward one after the other, both losses are read at every iteration.
"torchgan": the way of its Trainer, in which each loss draws its own pictures and takes its own step: the penalty of
WGAN-GP is a loss like the others. torchgan itself pulls torchvision, and is written out here.
Both in torch's defaults, as theirs are. They are other algorithms than ours in the order of their random numbers, and
torchgan's WGAN-GP in its steps, so that no weight is compared.
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

STEPS, SIDE = 15, 32
Way = Callable[[Any, Any, Any, Tensor], tuple[float, ...]]
"""(model, the critic's Adam, the generator's, real) -> losses: one iteration."""


def drawn(model: Any, real: Tensor) -> Tensor:
    """As many as the real ones."""
    made: Tensor = model.generate(torch.randn(len(real), model.config.latent_dim))
    return made


def with_labels(judged: Tensor, label: float) -> Tensor:
    """Binary cross-entropy on logits."""
    return F.binary_cross_entropy_with_logits(judged, torch.full_like(judged, label))


def pytorch_example(model: Any, critic: Any, generator: Any, real: Tensor) -> tuple[float, ...]:
    """One iteration of examples/dcgan."""
    critic.zero_grad()
    on_real = with_labels(model.judge(real), 1.0)
    on_real.backward()
    fake = drawn(model, real)
    on_fake = with_labels(model.judge(fake.detach()), 0.0)
    on_fake.backward()
    critic.step()
    generator.zero_grad()
    loss = with_labels(model.judge(fake), 1.0)
    loss.backward()
    generator.step()
    return (on_real.item() + on_fake.item(), loss.item())


def stepped(loss: Tensor, optimizer: Any) -> float:
    """Backward and a step."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def torchgan_minimax(model: Any, critic: Any, generator: Any, real: Tensor) -> tuple[float, ...]:
    """Its minimax losses, each with pictures of its own."""
    fake = drawn(model, real)
    judged = with_labels(model.judge(real), 1.0) + with_labels(model.judge(fake.detach()), 0.0)
    first = stepped(judged, critic)
    return first, stepped(with_labels(model.judge(drawn(model, real)), 1.0), generator)


def torchgan_wasserstein(model: Any, critic: Any, generator: Any, real: Tensor) -> tuple[float, ...]:
    """The critic's loss, then the penalty; the generator's turn is taken by the caller's count."""
    fake = drawn(model, real)
    first = stepped(model.judge(fake.detach()).mean() - model.judge(real).mean(), critic)
    share = torch.rand(1)
    between = (share * real + (1 - share) * drawn(model, real).detach()).requires_grad_()
    (slope,) = torch.autograd.grad(model.judge(between).sum(), between, create_graph=True)
    penalty = 10 * (slope.flatten(1).norm(2, dim=1) - 1).square().mean()
    return first, stepped(penalty, critic)


def torchgan_generator(model: Any, critic: Any, generator: Any, real: Tensor) -> tuple[float, ...]:
    """WGAN-GP's other player."""
    return (stepped(-model.judge(drawn(model, real)).mean(), generator),)


def loop(
    recipe: gencore.Recipe, source: Any, way: Way, *, compile: bool, turn: int = 1, other: Way | None = None
) -> Any:
    """STEPS iterations; `other` at every `turn`-th. The last losses."""
    torch.manual_seed(0)
    model: Any = recipe.model(recipe.config)
    if compile:
        compile_regions(model, model.regions)
    phases = recipe.stages[0].phases
    critic, generator = (
        torch.optim.Adam(
            getattr(model, phase.parts[0]).parameters(),
            lr=phase.optimizer.learning_rate,  # type: ignore[attr-defined]
            betas=phase.optimizer.betas,  # type: ignore[attr-defined]
        )
        for phase in phases
    )
    batches = gencore.data.Batches(source, recipe.batch_size, seed=0)
    losses: tuple[float, ...] = ()
    for step in range(STEPS):
        real = batches[step]["x"]
        losses = way(model, critic, generator, real)
        if other and step % turn == turn - 1:
            losses += other(model, critic, generator, real)
    return losses


def trained(recipe: gencore.Recipe, source: Any, *, compile: bool) -> tuple[float, ...]:
    """Through the Trainer; a weight."""
    model: Any = gencore.Trainer(recipe, source, cpu=True, compile=compile).fit()
    return (next(model.generator.parameters()).sum().item(),)


def not_finite(numbers: tuple[float, ...]) -> float:
    """1 where one is not."""
    return float(not torch.tensor(numbers).isfinite().all())


@pytest.mark.parametrize("compile", [False, True], ids=["eager", "compiled"])
def test_dcgan(compile: bool, race: Any) -> None:
    """The bar: each loop at 1.0 of our time, or more."""
    recipe = gencore.recipe("dcgan", data_shape=(1, SIDE, SIDE), steps=STEPS, ema_decay=0.0, batch_size=32)
    source = digits("train", SIDE)
    race(
        "GAN",
        f"dcgan {SIDE}x{SIDE}, {STEPS} iterations of batch 32, {'compiled' if compile else 'eager'}",
        {
            "gencore.Trainer": lambda: trained(recipe, source, compile=compile),
            "PyTorch example": lambda: loop(recipe, source, pytorch_example, compile=compile),
            "torchgan's way": lambda: loop(recipe, source, torchgan_minimax, compile=compile),
        },
        error=not_finite,
        error_unit="1 if not finite",
        tests="tests/plugins/gan/architectures/test_dcgan.py",
    )


def test_wgan_gp(race: Any) -> None:
    """The bar: torchgan's way at 1.0 of our time, or more. Eager alone: the penalty differentiates twice."""
    recipe = gencore.recipe("wgan-gp", data_shape=(1, SIDE, SIDE), steps=STEPS // 5, batch_size=32)
    source = digits("train", SIDE)
    race(
        "GAN",
        f"wgan-gp {SIDE}x{SIDE}, {STEPS} critic's steps of batch 32",
        {
            "gencore.Trainer": lambda: trained(recipe, source, compile=False),
            "torchgan's way": lambda: loop(
                recipe, source, torchgan_wasserstein, compile=False, turn=5, other=torchgan_generator
            ),
        },
        error=not_finite,
        error_unit="1 if not finite",
        tests="tests/plugins/gan/objectives/test_wgan_gp.py",
    )
