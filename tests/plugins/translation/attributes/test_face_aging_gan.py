"""acGAN: age groups, the recovery of codes, and a search that brings a face's features nearer."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

import gencore
from gencore.data.toys.face_painting import Faces, paint
from gencore.data.toys.faces import faces
from gencore_translation.attributes.face_aging_gan import FaceAgingGAN
from gencore_translation.attributes.views import in_age_groups
from tests.plugins.default_sampler import draws_nearer


def tiny(**fields: object) -> FaceAgingGAN:
    torch.manual_seed(0)
    model = gencore.create("face-aging-gan", latent_dim=4, width=4, **fields)
    assert isinstance(model, FaceAgingGAN)
    return model.eval()


def test_groups_are_equal_parts_of_the_ages() -> None:
    batch = in_age_groups(faces(200), 4).fetch(torch.arange(200))
    assert torch.equal(batch["label"], (batch["age"] * 4).floor().long())
    assert batch["label"].unique().tolist() == [0, 1, 2, 3]
    with pytest.raises(gencore.GencoreError, match="num_groups"):
        in_age_groups(gencore.data.open_source("digits"), 6)


def test_the_search_never_ends_farther_off_in_features_and_keeps_the_group() -> None:
    model, x = tiny(search_steps=5), faces(3).x
    group = torch.tensor([0, 5, 2])
    found = model.search(x, group)
    assert (found.loss <= found.first_loss).all()
    assert (found.loss < 0.99 * found.first_loss).any()
    torch.testing.assert_close(found.x, model.generate(found.z, condition=group))
    gap = (model.reader(found.x) - model.reader(x)).square().sum(1)
    torch.testing.assert_close(found.loss, gap + 0.01 * found.z.square().sum(1), rtol=1e-3, atol=1e-4)
    pixels = model.search(x, group, pixels=True)
    gap = (pixels.x - x).square().flatten(1).sum(1)
    torch.testing.assert_close(pixels.loss, gap + 0.01 * pixels.z.square().sum(1), rtol=1e-3, atol=1e-4)


def test_without_steps_the_code_is_the_encoders() -> None:
    model, x = tiny(search_steps=0), faces(3).x
    torch.testing.assert_close(model.search(x, torch.tensor([0, 1, 2])).z, model.encode(x))


def test_a_face_of_the_generators_own_is_of_the_group_that_it_was_made_for() -> None:
    """With an encoder that knows the code."""
    model = tiny()
    z, group = torch.randn(5, 4), torch.tensor([0, 1, 2, 4, 5])
    x = model.generate(z, condition=group).detach()
    model.encode = lambda x, condition=None: z  # type: ignore[method-assign]
    assert torch.equal(model.group_of(x), group)


def test_the_encoder_is_held_to_the_code_that_was_drawn() -> None:
    model, objective = tiny(), gencore.recipe("face-aging-gan").stages[1].objective
    batch = {"x": torch.zeros(6, 1, 16, 16)}
    torch.manual_seed(3)
    loss = objective.loss(model, "encoder", batch).total
    torch.manual_seed(3)
    z = torch.randn(6, 4)
    made = model.generate(z, condition=torch.randint(6, (6,)))
    torch.testing.assert_close(loss, (model.encode(made) - z).square().mean())


def test_the_critic_and_the_generator_see_the_group() -> None:
    model, x, z = tiny(), torch.rand(2, 1, 16, 16), torch.randn(2, 4)
    zero, one = torch.tensor([0, 0]), torch.tensor([1, 1])
    assert not torch.allclose(model.judge(x, condition=zero), model.judge(x, condition=one))
    assert not torch.allclose(model.generate(z, condition=zero), model.generate(z, condition=one))
    with pytest.raises(gencore.GencoreError, match="age group"):
        model.judge(x)


SPANS = {"yaw": (-0.3, 0.3), "glasses": (0.0, 0.0), "smile": (-0.3, 0.3), "jaw": (-0.3, 0.3)}


def aged_along_the_truth(model: FaceAgingGAN) -> float:
    """The mean change of generated faces from the youngest to the oldest group, along that of true faces: 1 is the
    truth, 0 no change of that kind."""
    people = faces(500, split="test", ranges=SPANS).further
    drawn = Faces(**{field.name: people[field.name] for field in dataclasses.fields(Faces)})
    young, old = (paint(dataclasses.replace(drawn, age=torch.full((500,), age / 12))).mean(0) for age in (1, 11))
    z = torch.randn(500, model.config.latent_dim, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ends = [model.generate(z, condition=torch.full((500,), group)).mean(0) for group in (0, 5)]
    return (((ends[1] - ends[0]) * (old - young)).sum() / (old - young).square().sum()).item()


@pytest.mark.behaviour
def test_a_face_grows_old(measured: Any) -> None:
    """500 steps of the game. The twin's faces have the ages of others as their groups, so its critic cannot tell.
    0.979 and 0.070. The search for the code of a given face is held by unit tests."""
    source, changes = faces(4000, ranges=SPANS), []
    others = source.further["age"][torch.randperm(4000, generator=torch.Generator().manual_seed(0))]
    mixed = dataclasses.replace(source, further={**source.further, "age": others})
    recipe = gencore.recipe("face-aging-gan", steps=500, width=16)
    recipe = dataclasses.replace(recipe, stages=recipe.stages[:1])
    for data in (source, mixed):
        model = gencore.Trainer(recipe, data, seed=0, cpu=True).fit().eval()
        changes.append(aged_along_the_truth(model))
        if data is source:
            draws_nearer(model, source.x)
    measured(
        "face-aging-gan",
        "change of a face from the youngest to the oldest group along the true one",
        figure=changes[0],
        twin=changes[1],
        bar=0.4,
        better="higher",
    )
