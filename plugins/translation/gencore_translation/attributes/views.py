"""What the pages of this folder make of their data: two sets by label, persons in poses, persons' frames.

The toy faces (gencore.data.toys.faces) show a new person on every picture. Pages that need several pictures of a person
paint the same pictures anew, as those of few persons; other sources are taken as they are, with what they say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gencore.conditions import ClassLabel
from gencore.data import subset, unpaired
from gencore.data.by_class import labels_of, of_classes
from gencore.data.source import Batch
from gencore.data.toys.face_painting import Faces, landmarks, paint
from gencore.data.toys.faces import frontal_pairs, identities, with_landmark_maps
from gencore.data.toys.rendered import Rendered
from gencore.data.views import View
from gencore.errors import GencoreError


def with_and_without(source: Any, model: Any) -> Any:
    """A stage's view: x, the pictures of class 1, beside x_b, those of class 0; two streams are taken as they are."""
    if "x_b" in source.fetch(torch.zeros(1, dtype=torch.int64)):
        return source
    if source.num_classes != 2:
        raise GencoreError(
            f"{source.name} has {source.num_classes} classes; expected 2: pictures without the object, and with it."
        )
    return unpaired(of_classes(source, (1,)), of_classes(source, (0,)))


def is_toy(source: Any) -> bool:
    """Whether a source is one of drawn faces, whose factors can be changed."""
    return isinstance(source, Rendered) and {field.name for field in dataclasses.fields(Faces)} <= set(source.further)


def repainted(source: Rendered, people: int, **factors: Tensor) -> Rendered:
    """Toy faces painted anew with some `factors` changed, as pictures of `people` persons: picture i shows person
    i % people, unless the source has the persons as labels already. `label` is the person."""
    labelled = torch.equal(source.further["label"], source.further["person"])
    person = source.further["person"] if labelled else torch.arange(len(source)) % people
    if int(person.max()) >= people:
        raise GencoreError(f"{source.name} shows person {int(person.max())}; expected persons below {people}.")
    drawn = Faces(**{field.name: source.further[field.name] for field in dataclasses.fields(Faces)})
    drawn = dataclasses.replace(drawn, identity=identities(person), **factors)
    channels, size, _ = source.shape
    changed: Mapping[str, Tensor] = {
        **{field.name: getattr(drawn, field.name) for field in dataclasses.fields(drawn)},
        "person": person,
        "label": person,
        "landmarks": landmarks(drawn, size),
    }
    kept = {name: rows for name, rows in source.further.items() if name not in ("attributes", "x_input")}
    return dataclasses.replace(
        source,
        x=paint(drawn, size=size, channels=channels),
        further={**kept, **changed},
        num_classes=people,
        conditions=(ClassLabel(count=people),),
    )


def in_poses(source: Any, people: int, poses: tuple[float, ...]) -> Any:
    """Pictures whose `label` is the person and whose `pose` is a place in `poses`.

    Toy faces are painted anew, without glasses, with a yaw of one of `poses` and 0.1 about it. Raises GencoreError for
    another source without the key `pose`, or with another number of classes than `people`.
    """
    if is_toy(source):
        pose = (torch.arange(len(source)) // people) % len(poses)
        yaw = torch.tensor(poses)[pose] + 0.1 * source.further["yaw"]
        made = repainted(source, people, yaw=yaw.clamp(-1, 1), glasses=torch.zeros(len(source)))
        return dataclasses.replace(made, further={**made.further, "pose": pose})
    if "pose" not in getattr(source, "keys", ()) or source.num_classes != people:
        raise GencoreError(
            f"{source.name} has {source.num_classes} classes and keys {tuple(getattr(source, 'keys', ()))}; expected "
            f"{people} persons as classes (num_people) and a key `pose`, (N,) int64 from 0 to {len(poses) - 1}."
        )
    return source


class Episodes(View):
    """Each example beside `shots` others of its class: frames (N, K, C, H, W), and their inputs frame_maps.

    Those of the example at rank r of its class are the ones at ranks r + 1 ... r + K, from the start again.
    """

    def __init__(self, source: Any, label: Tensor, shots: int) -> None:
        super().__init__(source)
        self.others = torch.empty(len(label), shots, dtype=torch.int64)
        for kind in label.unique():
            members = (label == kind).nonzero()[:, 0]
            if len(members) <= shots:
                raise GencoreError(f"{source.name} has {len(members)} pictures of class {int(kind)}, not {shots + 1}.")
            steps = torch.arange(len(members))[:, None] + torch.arange(1, shots + 1)
            self.others[members] = members[steps % len(members)]

    @property
    def keys(self) -> tuple[str, ...]:
        return (*super().keys, "frames", "frame_maps")

    def fetch(self, indices: Tensor) -> Batch:
        others = self.others[indices]
        beside = self.source.fetch(others.flatten())
        frames, maps = (beside[key].unflatten(0, tuple(others.shape)) for key in ("x", "x_input"))
        return {**self.source.fetch(indices), "frames": frames, "frame_maps": maps}


def few_pairs(source: Any, paired: int) -> Any:
    """Pairs (x, x_input) as two streams: the first `paired` of them over and over, and all, to be used without what
    belongs together (x_b, x_input_b)."""
    return unpaired(subset(source, torch.arange(min(paired, len(source)))), source)


def in_age_groups(source: Any, groups: int) -> Any:
    """Pictures whose `label` is the age group; toy faces get it from their age, in `groups` equal parts of [0, 1].

    Raises GencoreError for another source with another number of classes.
    """
    if is_toy(source):
        label = (source.further["age"] * groups).long().clamp(0, groups - 1)
        return dataclasses.replace(
            source,
            further={**source.further, "label": label},
            num_classes=groups,
            conditions=(ClassLabel(count=groups), *source.conditions[1:]),
        )
    if source.num_classes != groups:
        raise GencoreError(
            f"{source.name} has {source.num_classes} classes; expected {groups} age groups (num_groups)."
        )
    return source


def profiles(source: Any, paired: int) -> Any:
    """Few pairs of a photograph x_input and the frontal view x, beside all photographs and frontal views, unrelated.

    Toy faces with a yaw of 0.4 and more are painted anew as pairs; other data come as pairs.
    """
    if is_toy(source) and "x_input" not in source.further:
        turned = source.further["yaw"].abs() >= 0.4
        if not turned.any():
            raise GencoreError(f"{source.name} has no face with a yaw of 0.4 and more: nothing to turn to the front.")
        return few_pairs(subset(frontal_pairs(source), turned.nonzero()[:, 0]), paired)
    return few_pairs(source, paired)


def talking(source: Any, people: int, shots: int) -> Any:
    """Episodes of persons: a frame x, its landmarks' maps x_input, the person `label`, and `shots` other frames.

    Toy faces are painted anew as frames of `people` persons of one age, without glasses; other data have landmark maps
    as x_input and `people` classes.
    """
    if is_toy(source) and "x_input" not in source.further:
        still = {"age": torch.full((len(source),), 0.2), "glasses": torch.zeros(len(source))}
        source = with_landmark_maps(repainted(source, people, **still))
    if source.num_classes != people:
        raise GencoreError(f"{source.name} has {source.num_classes} classes; expected {people} persons (num_people).")
    return Episodes(source, labels_of(source), shots)
