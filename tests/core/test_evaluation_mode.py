"""Sampling computes as in evaluation mode and touches nothing that other threads share."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import nn

import gencore
from gencore.evaluation_mode import evaluating


def shared_state(model: nn.Module) -> tuple[Any, ...]:
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    return buffers, [module.training for module in model.modules()]


@pytest.fixture
def model() -> gencore.Model:
    """With batch normalisation, in training mode but for one part."""
    torch.manual_seed(0)
    made = gencore.create("dcgan", width=4).train()
    assert any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    made.critic.eval()
    return made


def test_threads_that_sample_a_model_in_training_mode(model: gencore.Model) -> None:
    """Eight threads: each draws what one alone draws, and neither buffers nor modes change, not even meanwhile."""
    before = shared_state(model)
    expected = model.sample(4, seed=1)
    results, modes = [], []

    def work() -> None:
        for _ in range(5):
            results.append(model.sample(4, seed=1, batch_size=2))
            modes.append([module.training for module in model.modules()])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 40
    for result in results:
        torch.testing.assert_close(result, expected)
    assert modes == [before[1]] * 40
    after = shared_state(model)
    assert after[1] == before[1]
    assert all(torch.equal(after[0][name], buffer) for name, buffer in before[0].items())


def test_a_model_is_in_training_mode_while_it_is_sampled(model: gencore.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another thread that trains it would see; the twin that computes is not."""
    seen = []
    generate = type(model).generate

    def noted(self: Any, *arguments: Any, **options: Any) -> Any:
        seen.append((self.generator.training, model.generator.training, self is model))
        return generate(self, *arguments, **options)

    monkeypatch.setattr(type(model), "generate", noted)
    model.sample(1)
    assert seen == [(False, True, False)]
    model.eval().sample(1)
    assert seen[1] == (False, False, True)


def test_the_twin_shares_tensors_and_ties(model: gencore.Model) -> None:
    model.twice = model.generator
    twin = evaluating(model)
    assert twin is not model
    assert twin.twice is twin.generator
    assert all(p is q for p, q in zip(model.parameters(), twin.parameters(), strict=True))
    assert all(p is q for p, q in zip(model.buffers(), twin.buffers(), strict=True))
    with torch.no_grad():
        next(model.generator.parameters()).zero_()
    assert torch.equal(evaluating(model).sample(2), model.eval().sample(2))
