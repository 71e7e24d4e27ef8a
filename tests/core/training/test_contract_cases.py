"""The cases that strain the contract, without a special path in the core.

WGAN-GP, VQ-VAE then prior, DDPM, AAE and VAE/GAN are systems of their own and go through the conformance suite.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toys import Formula, Pair, PairConfig, data, fit, phase, recipe

import gencore
from gencore.data import arrays, labelled_and_unlabelled, ring, unpaired, weighted


def radius(model: Pair) -> float:
    return torch.cat([model.theta, model.psi]).norm().item()


def dirac(model: Pair) -> tuple[Tensor, Tensor]:
    """The losses (generator, critic) of the game f = theta psi."""
    value = (model.theta * model.psi).sum()
    return value, -value


def field(model: Pair) -> tuple[Tensor, ...]:
    generator, critic = dirac(model)
    return (
        *torch.autograd.grad(generator, model.theta, create_graph=True),
        *torch.autograd.grad(critic, model.psi, create_graph=True),
    )


def consensus(gamma: float):
    """A joint step along g + gamma grad 1/2 ||g||^2, g the two players' own gradients (Mescheder et al. 2017)."""

    def formula(objective, model, name, batch):
        g = field(model)
        game = (g[0].detach() * model.theta + g[1].detach() * model.psi).sum()
        return game + gamma / 2 * sum(part.square().sum() for part in g)

    return formula


def test_consensus_direction() -> None:
    made = recipe(
        consensus(0.5), phase("both", 1.0, parts=("generator", "critic")), config=PairConfig(theta=2.0, psi=3.0)
    )
    model = fit(made).model
    assert model.theta.item() == pytest.approx(2 - (3 + 0.5 * 2))
    assert model.psi.item() == pytest.approx(3 - (-2 + 0.5 * 3))


@pytest.mark.parametrize(("gamma", "converges"), [(1.0, True), (0.0, False)])
def test_consensus_converges_where_gradient_descent_does_not(gamma: float, converges: bool) -> None:
    made = recipe(consensus(gamma), phase("both", 0.1, parts=("generator", "critic")), steps=300)
    assert (radius(fit(made).model) < 1e-3) == converges


def unrolled(steps: int, rate: float = 0.3):
    """The generator looks `steps` ahead of the critic (Metz et al. 2017)."""

    def formula(objective, model, name, batch):
        psi = model.psi
        if name == "critic":
            return -(model.theta * psi).sum()
        for _ in range(steps):
            (slope,) = torch.autograd.grad(-(model.theta * psi).sum(), psi, create_graph=True)
            psi = psi - rate * slope
        return (model.theta * psi).sum()

    return formula


def test_unrolled_gradient() -> None:
    """psi + 2 K eta theta on the bilinear game."""
    made = recipe(unrolled(5), phase("generator", 1.0, joint=True), config=PairConfig(theta=2.0, psi=3.0))
    model = fit(made).model
    assert model.theta.item() == pytest.approx(2 - (3 + 2 * 5 * 0.3 * 2), abs=1e-5)
    assert model.psi.item() == 3


@pytest.mark.parametrize(("steps", "converges"), [(5, True), (1, True), (0, False)])
def test_unrolling_makes_the_bilinear_game_converge(steps: int, converges: bool) -> None:
    made = recipe(unrolled(steps), phase("critic", 0.05), phase("generator", 0.05, joint=True), steps=400)
    assert (radius(fit(made).model) < 0.05) == converges


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NetConfig(gencore.ModelConfig):
    growth: int = 0


class Net(gencore.Model):
    """A generator, a critic with two heads on one trunk, a second translator, and room to grow."""

    config_class = NetConfig

    def __init__(self, config: NetConfig) -> None:
        super().__init__(config)
        self.generator, self.backward_translator = nn.Linear(2, 2), nn.Linear(2, 2)
        self.critic = nn.ModuleDict({"trunk": nn.Linear(2, 8), "real": nn.Linear(8, 1), "code": nn.Linear(8, 3)})
        self.components = nn.ModuleList()

    def grow(self) -> None:
        self.components.append(nn.Linear(2, 2))


def net_recipe(*stages: gencore.Stage) -> gencore.Recipe:
    return gencore.Recipe(name="toy", model=Net, config=NetConfig(), stages=stages, batch_size=8)


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    return {name.rsplit(".", 1)[0] for name, t in model.state_dict().items() if not torch.equal(before[name], t)}


def start(made: gencore.Recipe, source) -> tuple[gencore.Trainer, dict[str, Tensor]]:
    trainer = gencore.Trainer(made, source, cpu=True)
    return trainer, snapshot(trainer.model)


def test_infogan_trains_a_head_of_the_critic_in_the_generators_phase() -> None:
    def formula(objective, model, name, batch):
        hidden = torch.relu(model.critic["trunk"](model.generator(batch["x"])))
        return F.cross_entropy(model.critic["code"](hidden), batch["index"] % 3)

    own = gencore.Phase(name="generator", parts=("generator", "critic.code", "critic.trunk"))
    trainer, before = start(net_recipe(gencore.Stage(objective=Formula(formula), phases=(own,), steps=1)), ring())
    trainer.fit()
    assert changed(before, trainer.model) == {"generator", "critic.code", "critic.trunk"}


class Pool(Formula):
    """CycleGAN's image pool: it lives in buffers, so that it is checkpointed."""

    def __init__(self, formula) -> None:
        super().__init__(formula)
        self.register_buffer("pool", torch.zeros(4, 2))

    def after_step(self, model, name, seen) -> None:
        super().after_step(model, name, seen)
        self.pool.copy_(torch.cat([self.pool[1:], model.generator.bias.detach()[None]]))


def test_cyclegan_has_two_of_each_a_pool_and_unpaired_data() -> None:
    def formula(objective, model, name, batch):
        there, back = model.generator(batch["x"]), model.backward_translator(batch["x_b"])
        assert batch["x"].shape == batch["x_b"].shape
        cycle = (model.backward_translator(there) - batch["x"]).abs().mean()
        return cycle + (model.generator(back) - batch["x_b"]).abs().mean() + 0 * objective.pool.sum()

    stage = gencore.Stage(
        objective=Pool(formula),
        phases=(gencore.Phase(name="translators", parts=("generator", "backward_translator")),),
        steps=3,
        data=lambda source, model: unpaired(source, ring()),
    )
    trainer, before = start(net_recipe(stage), ring())
    trainer.fit()
    assert changed(before, trainer.model) == {"generator", "backward_translator"}
    assert torch.equal(trainer.state().tensors["objective/pool"][-1], trainer.model.generator.bias)


def test_progan_stages_grow_the_model_and_resume_inside_them() -> None:
    def formula(objective, model, name, batch):
        x = batch["x"]
        for component in model.components:
            x = component(x)
        return x.square().mean()

    def stage(level: int) -> gencore.Stage:
        own = gencore.Phase(name="generator", parts=(f"components.{level}",))
        return gencore.Stage(objective=Formula(formula), phases=(own,), steps=4, begin=Net.grow, name=str(level))

    made = lambda: dataclasses.replace(net_recipe(stage(0), stage(1)), ema=(gencore.EMA(decay=0.5),))
    whole = gencore.Trainer(made(), ring(), cpu=True)
    assert len(whole.fit().components) == 2
    last = whole.model.components[1].bias
    with whole.published() as model:
        averaged = model.components[1].bias.clone()
    assert not torch.equal(averaged, last)

    class Stop:
        def after_step(self, trainer) -> None:
            trainer.stop = "test" if trainer.iteration == 6 else None

    first = gencore.Trainer(made(), ring(), cpu=True, callbacks=(Stop(),))
    first.fit()
    second = gencore.Trainer(made(), ring(), cpu=True)
    second.load_state(first.state())
    second.fit()
    expected = whole.model.state_dict()
    assert all(torch.equal(t, expected[name]) for name, t in second.model.state_dict().items())
    with second.published() as model:
        assert torch.equal(model.components[1].bias, averaged)


def test_adagan_reweights_the_data_by_the_model_so_far() -> None:
    seen = []

    def formula(objective, model, name, batch):
        seen.append(set(batch["index"].tolist()))
        return model.generator(batch["x"]).square().mean()

    def reweight(source, model):
        weights = torch.zeros(len(source))
        weights[5] = 1.0
        return weighted(source, weights)

    own = gencore.Phase(name="generator", parts=("generator",))
    stages = [gencore.Stage(objective=Formula(formula), phases=(own,), steps=1, name=n) for n in ("one", "two")]
    stages[1] = dataclasses.replace(stages[1], data=reweight)
    gencore.Trainer(net_recipe(*stages), ring(), cpu=True).fit()
    assert len(seen[0]) > 1
    assert seen[1] == {5}


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def test_dann_reverses_the_gradient_between_two_streams() -> None:
    """One phase: the head goes down the domain loss, the features go up it."""

    def domain_loss(model, batch, reverse):
        features = torch.cat([model.generator(batch["x"]), model.generator(batch["x_b"])])
        domain = torch.cat([torch.zeros(len(batch["x"])), torch.ones(len(batch["x_b"]))])
        hidden = torch.relu(model.critic["trunk"](reverse(features)))
        return F.binary_cross_entropy_with_logits(model.critic["real"](hidden).squeeze(1), domain)

    gradients = {}
    for name, reverse in (("reversed", Reverse.apply), ("plain", lambda x: x)):
        own = phase("all", 1e-3, parts=("generator", "critic.trunk", "critic.real"))
        stage = gencore.Stage(
            objective=Formula(lambda o, m, n, b, r=reverse: domain_loss(m, b, r)),
            phases=(own,),
            steps=1,
            data=lambda source, model: unpaired(
                source, arrays(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) + 3)
            ),
        )
        trainer, before = start(net_recipe(stage), ring())
        trainer.fit()
        gradients[name] = {k: before[k] - t for k, t in trainer.model.state_dict().items()}
    torch.testing.assert_close(gradients["reversed"]["generator.weight"], -gradients["plain"]["generator.weight"])
    torch.testing.assert_close(gradients["reversed"]["critic.real.weight"], gradients["plain"]["critic.real.weight"])
    assert gradients["plain"]["generator.weight"].abs().sum() > 0


def test_semi_supervision_has_labelled_and_unlabelled_streams() -> None:
    def formula(objective, model, name, batch):
        assert set(batch["index"].tolist()) <= set(range(9))
        assert not set(batch["index_unlabelled"].tolist()) <= set(range(9))
        logits = model.critic["code"](torch.relu(model.critic["trunk"](batch["x"])))
        unlabelled = model.critic["code"](torch.relu(model.critic["trunk"](batch["x_unlabelled"])))
        return F.cross_entropy(logits, batch["label"] % 3) - torch.logsumexp(unlabelled, 1).mean() * 0.1

    own = gencore.Phase(name="critic", parts=("critic.trunk", "critic.code"))
    stage = gencore.Stage(
        objective=Formula(formula),
        phases=(own,),
        steps=2,
        data=lambda source, model: labelled_and_unlabelled(source, torch.arange(9)),
    )
    trainer, before = start(net_recipe(stage), ring())
    trainer.fit()
    assert changed(before, trainer.model) == {"critic.trunk", "critic.code"}


def test_data_position_is_the_iteration() -> None:
    """The core needs no loader state: batch k is a function of (seed, k)."""
    seen = []
    made = lambda steps: recipe(
        lambda o, m, n, b: seen.append(b["index"].tolist()) or m.theta.sum(), phase("generator"), steps=steps
    )
    fit(made(6))
    whole = seen.copy()
    seen.clear()
    first = fit(made(3))
    state = first.state()
    second = gencore.Trainer(made(6), data(), cpu=True)
    second.load_state(state)
    second.fit()
    assert seen == whole
