"""DR-GAN: fusion, classes of the critic, losses, and poses that are obeyed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

import gencore
from gencore.data.toys.face_painting import Faces, paint
from gencore.data.toys.faces import faces
from gencore_translation.attributes.dr_gan import DRGAN, companion, fused
from gencore_translation.attributes.views import in_poses


def tiny() -> DRGAN:
    torch.manual_seed(0)
    model = gencore.create("dr-gan", width=4, code_dim=4, noise_dim=2, critic_width=4, num_people=5)
    assert isinstance(model, DRGAN)
    return model.eval()


def test_fusion_is_the_weighted_mean_and_one_of_identical_pictures_is_itself() -> None:
    f = torch.tensor([[[1.0, 2.0], [4.0, 8.0]]])
    torch.testing.assert_close(fused(f, torch.tensor([[0.5, 0.25]])), torch.tensor([[2.0, 4.0]]))
    model, x = tiny(), torch.rand(3, 1, 16, 16)
    code, weight = model.weighted_code(x)
    assert ((weight > 0) & (weight < 1)).all()
    torch.testing.assert_close(fused(code[:, None].expand(-1, 4, -1), weight[:, None].expand(-1, 4)), code)


def test_a_companion_is_of_the_same_person() -> None:
    label = torch.tensor([0, 1, 0, 2, 1, 0])
    assert torch.equal(label[companion(label)], label)
    torch.manual_seed(0)
    assert len({int(companion(label)[0]) for _ in range(50)}) == 3


def test_made_pictures_are_of_the_class_after_the_last_person() -> None:
    """And the generator's wish is the person and the drawn pose. Losses over a critic of known logits."""
    model, objective = tiny(), gencore.recipe("dr-gan", person_weight=2.0, pose_weight=3.0).stages[0].objective
    persons, poses = torch.randn(4, 6), torch.randn(4, 3)

    class Fixed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return persons, poses

    model.critic = Fixed()  # type: ignore[assignment]
    batch = {"x": torch.rand(4, 1, 16, 16), "label": torch.tensor([0, 1, 4, 1]), "pose": torch.tensor([0, 2, 1, 1])}
    expected = cross_entropy(persons, batch["label"]) + cross_entropy(poses, batch["pose"])
    expected = expected + cross_entropy(persons, torch.full((4,), 5))
    torch.testing.assert_close(objective.loss(model, "critic", batch).total, expected)
    loss = objective.loss(model, "generator", batch)
    torch.testing.assert_close(loss.metrics["person"], cross_entropy(persons, batch["label"]))
    torch.testing.assert_close(loss.total, 2 * loss.metrics["person"] + 3 * loss.metrics["pose"])


def test_toy_faces_become_persons_in_poses() -> None:
    made = in_poses(faces(90), 5, (-0.8, 0.0, 0.8)).fetch(torch.arange(90))
    assert made["label"].unique().tolist() == [0, 1, 2, 3, 4]
    nearest = (made["yaw"][:, None] - torch.tensor([-0.8, 0.0, 0.8])).abs().argmin(1)
    assert torch.equal(nearest, made["pose"])
    assert made["glasses"].max() == 0
    same = made["identity"][made["label"] == 3]
    assert torch.equal(same, same[:1].expand_as(same))


def test_other_data_need_poses() -> None:
    digits = gencore.data.open_source("digits")
    with pytest.raises(gencore.GencoreError, match="pose"):
        gencore.recipe("dr-gan").stages[0].data(digits, None)  # type: ignore[misc]


def test_a_pose_is_a_number() -> None:
    model, x = tiny(), torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(model.translate(x), model.translate(x, to="1"))
    assert not torch.allclose(model.translate(x, to="0"), model.translate(x, to="2"))
    with pytest.raises(gencore.GencoreError, match="to is"):
        model.translate(x, to="3")


def in_pose(batch: dict[str, torch.Tensor], yaw: float) -> torch.Tensor:
    """The true pictures of a batch's faces at a yaw."""
    drawn = Faces(**{field.name: batch[field.name] for field in dataclasses.fields(Faces)})
    return paint(dataclasses.replace(drawn, yaw=torch.full_like(drawn.yaw, yaw)))


@pytest.mark.behaviour
def test_a_face_turns_to_the_pose_that_it_is_asked_for(measured: Any) -> None:
    """The share of turned faces that are nearest, in L1, to the true picture of that face in the pose asked for and not
    to those in the two others, after 220 steps: 0.697, 0.719 at seeds 0, 1; without the generator's pose loss 0.354,
    0.344, where chance is 0.333."""
    poses, shares = (-0.8, 0.0, 0.8), []
    test = in_poses(faces(300, split="test"), 40, poses).fetch(torch.arange(300))
    true = torch.stack([in_pose(test, yaw) for yaw in poses])
    for weight in (1.0, 0.0):
        recipe = gencore.recipe("dr-gan", steps=220, width=16, critic_width=16, pose_weight=weight)
        model = gencore.Trainer(recipe, faces(4000), seed=0, cpu=True).fit().eval()
        with torch.no_grad():
            made = torch.stack([model.translate(test["x"], to=str(pose)) for pose in range(3)])
        nearest = (made[:, None] - true[None]).abs().mean((3, 4, 5)).argmin(1)
        shares.append((nearest == torch.arange(3)[:, None]).float().mean().item())
    measured(
        "dr-gan",
        "faces nearest to the truth in the pose asked for",
        figure=shares[0],
        twin=shares[1],
        bar=0.5,
        better="higher",
    )
