"""Both players at once, and a bill for how hard they pull (Mescheder, Nowozin & Geiger 2017, arXiv:1705.10461).

With v the stacked gradients of each player's own loss in its own parameters w = (theta, psi),
    L(w) = 1/2 ||v(w)||^2,   step along v + weight grad_w L                    (section 4, Algorithm 2)
The paper writes v as the players' ascent directions; here it is made of losses, which turns its sign and leaves L.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gencore.adversarial.losses import AdversarialLosses
from gencore.adversarial.objective import condition_of
from gencore.config import check
from gencore.noise import GlobalNoise
from gencore.objective import Loss, Objective


def half_squared_length(field: Sequence[Tensor]) -> Tensor:
    """1/2 ||v||^2 of a vector in pieces."""
    return 0.5 * torch.stack([piece.square().sum() for piece in field]).sum()


def along(field: Sequence[Tensor], parameters: Sequence[Tensor]) -> Tensor:
    """A scalar of value 0 whose gradient in `parameters` is `field`, piece by piece."""
    linear = torch.stack([(v.detach() * p).sum() for v, p in zip(field, parameters, strict=True)]).sum()
    return linear - linear.detach()


def consensus(losses: Sequence[Tensor], players: Sequence[nn.Module], *, weight: float, game: bool = True) -> Loss:
    """A loss whose gradient is v + weight grad 1/2 ||v||^2, from each player's loss; its value is all that is paid.

    `game` False leaves v out, the "full relaxation", which is drawn to every stationary point, saddles and maxima too.
    """
    owned = [list(player.parameters()) for player in players]
    field = [
        piece
        for loss, parameters in zip(losses, owned, strict=True)
        for piece in torch.autograd.grad(loss, parameters, create_graph=True)
    ]
    length = half_squared_length(field)
    total = weight * length
    if game:
        total = total + along(field, [p for parameters in owned for p in parameters])
    total = total + torch.stack([loss.detach() for loss in losses]).sum()
    return Loss(total, {"half_squared_length": length.detach()})


class ConsensusAdversarial(Objective):
    """One joint phase "players" of the parts "generator" and "critic", on the same real and generated examples.

    Logs `real` and `fake`, and `half_squared_length`: of the joint gradient, 0 where nobody wants to move; lower is
    better.
    """

    double_backward = ("generator", "critic")

    def __init__(self, losses: AdversarialLosses, *, weight: float) -> None:
        super().__init__()
        check(weight >= 0, "weight", weight, "0 or more")
        self.losses, self.weight = losses, weight

    def players(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"] and as many new examples."""
        real, condition = batch["x"], condition_of(model, batch)
        fake = model.generate(model.draw_prior(GlobalNoise.like(real)), condition=condition)
        judged_real = model.judge(real, condition=condition).float()
        judged_fake = model.judge(fake, condition=condition).float()
        losses = (self.losses.generator(judged_fake), self.losses.critic(judged_real, judged_fake))
        loss = consensus(losses, (model.generator, model.critic), weight=self.weight)
        judged = {"real": judged_real.detach().mean(), "fake": judged_fake.detach().mean()}
        return loss._replace(metrics={**loss.metrics, **judged})
