"""The trainer on models whose steps can be worked out by hand."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import pytest
import torch
from toys import Pair, PairConfig, data, fit, phase, recipe

import gencore
from gencore.data import Batches
from gencore.errors import GencoreError, NonFiniteError
from gencore.recipes import own_parameters, reached_parameters
from gencore.training.ema import decay_at


def product(objective, model, name, batch):
    return (model.theta * model.psi).sum()


def test_a_step_is_gradient_descent_of_the_phases_own_part() -> None:
    model = fit(recipe(product, phase("critic"))).model
    assert (model.theta.item(), model.psi.item()) == (1.0, pytest.approx(0.9))


def test_phases_alternate_and_see_each_others_steps() -> None:
    model = fit(recipe(product, phase("critic"), phase("generator"))).model
    assert model.psi.item() == pytest.approx(0.9)
    assert model.theta.item() == pytest.approx(1 - 0.1 * 0.9)


@pytest.mark.parametrize(("joint", "reached"), [(False, {"critic"}), (True, {"critic", "generator"})])
def test_gradients_reach_the_phases_own_parts(joint: bool, reached: set[str]) -> None:
    """Nothing else is differentiated, which costs time and memory; a joint phase reaches all, and steps its own."""
    seen = []

    def note(objective, model, name, batch):
        parts = {"generator": model.theta, "critic": model.psi}
        seen.append({part for part, parameter in parts.items() if parameter.requires_grad})
        return product(objective, model, name, batch)

    model = fit(recipe(note, phase("critic", joint=joint))).model
    assert seen == [reached]
    assert {name for name in ("generator", "critic") if getattr(model, name)[0].grad is not None} == reached
    assert model.theta.item() == 1.0


def test_frozen_parts_stay_and_a_phase_of_them_alone_is_refused() -> None:
    """Though a phase names them, and though it is joint."""

    def frozen(*phases: gencore.Phase) -> gencore.Recipe:
        made = recipe(product, *phases)
        return dataclasses.replace(made, stages=(dataclasses.replace(made.stages[0], frozen=("generator",)),))

    model = fit(frozen(phase("critic", parts=("",), joint=True))).model
    assert (model.theta.item(), model.psi.item()) == (1.0, pytest.approx(0.9))
    with pytest.raises(GencoreError, match="'generator' of stage 'training' has no parameter to step"):
        fit(frozen(phase("generator")))


def test_gradients_do_not_outlive_a_step() -> None:
    assert fit(recipe(lambda o, m, n, b: m.theta.sum(), phase("generator"), steps=3)).model.theta.item() == (
        pytest.approx(0.7)
    )


def test_repeats_every_and_gate() -> None:
    """Critic three times an iteration, generator in iterations 0 and 2, a third phase only while its gate is open."""
    seen = []

    def count(objective, model, name, batch):
        seen.append(name[0])
        return (model.theta + model.psi).sum()

    made = recipe(
        count,
        phase("critic", repeats=3),
        phase("generator", every=2),
        phase("extra", parts=("generator",), gate=lambda objective: objective.calls.item() >= 7),
        steps=3,
    )
    fit(made)
    assert "".join(seen) == "cccg" + "ccce" + "cccge"


def test_every_repeat_r_sees_batch_r_of_the_iteration() -> None:
    seen: dict[str, list[int]] = {}

    def note(objective, model, name, batch):
        seen.setdefault(name, []).append(batch["index"].tolist())
        return model.theta.sum() + model.psi.sum()

    fit(recipe(note, phase("critic", repeats=2), phase("generator"), steps=3))
    batches = Batches(data(), 4, seed=0)
    expected = [batches[k]["index"].tolist() for k in range(6)]
    assert seen["critic"] == expected
    assert seen["generator"] == expected[::2]


def test_parts_of_two_phases_have_an_optimiser_each() -> None:
    made = recipe(
        product,
        phase("generator", 0.1),
        gencore.Phase(name="again", parts=("generator",), optimizer=gencore.SGD(learning_rate=1.0)),
    )
    assert fit(made).model.theta.item() == pytest.approx(1 - 0.1 - 1.0)


def test_shared_parameters_are_stepped_once() -> None:
    made = recipe(product, phase("critic", parts=("critic", "critic", "")))
    model = fit(made).model
    assert model.psi.item() == pytest.approx(0.9)


def test_accumulation_is_the_mean_over_batches() -> None:
    def linear(objective, model, name, batch):
        return (model.theta * batch["x"].mean()).sum()

    trainer = fit(recipe(linear, phase("generator", 1.0)), accumulation=4)
    batches = Batches(data(), 4, seed=0)
    mean = sum(batches[k]["x"].mean() for k in range(4)) / 4
    assert trainer.model.theta.item() == pytest.approx(1 - mean.item(), rel=1e-6)
    assert trainer._run.objective.calls.item() == 1
    assert trainer.metrics["generator/loss"].item() == pytest.approx(mean.item(), rel=1e-6)


def test_accumulation_averages_all_metrics() -> None:
    """Formula's metric is the mean of a batch; in two phases of one iteration each has its own."""
    trainer = fit(recipe(lambda o, m, n, b: m.theta.sum(), phase("generator")), accumulation=4)
    batches = Batches(data(), 4, seed=0)
    mean = sum(batches[k]["x"].mean() for k in range(4)) / 4
    assert trainer.metrics["generator/seen"].item() == pytest.approx(mean.item(), rel=1e-6)
    assert batches[3]["x"].mean().item() != pytest.approx(mean.item(), rel=1e-3)


def test_gradient_clipping_and_its_metric() -> None:
    trainer = fit(recipe(lambda o, m, n, b: 30 * m.theta.sum(), phase("generator", 1.0, max_gradient_norm=0.5)))
    assert trainer.model.theta.item() == pytest.approx(0.5, abs=1e-5)
    assert trainer.metrics["generator/gradient_norm"].item() == pytest.approx(30)


def test_schedule_scales_the_rate() -> None:
    """And counts the iterations of its stage."""
    made = recipe(lambda o, m, n, b: m.theta.sum(), phase("generator", 2.0, schedule=lambda step: 0.5**step), steps=3)
    assert fit(made).model.theta.item() == pytest.approx(1 - 2 * (1 + 0.5 + 0.25))
    twice = dataclasses.replace(made, stages=made.stages * 2)
    assert fit(twice).model.theta.item() == pytest.approx(1 - 4 * (1 + 0.5 + 0.25))


def test_after_step_may_change_parameters_in_place() -> None:
    def halve(objective, model, name):
        model.theta.mul_(0.5)

    assert fit(recipe(lambda o, m, n, b: m.theta.sum(), phase("generator"), after=halve)).model.theta.item() == (
        pytest.approx(0.45)
    )


@pytest.mark.parametrize(("age", "half_life"), [(1, 0.05), (100, 5), (200, 10), (1000, 10)])
def test_the_half_life_of_an_average_is_a_share_of_its_age_at_first(age: int, half_life: float) -> None:
    assert decay_at(gencore.EMA.half_life(10), age) == pytest.approx(0.5 ** (1 / half_life))


def test_what_is_published_is_about_as_good_as_the_live_model_at_every_length() -> None:
    """An average of half-life 500 after 20 iterations that begin at trained weights: the initial ones have no share."""
    average = gencore.EMA.half_life(500)
    made = recipe(lambda o, m, n, b: m.theta.sum(), phase("generator", 0.01), steps=20, ema=(average,))
    trainer = gencore.Trainer(made, data(), cpu=True)
    with torch.no_grad():
        trainer.model.theta.fill_(100.0)
    trainer.fit()
    with trainer.published() as model:
        assert model.theta.item() == pytest.approx(trainer.model.theta.item(), abs=0.02)


def test_averages() -> None:
    """Two averages of a parameter that falls by 1 a step: worked out by hand, applied, and taken off again."""
    averages = (gencore.EMA(decay=0.75, parts=("generator",)), gencore.EMA(decay=0.0, parts=("critic",), name="last"))
    trainer = fit(recipe(lambda o, m, n, b: m.theta.sum(), phase("generator", 1.0), steps=2, ema=averages))
    assert trainer.model.theta.item() == -1
    first, second = 0.5**20, 0.5**10
    expected = second * (first * 1 + (1 - first) * 0) + (1 - second) * -1
    assert trainer.averages[0].tensors[0].item() == pytest.approx(expected)
    with trainer.published() as model:
        assert model.theta.item() == pytest.approx(expected)
        assert model.psi.item() == 1
    assert trainer.model.theta.item() == -1
    assert trainer.averages[0].ages.tolist() == [2], "in the checkpoint, so that a resume goes on with the same decay"
    average = gencore.EMA.half_life(10, parts=("critic",), name="slow")
    assert average.decay**10 == pytest.approx(0.5)
    assert (average.parts, average.name) == (("critic",), "slow")


def test_stages_frozen_parts_and_growth() -> None:
    grown = []
    first = recipe(lambda o, m, n, b: m.theta.sum(), phase("generator"), steps=2).stages[0]
    second = recipe(lambda o, m, n, b: (m.theta.detach() * m.psi).sum(), phase("critic"), steps=1).stages[0]
    second = dataclasses.replace(second, name="second", begin=lambda model: grown.append(1), frozen=("generator",))
    made = gencore.Recipe(name="toy", model=Pair, config=PairConfig(), stages=(first, second), batch_size=4)
    trainer = fit(made)
    assert grown == [1]
    assert trainer.model.theta.item() == pytest.approx(0.8)
    assert trainer.model.psi.item() == pytest.approx(1 - 0.1 * 0.8)
    assert trainer.iteration == trainer.iterations == 3
    assert all(p.requires_grad for p in trainer.model.critic.parameters())


def test_frozen_parts_are_evaluated_and_all_others_trained() -> None:
    modes = []

    def formula(objective, model, name, batch):
        modes.append((model.generator.training, model.critic.training))
        return (model.theta.detach() * model.psi).sum()

    stage = recipe(formula, phase("critic")).stages[0]
    stages = (dataclasses.replace(stage, name="frozen", frozen=("generator",)), stage)
    fit(gencore.Recipe(name="toy", model=Pair, config=PairConfig(), stages=stages, batch_size=4))
    assert modes == [(False, True), (True, True)]


def test_every_stage_has_an_order_of_its_own() -> None:
    seen: dict[str, list[float]] = {"one": [], "two": []}

    def stage(name: str) -> gencore.Stage:
        def formula(objective, model, phase, batch):
            seen[name] += batch["x"].flatten().tolist()
            return model.theta.sum()

        return dataclasses.replace(recipe(formula, phase("generator"), steps=16).stages[0], name=name)

    stages = (stage("one"), stage("two"))
    fit(gencore.Recipe(name="toy", model=Pair, config=PairConfig(), stages=stages, batch_size=4))
    assert sorted(seen["one"]) == sorted(seen["two"]) == list(range(64))
    assert seen["one"] != seen["two"]


def test_a_recipe_and_a_model_are_left_as_they_were_found() -> None:
    """The recipe's objective keeps its buffers, and after `close` every parameter may be differentiated again."""
    made = recipe(product, phase("critic"), steps=2)
    with torch.no_grad():
        trainer = fit(made)
    assert (made.stages[0].objective.calls.item(), trainer._run.objective.calls.item()) == (0, 2)
    trainer.close()
    assert all(parameter.requires_grad and parameter.grad is None for parameter in trainer.model.parameters())


@pytest.mark.parametrize("where", ["loss", "loss alone", "gradient", "data"])
def test_not_a_number_stops_and_leaves_the_parameters(where: str) -> None:
    def formula(objective, model, name, batch):
        if objective.calls < 2 or where == "data":
            return model.theta.sum()
        if where == "loss":
            return model.theta.sum() * math.nan
        if where == "loss alone":
            return model.theta.sum() + math.inf
        return (model.theta - model.theta.detach()).sqrt().sum()

    source = data()
    if where == "data":
        source.x[7] = math.nan
    trainer = gencore.Trainer(recipe(formula, phase("generator", 0.1), steps=20), source, cpu=True)
    with pytest.raises(GencoreError, match="not finite|NaN|nan") as caught:
        trainer.fit()
    if where != "data":
        assert isinstance(caught.value, NonFiniteError)
        assert f"{where.split()[0]} of phase 'generator'" in str(caught.value)
        assert "iteration 2" in str(caught.value)
        assert trainer.model.theta.item() == pytest.approx(0.8)
    assert trainer.model.theta.isfinite().all()


def test_a_batch_key_that_nobody_declared_is_refused_by_name() -> None:
    """And labels that no class has: before the first step."""

    class Talkative:
        shape, num_classes, name = (1,), 3, "talkative"
        extra: ClassVar[dict[str, torch.Tensor]] = {}

        def __len__(self) -> int:
            return 8

        def fetch(self, indices: torch.Tensor) -> dict[str, torch.Tensor]:
            x = torch.zeros(len(indices), 1)
            return {"x": x, "label": torch.zeros_like(indices), "index": indices, **self.extra}

    source = Talkative()
    made = recipe(product, phase("critic"))
    gencore.Trainer(made, source).fit()
    source.extra = {"labels": torch.zeros(made.batch_size)}
    with pytest.raises(GencoreError, match=r"key 'labels', which nobody declared. Did you mean 'label'"):
        gencore.Trainer(made, source).fit()
    source.extra = {"label": torch.full((made.batch_size,), 3)}
    with pytest.raises(GencoreError, match="talkative: its 'label' does not fit"):
        gencore.Trainer(made, source).fit()


def test_a_loss_that_is_no_scalar_is_refused() -> None:
    with pytest.raises(GencoreError, match=r"shape \(1,\)"):
        fit(recipe(lambda o, m, n, b: m.theta * 2, phase("generator")))


@pytest.mark.parametrize(
    ("options", "message"), [({"accumulation": 0}, "accumulation is 0"), ({"precision": "fp16"}, "'fp16'")]
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        gencore.Trainer(recipe(product, phase("critic")), data(), cpu=True, **options)


def test_another_librarys_way_to_shard_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(GencoreError, match="FSDP, which gencore does not take from accelerate"):
        gencore.Trainer(recipe(lambda *_: None, phase("generator")), data(), cpu=True)


def test_unknown_part_is_named() -> None:
    with pytest.raises(GencoreError, match=r"no part 'decoder'; its parts are generator, critic"):
        fit(recipe(product, phase("decoder")))


@pytest.mark.parametrize(
    "bad",
    [
        lambda: gencore.Phase(name="", parts=("a",)),
        lambda: gencore.Phase(name="x", parts=()),
        lambda: gencore.Phase(name="x", parts=("a",), repeats=0),
        lambda: gencore.Phase(name="x", parts=("a",), every=0),
        lambda: gencore.Phase(name="x", parts=("a",), max_gradient_norm=0.0),
        lambda: recipe(product),
        lambda: recipe(product, phase("critic"), phase("critic")),
        lambda: recipe(product, phase("critic"), steps=-1),
        lambda: gencore.EMA(decay=1.0),
        lambda: gencore.EMA(decay=-0.1),
        lambda: gencore.EMA.half_life(0),
        lambda: recipe(product, phase("critic"), ema=(gencore.EMA(decay=0.1), gencore.EMA(decay=0.2))),
        lambda: dataclasses.replace(recipe(product, phase("critic")), batch_size=0),
        lambda: dataclasses.replace(recipe(product, phase("critic")), stages=()),
        lambda: gencore.Adam(learning_rate=0.0),
        lambda: gencore.Adam(betas=(0.9, 1.0)),
    ],
)
def test_bad_recipes(bad) -> None:
    with pytest.raises(GencoreError, match="expected"):
        bad()


def test_a_recipe_refuses_another_models_config() -> None:
    with pytest.raises(GencoreError, match="'toy': Pair takes a PairConfig, received a ModelConfig"):
        dataclasses.replace(recipe(product, phase("critic")), config=gencore.ModelConfig())


def test_what_a_phase_steps_and_what_it_reaches() -> None:
    """Frozen parts get neither steps nor gradients; a joint phase reaches all others."""
    model = Pair(PairConfig())
    (stage,) = recipe(product, phase("critic")).stages
    joint, frozen = dataclasses.replace(phase("critic"), joint=True), dataclasses.replace(stage, frozen=("generator",))
    for where, one, own, reached in (
        (stage, phase("critic"), [model.psi], [model.psi]),
        (stage, joint, [model.psi], [model.theta, model.psi]),
        (frozen, joint, [model.psi], [model.psi]),
    ):
        assert list(map(id, own_parameters(model, where, one))) == list(map(id, own))
        assert list(map(id, reached_parameters(model, where, one))) == list(map(id, reached))
    with pytest.raises(GencoreError, match="'generator' of stage 'training' has no parameter to step"):
        own_parameters(model, frozen, phase("generator"))


def test_mixed_precision_trains() -> None:
    trainer = fit(
        gencore.recipe("wgan-gp", data_shape=(1, 8, 8), steps=2, width=8, batch_size=8),
        source=gencore.data.digits("train"),
        precision="bf16",
    )
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in trainer.model.parameters())


def test_training_is_seeded() -> None:
    made = lambda: gencore.recipe("gan", steps=3, hidden=(16,), batch_size=8)
    source = gencore.data.digits("train")
    models = [fit(made(), source=source, seed=seed).model.state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(models[0][k], models[1][k]) for k in models[0])
    assert not all(torch.equal(models[0][k], models[2][k]) for k in models[0])
