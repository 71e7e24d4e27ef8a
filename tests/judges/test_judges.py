"""The judges judge: each against held-out pictures, and each beside itself untrained, which must miss the bar.

Measured at seed 0 (one thread; of the digits seeds 0 and 1):
face_judge, 700 steps, 11 CPU-s     glasses 1.000; yaw MAE 0.034; age 0.071; landmarks 0.23 px; same-person AUC 0.992
digit_classifier, 1.5 CPU-s         0.980, 0.982 at 8 x 8; 0.975 at 16 x 16
vowels: 0.988 within their formants, white noise 0.275
showers 0.997, jets 1.000, voxels 0.994, about 1 CPU-s each
"""

from __future__ import annotations

import dataclasses

import pytest
import torch

from gencore.data import digits
from gencore.data.toys.captions import captions
from gencore.data.toys.face_painting import landmarks, paint
from gencore.data.toys.faces import draw_faces, faces, identities
from gencore.data.toys.jets import jets
from gencore.data.toys.showers import showers
from gencore.data.toys.vowels import vowel_waves
from gencore.data.toys.voxels import voxels
from tests.judges.captions import drawn_box
from tests.judges.classifiers import digit_classifier, jet_classifier, shower_classifier, voxel_classifier
from tests.judges.faces import FaceJudge, face_judge, identity_ratio, same_person_auc
from tests.judges.formants import within_a_vowel


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_scores_by_hand() -> None:
    assert same_person_auc(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0])) == 0.75
    identity = identities(torch.arange(50))
    assert identity_ratio(identity, identity) == 0
    assert abs(identity_ratio(identities(torch.arange(50, 4050)), identities(torch.arange(4000))) - 1) < 0.05


def test_the_drawn_box_is_the_box() -> None:
    source = captions(500, free=True)
    away = (drawn_box(source.x) - source.further["box"]).abs()
    assert away.mean() < 0.4
    assert away.max() < 1.6


def face_scores(judge: FaceJudge) -> dict[str, float]:
    source = faces(2000, seed=77)
    read, true = judge.predict(source.x), source.further
    index = torch.arange(1000)
    person = identities(index, seed=5)
    twice = [dataclasses.replace(draw_faces(index, seed=seed), identity=person) for seed in (8, 9)]
    first, second = (judge.predict(paint(drawn))["identity"] for drawn in twice)
    return {
        "glasses": ((read["glasses"] > 0.5).float() == true["glasses"]).float().mean().item(),
        "yaw": (read["yaw"] - true["yaw"]).abs().mean().item(),
        "age": (read["age"] - true["age"]).abs().mean().item(),
        "landmarks": (read["landmarks"] - true["landmarks"]).norm(dim=2).mean().item(),
        "auc": same_person_auc((first - second).norm(dim=1), (first - second.roll(1, 0)).norm(dim=1)),
    }


@pytest.mark.xdist_group("face-judge")
@pytest.mark.behaviour
def test_the_face_judge_reads_every_factor() -> None:
    score, untrained = face_scores(face_judge()), face_scores(FaceJudge(16))
    print(score, untrained)
    assert score["glasses"] > 0.99 > untrained["glasses"]
    assert score["yaw"] < 0.05 < untrained["yaw"]
    assert score["age"] < 0.08 < untrained["age"]
    assert score["landmarks"] < 0.4 < untrained["landmarks"]
    assert score["auc"] > 0.97 > untrained["auc"]


@pytest.mark.xdist_group("face-judge")
@pytest.mark.behaviour
def test_the_face_judge_reads_colour_and_is_the_same_twice() -> None:
    drawn = draw_faces(torch.arange(50), seed=3)
    grey, colour = (face_judge().predict(paint(drawn, channels=c))["landmarks"] for c in (1, 3))
    torch.testing.assert_close(grey, colour, rtol=0, atol=1e-2)
    assert (grey - landmarks(drawn)).norm(dim=2).mean() < 0.4
    assert face_judge() is face_judge()


@pytest.mark.behaviour
def test_digits_are_named() -> None:
    for size in (8, 16):
        held_out = digits("test", None if size == 8 else size)
        accuracy = digit_classifier(size).accuracy(held_out.x, held_out.label)
        print(size, accuracy)
        assert accuracy > 0.96
    assert digit_classifier().features(held_out.x[:3, :, ::2, ::2]).shape == (3, 64)


@pytest.mark.behaviour
@pytest.mark.parametrize(
    ("judge", "toy"), [(shower_classifier, showers), (jet_classifier, jets), (voxel_classifier, voxels)]
)
def test_particles_prongs_and_solids_are_named(judge: object, toy: object) -> None:
    held_out = toy(2000, split="test")
    accuracy = judge().accuracy(held_out.x, held_out.further["label"])
    print(accuracy)
    assert accuracy > 0.98


def test_formants_are_those_of_the_vowel_and_not_of_noise() -> None:
    clips = vowel_waves(80, split="test").fetch(torch.arange(80))
    assert within_a_vowel(clips["x"][:, 0], clips["label"]).float().mean() > 0.95
    noise = torch.randn(80, 2240, generator=torch.Generator().manual_seed(0))
    assert within_a_vowel(noise, torch.arange(80) % 4).float().mean() < 0.5
