"""The judge of faces: reads every factor off a picture."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore.data.toys.face_painting import GREY
from gencore.data.toys.faces import IDENTITY_SEEN, faces

from .training import batch_of, in_parts, noisy, trained

_PARTS = {"glasses": 1, "yaw": 1, "age": 1, "expression": 2, "identity": 5, "landmarks": 12}


class FaceJudge(nn.Module):
    """Pictures (N, 1 or 3, size, size) in [-1, 1] to 22 numbers."""

    def __init__(self, size: int, width: int = 32) -> None:
        super().__init__()
        self.size = size
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(2 * width * (size // 4) ** 2, 256), nn.ReLU(), nn.Linear(256, sum(_PARTS.values())),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 3:
            x = torch.einsum("nchw,c->nhw", x, x.new_tensor(GREY)).unsqueeze(1)
        return self.net(x)

    def parts(self, out: Tensor) -> dict[str, Tensor]:
        """What the 22 numbers mean; glasses is a logit, landmarks are in pixels."""
        split = dict(zip(_PARTS, out.split(list(_PARTS.values()), dim=1), strict=True))
        narrow = {name: split[name][:, 0] for name in ("glasses", "yaw", "age")}
        landmarks = (split["landmarks"].unflatten(1, (6, 2)) + 1) / 2 * self.size - 0.5
        return {**split, **narrow, "landmarks": landmarks}

    def predict(self, x: Tensor) -> dict[str, Tensor]:
        """The factors by name, as gencore.data.toys.faces has them; glasses as a probability."""
        read = self.parts(in_parts(self, x))
        return {**read, "glasses": read["glasses"].sigmoid()}


@functools.cache
def face_judge(size: int = 16, seed: int = 0, steps: int = 700) -> FaceJudge:
    """A judge of faces of `size` pixels. A page whose loss uses such a net is judged by one of another seed."""
    source = faces(24_000, size=size, seed=1000 + seed)
    weights = {"glasses": 1.0, "yaw": 5.0, "age": 10.0, "expression": 2.0, "identity": 5.0, "landmarks": 0.2}

    def loss(net: FaceJudge, step: int) -> Tensor:
        rows = batch_of(len(source), 128, seed, step)
        read = net.parts(net(noisy(source.x[rows], 0.08)))
        total = torch.zeros(())
        for name, weight in weights.items():
            compare = F.binary_cross_entropy_with_logits if name == "glasses" else F.mse_loss
            total = total + weight * compare(read[name], source.further[name][rows])
        return total

    return trained(lambda: FaceJudge(size), loss, steps=steps, seed=seed, lr=3e-3)


def identity_ratio(judged: Tensor, identity: Tensor) -> float:
    """The error of judged identities (N, 5) over the error to another's, on head width, skin and hair: 1 is chance."""
    seen = list(IDENTITY_SEEN)
    own = (judged - identity)[:, seen].abs().mean()
    other = (judged - identity.roll(1, 0))[:, seen].abs().mean()
    return (own / other).item()


def same_person_auc(same: Tensor, other: Tensor) -> float:
    """The probability that a distance in `same` (N,) is less than one in `other` (M,)."""
    return (same[:, None] < other[None]).float().mean().item()
