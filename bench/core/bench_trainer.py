"""The trainer against a loop written by hand: the same steps of the same model on the same batches."""

from __future__ import annotations

from typing import Any

import torch

import gencore
from gencore.data import digits
from gencore.nn.memory_format import put_channels_last

STEPS = 100


def with_trainer() -> torch.Tensor:
    """DCGAN through the Trainer; returns a weight, to show that both loops end at the same one."""
    trainer = gencore.Trainer(gencore.recipe("dcgan", steps=STEPS, ema_decay=0.0), digits("train"), cpu=True)
    return next(trainer.fit().generator.parameters()).detach()


def by_hand() -> torch.Tensor:
    """The same as a script would write it: non-saturating losses, layout and two Adams as ours, nothing checked."""
    source = digits("train")
    torch.manual_seed(0)
    made = gencore.recipe("dcgan", ema_decay=0.0)
    model: Any = made.model(made.config)
    put_channels_last(model)
    torch.manual_seed(1)
    optimizers = [
        torch.optim.Adam(part.parameters(), lr=5e-4, betas=(0.5, 0.999), fused=True)
        for part in (model.critic, model.generator)
    ]
    batches = gencore.data.Batches(source, 64, seed=0)
    softplus = torch.nn.functional.softplus
    for step in range(STEPS):
        real = batches[step]["x"]
        model.critic.requires_grad_(True)
        z = torch.randn(len(real), 64)
        with torch.no_grad():
            fake = model.generate(z)
        loss = softplus(-model.judge(real)).mean() + softplus(model.judge(fake)).mean()
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
        model.critic.requires_grad_(False)
        z = torch.randn(len(real), 64)
        loss = softplus(-model.judge(model.generate(z))).mean()
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
    return next(model.generator.parameters()).detach()


def test_trainer_overhead(race: Any) -> None:
    """The bar is 5 %: the hand-written loop at 0.95 or more of the trainer's time."""
    expected = by_hand()
    race(
        "Trainer",
        f"dcgan 8x8, {STEPS} iterations of batch 64",
        {"gencore.Trainer": with_trainer, "hand-written loop": by_hand},
        error=lambda weight: (weight - expected).abs().max(),
        error_unit="max abs difference of a weight",
        tests="tests/core/training/test_trainer.py",
    )
