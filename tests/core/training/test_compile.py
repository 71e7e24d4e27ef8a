"""torch.compile for real: whole regions, once, and the model's state-dict keys as they were."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

import gencore
from gencore import compilation
from gencore.data import digits


@pytest.mark.slow
@pytest.mark.skipif(compilation.missing_compiler() is not None, reason="no C++ compiler on this machine")
def test_compiled_training_equals_eager() -> None:
    """WGAN-GP: the generator compiled, the critic eager, since its gradient is differentiated again."""

    def train(compile: bool) -> tuple[gencore.Trainer, dict[str, torch.Tensor]]:
        made = gencore.recipe("wgan-gp", steps=3, width=4, latent_dim=4, batch_size=8, critic_steps=2)
        trainer = gencore.Trainer(made, digits("train"), cpu=True, compile=compile)
        trainer.fit()
        return trainer, trainer.model.state_dict()

    torch._dynamo.reset()
    counters.clear()
    trainer, compiled = train(True)
    assert compilation.is_compiled(trainer.model.generator)
    assert not compilation.is_compiled(trainer.model.critic)
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] == 2, "without gradients in the critic's phase, with them in its own"
    _, eager = train(False)
    torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-4)
    assert list(compiled) == list(eager)
    torch._dynamo.reset()


def test_without_a_compiler_it_says_so_and_runs_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "missing_compiler", lambda: "there is no C++ compiler on this machine")
    model = gencore.create("dcgan", width=4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.compile()
    assert [str(w.message) for w in caught] == [
        "Not compiled: there is no C++ compiler on this machine. Running eager."
    ]
    assert model.sample(2).shape == (2, 1, 8, 8)


def test_without_assertions_nothing_is_compiled() -> None:
    ask = "from gencore.compilation import missing_compiler; print(missing_compiler())"
    answers = [
        subprocess.run([sys.executable, *flags, "-c", ask], capture_output=True, text=True, check=True).stdout
        for flags in ([], ["-O"])
    ]
    assert answers[0] == f"{compilation.missing_compiler()}\n"
    assert answers[1] == "python -O takes out assertions that torch.compile's code generator needs\n"


def test_more_shapes_than_the_compiler_keeps_run_eager() -> None:
    """At torch's limit a region warns, and gives the same results."""
    torch._dynamo.reset()
    model = gencore.create("dcgan", width=4).eval()
    sizes = range(1, 4 + torch._dynamo.config.recompile_limit)
    expected = [model.sample(size) for size in sizes]
    compilation.compile_regions(model, ["generator"], backend="eager")
    with pytest.warns(UserWarning, match="limit of shapes"):
        compiled = [model.sample(size) for size in sizes]
    torch.testing.assert_close(compiled, expected)
    torch._dynamo.reset()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), copy.copy])
def test_a_copy_of_a_compiled_model_computes_with_its_own_weights(copied: Any) -> None:
    torch._dynamo.reset()
    model = gencore.create("dcgan", width=4).eval()
    compilation.compile_regions(model, model.regions, backend="eager")
    before = model.sample(2)
    twin = copied(model)
    torch.testing.assert_close(twin.sample(2), before)
    if copied is copy.copy:  # shares its weights
        return
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert twin.sample(2).abs().max() == 0
    torch.testing.assert_close(model.sample(2), before)
    twin.generate(torch.ones(1, *twin.draw_prior(gencore.Noise(0, 0, 1)).shape[1:])).sum().backward()
    assert all(p.grad is None for p in model.parameters())
    assert any(p.grad is not None for p in twin.parameters())
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin.sample(2), before)
    average = torch.optim.swa_utils.AveragedModel(model)
    assert not compilation.is_compiled(average.module.generator)
    torch._dynamo.reset()


def test_hooks_of_a_compiled_part_are_called() -> None:
    model = gencore.create("dcgan", width=4).eval()
    compilation.compile_regions(model, ["generator"], backend="eager")
    seen = []
    model.generator.register_forward_hook(lambda *arguments: seen.append(1))
    model.sample(1)
    assert seen == [1]


def test_a_compiled_model_in_training_mode_compiles_once_for_sampling() -> None:
    torch._dynamo.reset()
    counters.clear()
    model = gencore.create("dcgan", width=4).train()
    compilation.compile_regions(model, ["generator"], backend="eager")
    for _ in range(3):
        model.sample(2)
    assert counters["stats"]["unique_graphs"] == 1
    assert model.generator.training
    torch._dynamo.reset()


def test_only_the_named_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(compilation, "compile_regions", lambda model, regions: seen.append(regions))
    gencore.create("dcgan", width=4).compile(eager=["critic"])
    assert seen == [["generator"]]
