"""torch.compile for real: whole regions, once, and the model's state-dict keys as they were."""

from __future__ import annotations

import subprocess
import sys
import warnings

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
    assert "forward" in vars(trainer.model.generator)
    assert "forward" not in vars(trainer.model.critic)
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


def test_only_the_named_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(compilation, "compile_regions", lambda model, regions: seen.append(regions))
    gencore.create("dcgan", width=4).compile(eager=["critic"])
    assert seen == [["generator"]]
