"""IAN: an encoder on the critic's trunk, three kinds, odd orthogonality, and edits that leave the rest alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

import gencore
from gencore.data import digits
from gencore.errors import GencoreError
from gencore_vae.ian import GENERATED, REAL, RECONSTRUCTED, orthogonality
from tests.plugins.default_sampler import draws_nearer


def made(**arguments: Any) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    recipe = gencore.recipe("ian", hidden=(16,), latent_dim=3, **arguments)
    return recipe.model(recipe.config), recipe.stages[0].objective, {"x": torch.rand(6, 1, 8, 8) * 2 - 1}


def test_the_encoder_is_heads_on_the_critics_trunk() -> None:
    """It has no parameters but the heads', moves with the trunk, and sends it no gradient."""
    model, objective, batch = made()
    assert [tuple(p.shape) for p in model.encoder.parameters()] == [(6, 16), (6,)]
    before = model.encode(batch["x"]).mean
    model.critic["trunk"][1][0].bias.data += 1
    assert not torch.allclose(model.encode(batch["x"]).mean, before)
    model.encode(batch["x"]).mean.sum().backward()
    assert all(p.grad is None for p in model.critic.parameters())
    assert all(p.grad is not None for p in model.encoder.parameters())
    trunk = {k: v.clone() for k, v in model.critic.state_dict().items()}
    phase = gencore.recipe("ian").stages[0].phases[2]
    assert phase.parts == ("encoder",)
    optimizer = phase.optimizer.build(model.encoder.parameters())
    model.zero_grad()
    objective.loss(model, "encoder", batch).total.backward()
    optimizer.step()
    assert all(torch.equal(trunk[k], v) for k, v in model.critic.state_dict().items())


def test_orthogonality() -> None:
    """sum |W W' - I|: 0 for orthonormal rows, and not for longer ones; [[1, 1], [0, 2]] gives [[1, 2], [2, 3]]."""
    assert orthogonality([torch.eye(3)[:2]]).item() == 0
    assert orthogonality([2 * torch.eye(2)]).item() == 6
    assert orthogonality([torch.tensor([[1.0, 1.0], [0.0, 2.0]]), torch.eye(2)]).item() == 8


def test_losses_by_hand() -> None:
    weights = {"pixel_weight": 2.0, "feature_weight": 0.7, "adversarial_weight": 0.3, "kl_weight": 0.4}
    model, objective, batch = made(orthogonal_weight=0.01, **weights)
    x, trunk = batch["x"], model.critic["trunk"]
    losses = {}
    for phase in ("critic", "decoder", "encoder"):
        torch.manual_seed(1)
        losses[phase] = objective.loss(model, phase, batch).total
    mean, log_variance = model.encoder(trunk(x)).chunk(2, 1)

    def drawn(eps: torch.Tensor) -> torch.Tensor:
        return model.decoder(mean + (log_variance / 2).exp() * eps)

    def likeness(rebuilt: torch.Tensor) -> torch.Tensor:
        return 2 * (rebuilt - x).abs().mean() + 0.7 * (trunk(rebuilt) - trunk(x)).square().mean()

    def cost(image: torch.Tensor, kind: int) -> torch.Tensor:
        return cross_entropy(model.critic["kinds"](trunk(image)), torch.full((6,), kind))

    torch.manual_seed(1)
    new = model.decoder(torch.randn(6, 3))
    rebuilt = drawn(torch.randn(6, 1, 3)[:, 0])
    expected = cost(x, REAL) + cost(new, GENERATED) + cost(rebuilt, RECONSTRUCTED)
    torch.testing.assert_close(losses["critic"], expected)
    torch.manual_seed(1)
    rebuilt, new = drawn(torch.randn(6, 1, 3)[:, 0]), model.decoder(torch.randn(6, 3))
    linear = [model.decoder[0][0].weight, model.decoder[0][2].weight]
    game = 0.3 * (cost(new, REAL) + cost(rebuilt, REAL))
    torch.testing.assert_close(losses["decoder"], likeness(rebuilt) + game + 0.01 * orthogonality(linear))
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
    torch.testing.assert_close(losses["encoder"], likeness(rebuilt) + 0.4 * kl)


def test_judgement_is_the_odds_of_real() -> None:
    model, _, batch = made()
    share = model.kinds(batch["x"]).softmax(1)[:, REAL]
    torch.testing.assert_close(model.judge(batch["x"]).sigmoid(), share)


def test_edits() -> None:
    """No change of the code returns the image to the bit; outside the mask nothing changes; inside, by hand."""
    model, _, batch = made()
    x = batch["x"]
    with torch.no_grad():
        z = model.encode(x).mean
        assert torch.equal(model.edit(x, z, torch.ones(1, 8, 8)), x)
        mask = torch.zeros(1, 8, 8)
        mask[:, 2:5] = 1
        edited = model.edit(x, z + 1, mask)
        assert torch.equal(edited[:, :, 5:], x[:, :, 5:])
        by_hand = (x + model.decoder(z + 1) - model.decoder(z)).clamp(-1, 1)
        torch.testing.assert_close(edited[:, :, 2:5], by_hand[:, :, 2:5])
        with pytest.raises(GencoreError, match="mask"):
            model.edit(x, z, torch.ones(1, 5, 5))


@pytest.mark.behaviour
def test_the_decoder_fights_the_ternary_critic(measured) -> None:
    """700 steps, seed 0: 0.505, and 0.674 where the decoder does not fight (chance is 0.333); held-out error 0.084 and
    0.078."""
    figures = []
    for arguments in ({}, {"adversarial_weight": 0.0}):
        recipe = gencore.recipe("ian", steps=700, **arguments)
        model = gencore.Trainer(recipe, digits("train"), seed=0, cpu=True).fit().eval()
        x, objective = digits("test").x, recipe.stages[0].objective
        torch.manual_seed(0)
        with torch.no_grad():
            figures.append(objective.loss(model, "critic", {"x": x}).metrics["accuracy"].item())
            error = (model.reconstruct(x) - x).square().mean().item()
        assert error < 0.15
        draws_nearer(model, x)
    assert figures[0] > 0.36
    measured(
        "ian",
        "share of held-out real, drawn and rebuilt digits that the critic tells apart, of three kinds",
        figure=figures[0],
        twin=figures[1],
        bar=0.6,
        better="lower",
    )
