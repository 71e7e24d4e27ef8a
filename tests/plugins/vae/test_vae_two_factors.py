"""The exchange of factors and the translation of domains: partners, routing, hand values, what they refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gencore
from gencore.data import InMemory, arrays, unpaired
from gencore_translation.unpaired.unit import Translation, halves
from gencore_vae.specified_factors_vae import same_class_partner

LABEL = torch.tensor([0, 1, 0, 2, 1, 0])


def images(count: int = 6, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# Specified and unspecified factors


def factors(**overrides: Any) -> tuple[Any, Any]:
    recipe = gencore.recipe(
        "specified-factors-vae", num_classes=3, hidden=(8,), latent_dim=2, specified_dim=3, **overrides
    )
    torch.manual_seed(0)
    return recipe.model(recipe.config), recipe.stages[0].objective


def test_partners_are_others_of_the_class() -> None:
    """Itself only where it is alone; and both others of a class of three are drawn."""
    drawn = torch.stack([same_class_partner(LABEL) for _ in range(50)])
    assert torch.equal(LABEL[drawn], LABEL.expand(50, 6))
    alone = torch.arange(6) == 3
    assert ((drawn == torch.arange(6)) == alone).all()
    assert set(drawn[:, 0].tolist()) == {2, 5}


def test_exchange_routes_gradients() -> None:
    """The critic's loss moves the critic alone; both encoders get the game."""
    model, objective = factors()
    for phase, expected in (("autoencoder", {"specified", "encoder", "decoder", "critic"}), ("critic", {"critic"})):
        model.zero_grad(set_to_none=True)
        objective.loss(model, phase, {"x": images(), "label": LABEL}).total.backward()
        reached = {n for n, part in model.named_children() if any(p.grad is not None for p in part.parameters())}
        assert reached == expected
    recipe = gencore.recipe("specified-factors-vae")
    parts = [phase.parts for phase in recipe.stages[0].phases]
    assert parts == [("specified", "encoder", "decoder"), ("critic",)]


def spied(model: Any) -> list[tuple[Tensor, Tensor]]:
    """What the critic is shown, with its labels; it answers 0."""
    seen: list[tuple[Tensor, Tensor]] = []

    def judge(x: Tensor, *, condition: Tensor) -> Tensor:
        seen.append((x, condition))
        return x.sum((1, 2, 3)) * 0

    model.judge = judge
    return seen


def test_exchange_losses_by_hand() -> None:
    """The swap within the class aims at the image that gave z, the game names the class of the image that gave s; with
    an undecided critic each of its terms is log 2."""
    model, objective = factors(pixel_std=0.5, game_weight=2.0)
    x = images()
    del model.specified, model.encoder
    model.specified = lambda x: LABEL[:, None] + x.flatten(1)[:, :1] * 0
    centre, spread = x[:, 0, 0, :2], torch.full((6, 2), -40.0)
    model.encoder = lambda x: torch.cat([x[:, 0, 0, :2], spread], 1)
    codes: list[Tensor] = []

    def generate(code: Tensor) -> Tensor:
        codes.append(code)
        return x * 0 + code.sum() * 0

    model.generate, seen = generate, spied(model)
    loss = objective.loss(model, "autoencoder", {"x": x, "label": LABEL})
    own, swapped, exchanged, fresh = codes
    torch.testing.assert_close(own[:, 1:], centre)
    torch.testing.assert_close(swapped[:, 1:], centre)
    assert torch.equal(own[:, 0], LABEL)
    assert torch.equal(swapped[:, 0], LABEL)
    torch.testing.assert_close(exchanged[:, 1:], centre)
    assert not torch.allclose(fresh[:, 1:], centre)
    assert all(torch.equal(condition, exchanged[:, 0]) for _, condition in seen)
    assert torch.equal(fresh[:, 0], exchanged[:, 0])
    assert not torch.equal(exchanged[:, 0], LABEL.float())
    error = x.square().flatten(1).sum(1).mean() / (2 * 0.25)
    kl = 0.5 * (centre.square() + math.exp(-40) - 1 + 40).sum(1).mean()
    torch.testing.assert_close(loss.total, 2 * error + kl + 2.0 * 2 * math.log(2))
    model.judge = lambda x, *, condition: x.new_full((len(x),), 30.0)
    won = objective.loss(model, "autoencoder", {"x": x, "label": LABEL}).total
    torch.testing.assert_close(won, 2 * error + kl, msg="a critic that believes every exchange leaves no cost")


def test_exchange_critic_by_hand() -> None:
    """Real images with their labels are to be believed, exchanged ones with the labels of their s are not."""
    model, objective = factors()
    answers = torch.cat([torch.full((6,), 30.0), torch.full((12,), -30.0)])
    seen: list[tuple[Tensor, Tensor]] = []
    model.judge = lambda x, *, condition: (seen.append((x, condition)), answers)[1]
    batch = {"x": images(), "label": LABEL}
    assert objective.loss(model, "critic", batch).total < 1e-6
    shown, condition = seen[0]
    assert torch.equal(shown[:6], batch["x"])
    assert torch.equal(condition[:6], LABEL)
    assert torch.equal(condition[6:12], condition[12:])
    assert torch.equal(condition[12:].sort().values, LABEL.sort().values)
    assert not torch.equal(condition[12:], LABEL)
    answers.neg_()
    assert objective.loss(model, "critic", batch).total.item() == pytest.approx(60)


def test_swap_takes_s_from_one_and_z_from_the_other() -> None:
    model, _ = factors()
    x, other = images(), images(seed=1)
    code = torch.cat([model.encode(other)[:, :3], model.encode(x)[:, 3:]], 1)
    torch.testing.assert_close(model.swap(x, other), model.generate(code))
    torch.testing.assert_close(model.swap(x, x), model.reconstruct(x))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"x": images()}, "no labels"),
        ({"x": images(), "label": LABEL + 1}, "from 1 to 3; expected 0 to 2"),
        ({"x": images(), "label": LABEL.float()}, "integers"),
    ],
)
def test_exchange_refuses_bad_labels(batch: dict[str, Tensor], message: str) -> None:
    model, objective = factors()
    for phase in ("autoencoder", "critic"):
        with pytest.raises(gencore.GencoreError, match=message):
            objective.loss(model, phase, batch)
    with pytest.raises(gencore.GencoreError, match="for a class"):
        model.judge(images())


# UNIT


def unit(**overrides: Any) -> tuple[Any, Translation]:
    recipe = gencore.recipe("unit", width=4, own_width=2, **overrides)
    torch.manual_seed(0)
    return recipe.model(recipe.config), recipe.stages[0].objective  # type: ignore[return-value]


def test_both_domains_go_through_the_same_layers() -> None:
    """The loss of either domain's images alone reaches the shared tensors; the state holds them once."""
    model, _ = unit()
    for domain in (0, 1):
        model.zero_grad(set_to_none=True)
        model.generate_domain(model.encode_domain(images(), domain), domain).sum().backward()
        for shared in (model.shared_encoder, model.shared_decoder):
            assert all(p.grad is not None and bool((p.grad != 0).any()) for p in shared.parameters())
        assert all(p.grad is None for p in model.encoders[1 - domain].parameters())
        assert all(p.grad is None for p in model.decoders[1 - domain].parameters())
    assert len({p.data_ptr() for p in model.parameters()}) == len(model.state_dict())


def test_unit_routes_gradients() -> None:
    recipe = gencore.recipe("unit", width=4, own_width=2)
    model, objective = unit()
    objective.loss(model, "critic", {"x": images(), "x_b": images(seed=1)}).total.backward()
    assert {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None} == {"critics"}
    owned = [phase.parts for phase in recipe.stages[0].phases]
    assert owned == [("encoders", "shared_encoder", "shared_decoder", "decoders"), ("critics",)]


class Told(nn.Module):
    """A two-domain model whose every part answers a constant: codes 2, images 0.5, critics `logit`."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.calls: list[tuple[str, int]] = []
        self.critics = [lambda x: x.flatten(1).mean(1) * 0 + logit] * 2

    def encode_domain(self, x: Tensor, domain: int) -> Tensor:
        self.calls.append(("encode", domain))
        return torch.full((len(x), 3), 2.0)

    def generate_domain(self, z: Tensor, domain: int) -> Tensor:
        self.calls.append(("generate", domain))
        return torch.full((len(z), 1, 8, 8), 0.5)


def test_unit_losses_by_hand() -> None:
    """Images of 0: errors 0.5, the KL of a mean (2, 2, 2) is 6, games log 2; each in both directions. The cycle goes
    through the other domain and back."""
    objective = Translation(game_weight=10.0, kl_weight=0.1, reconstruction_weight=100.0, cycle_weight=50.0)
    model, zero = Told(0.0), torch.zeros(4, 1, 8, 8)
    loss = objective.loss(model, "generator", {"x": zero, "x_b": zero})
    expected = {"kl": 0.6, "reconstruction": 50.0, "game": 10 * math.log(2), "cycle_kl": 0.6, "cycle": 25.0}
    assert {name: value.item() / 2 for name, value in loss.metrics.items()} == pytest.approx(expected)
    assert loss.total.item() == pytest.approx(2 * sum(expected.values()))
    to_b = [("encode", 0), ("generate", 1), ("encode", 1), ("generate", 0)]
    assert model.calls[:4] == to_b
    assert ("encode", 1) in model.calls[5:]
    told = Told(0.0)
    told.critics = [lambda x, logit=logit: x.flatten(1).mean(1) * 0 + logit for logit in (-30.0, 30.0)]
    assert objective._generator(told, zero, 0)["game"] < 1e-6, "the critic of the domain translated to"
    sure = Told(30.0)
    assert objective.loss(sure, "generator", {"x": zero, "x_b": zero}).metrics["game"] < 1e-6
    assert objective.loss(sure, "critic", {"x": zero, "x_b": zero}).total.item() == pytest.approx(60)
    assert objective.loss(model, "critic", {"x": zero, "x_b": zero}).total.item() == pytest.approx(4 * math.log(2))


def test_critics_judge_their_own_domain() -> None:
    """Each critic sees real images of its domain first, then translations into it."""
    model, objective = unit()
    seen: list[Tensor] = []
    del model.critics
    model.critics = [lambda x, d=d: (seen.append(x), x.flatten(1).sum(1) + d)[1] for d in range(2)]
    x, x_b = images(), images(seed=1)
    objective.loss(model, "critic", {"x": x, "x_b": x_b})
    torch.testing.assert_close(seen[0][:6], x_b)
    torch.testing.assert_close(seen[1][:6], x)


def test_domains_by_condition() -> None:
    model, _ = unit()
    x, domain = images(), torch.tensor([0, 1, 0, 1, 1, 0])
    mixed = model.encode(x, condition=domain)
    torch.testing.assert_close(mixed[1], model.encode_domain(x, 1)[1])
    torch.testing.assert_close(mixed[2], model.encode_domain(x, 0)[2])
    torch.testing.assert_close(model.generate(mixed, condition=domain)[3], model.generate_domain(mixed, 1)[3])
    torch.testing.assert_close(model.judge(x, condition=1 - domain)[0], model.critics[1](x)[0])
    torch.testing.assert_close(model.translate(x, 1), model.generate_domain(model.encode_domain(x, 1), 0))
    assert not torch.allclose(model.sample(2, condition=0), model.sample(2, condition=1))
    with pytest.raises(gencore.GencoreError, match="from 0 to 1"):
        model.sample(2, condition=2)
    with pytest.raises(gencore.GencoreError, match="domain is 2"):
        model.translate(x, 2)


def test_halves_have_no_pairs_and_the_second_is_inverted() -> None:
    x = images(10)
    batch = halves(arrays(x)).fetch(torch.arange(5))
    torch.testing.assert_close(batch["x"], x[batch["index"]])
    torch.testing.assert_close(batch["x_b"], -x[batch["index_b"]])
    assert not set(batch["index"].tolist()) & set(batch["index_b"].tolist())


def test_unit_takes_two_given_domains_and_refuses_one() -> None:
    recipe = gencore.recipe("unit", width=4, own_width=2, steps=1, batch_size=4, second_domain="given")
    pair = unpaired(arrays(images(8)), arrays(images(8, seed=1)))
    gencore.Trainer(recipe, pair, cpu=True).fit()
    with pytest.raises(gencore.GencoreError, match="unpaired"):
        gencore.Trainer(recipe, arrays(images(8)), cpu=True).fit()
    bad = InMemory(x=torch.where(images(8) > 0.9, math.nan, images(8)))
    with pytest.raises(gencore.GencoreError, match="NaN"):
        gencore.Trainer(gencore.recipe("unit", width=4, own_width=2, steps=2, batch_size=4), bad, cpu=True).fit()


@pytest.mark.parametrize(
    ("system", "argument", "value"),
    [
        ("unit", "second_domain", "colour"),
        ("unit", "data_shape", (1, 28, 28)),
        ("unit", "cycle_weight", -1.0),
        ("unit", "own_width", 0),
        ("unit", "downsamplings", 4),
        ("specified-factors-vae", "game_weight", -1.0),
        ("specified-factors-vae", "pixel_std", 0.0),
        ("specified-factors-vae", "specified_dim", 0),
        ("specified-factors-vae", "num_classes", 1),
    ],
)
def test_bad_arguments(system: str, argument: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=argument):
        gencore.recipe(system, **{argument: value})
