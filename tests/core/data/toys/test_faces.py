from __future__ import annotations

import dataclasses

import pytest
import torch

from gencore.data.toys.face_painting import MIRRORED, Faces, landmark_maps, landmarks, paint
from gencore.data.toys.faces import (
    attribute_rows,
    draw_faces,
    faces,
    frontal_pairs,
    identities,
    with_landmark_maps,
)


def some(count: int = 100, **given: object) -> Faces:
    return draw_faces(torch.arange(count), seed=5, **given)


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3), (17, 1)])
def test_the_mirror_image_is_the_face_of_opposite_yaw(size: int, channels: int) -> None:
    drawn = some()
    mirrored = dataclasses.replace(drawn, yaw=-drawn.yaw)
    pictures = [paint(f, size=size, channels=channels) for f in (drawn, mirrored)]
    torch.testing.assert_close(pictures[1], pictures[0].flip(-1), rtol=0, atol=2e-6)
    at, other = landmarks(drawn, size), landmarks(mirrored, size)[:, list(MIRRORED)]
    torch.testing.assert_close(other[..., 0], size - 1 - at[..., 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(other[..., 1], at[..., 1], rtol=0, atol=1e-5)


def test_every_factor_has_a_gradient() -> None:
    values = {f.name: getattr(some(), f.name).requires_grad_() for f in dataclasses.fields(Faces)}
    picture = paint(Faces(**values))
    weights = torch.linspace(-1, 1, picture.numel()).view_as(picture)
    for gradient in torch.autograd.grad((picture * weights).sum(), list(values.values())):
        assert gradient.isfinite().all()
        assert (gradient != 0).float().mean() > 0.99


@pytest.mark.parametrize(
    ("change", "measured"),
    [("skin", 0.24), ("head", 0.18), ("hair", 0.11), ("glasses", 0.065), ("eyes", 0.047), ("age", 0.012)],
)
def test_factors_differ_in_pixels_as_the_docstring_says(change: str, measured: float) -> None:
    def end(value: float) -> Faces:
        drawn = some(400)
        if change in ("age", "glasses"):
            return dataclasses.replace(drawn, **{change: torch.full((400,), max(value, 0.0))})
        identity = drawn.identity.clone()
        identity[:, {"head": 0, "eyes": 1, "skin": 3, "hair": 4}[change]] = value
        return dataclasses.replace(drawn, identity=identity)

    difference = (paint(end(1.0)) - paint(end(-1.0))).abs().mean().item()
    assert abs(difference - measured) < 0.15 * measured


def test_landmark_maps_peak_at_the_landmarks() -> None:
    points = torch.tensor([[[3.0, 12.0], [7.5, 0.0]]])
    maps = landmark_maps(points, 16)
    assert maps.shape == (1, 2, 16, 16)
    assert maps[0, 0, 12, 3] == 1
    assert maps[0, 0].argmax() == 12 * 16 + 3
    one_pixel_off = torch.tensor([-0.5]).exp()
    torch.testing.assert_close(maps[0, 0, 12, 4], one_pixel_off[0])
    torch.testing.assert_close(maps[0, 1, 0, 7], maps[0, 1, 0, 8])


def test_persons_are_shared_by_seeds_only_when_counted() -> None:
    first, second = faces(200, people=5, seed=0), faces(200, people=5, seed=1)
    assert first.num_classes == 5
    assert set(first.further["person"].tolist()) == set(range(5))
    for source in (first, second):
        torch.testing.assert_close(source.further["identity"], identities(source.further["label"]))
    alone = [faces(50, seed=seed).further["identity"] for seed in (0, 1)]
    assert torch.cdist(*alone).min() > 0.05


def test_without_people_the_label_is_the_glasses() -> None:
    source = faces(200)
    assert source.num_classes == 2
    assert torch.equal(source.further["label"].float(), source.further["glasses"])
    assert 70 < source.further["label"].sum() < 130


def test_ranges_narrow_factors_and_keep_the_others() -> None:
    free, narrow = some(300), some(300, ranges={"yaw": (-0.3, 0.3), "glasses": (1, 1), "smile": (0.2, 0.2)})
    torch.testing.assert_close(narrow.yaw, free.yaw * 0.3, rtol=0, atol=1e-6)
    assert (narrow.glasses == 1).all()
    torch.testing.assert_close(narrow.smile, torch.full((300,), 0.2))
    assert torch.equal(narrow.age, free.age)
    assert torch.equal(narrow.identity, free.identity)


def test_attributes_are_scaled_to_0_and_1() -> None:
    drawn = some()
    rows = attribute_rows(drawn, ("jaw", "age", "yaw"))
    torch.testing.assert_close(rows, torch.stack([drawn.opening, drawn.age, (drawn.yaw + 1) / 2], 1))
    assert faces(4, attributes=("smile",)).conditions[1].names == ("smile",)


def test_landmark_maps_become_the_input() -> None:
    batch = with_landmark_maps(faces(4, size=24)).fetch(torch.arange(4))
    assert torch.equal(batch["x_input"], landmark_maps(batch["landmarks"], 24))
    assert with_landmark_maps(faces(4)).conditions[0].shape == (6, 16, 16)


def test_frontal_pairs_differ_in_yaw_alone() -> None:
    source = faces(60, channels=3, ranges={"yaw": (0.4, 1.0)})
    pairs = frontal_pairs(source)
    assert torch.equal(pairs.further["x_input"], source.x)
    facing = frontal_pairs(faces(60, channels=3, ranges={"yaw": (0, 0)}))
    assert torch.equal(pairs.x, facing.x)
    assert torch.equal(facing.x, facing.further["x_input"])
    torch.testing.assert_close(pairs.x, pairs.x.flip(-1), rtol=0, atol=2e-6)
    torch.testing.assert_close(pairs.further["landmarks"][:, 2, 0], torch.full((60,), 7.5))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 7}, "size is 7; expected at least 8"),
        ({"channels": 2}, "channels is 2; expected 1 or 3"),
        ({"people": 0}, "people is 0"),
        ({"ranges": {"yew": (0, 1)}}, "no factor 'yew' of faces. Did you mean 'yaw'"),
        ({"ranges": {"age": (-1, 1)}}, "range of age is"),
        ({"attributes": ("hat",)}, "no factor 'hat'"),
    ],
)
def test_bad_input_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        faces(4, **given)
