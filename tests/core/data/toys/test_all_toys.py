"""What every toy promises, each asked in the same way."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import torch

from gencore.data.source import Source, check_batch
from gencore.data.toys.rendered import Rendered

SOURCES = (
    ("dirac", "dirac"),
    ("mixtures", "grid25"),
    ("faces", "faces"),
    ("scenes", "scenes"),
    ("captions", "captions"),
    ("photos", "photos"),
    ("voxels", "voxels"),
    ("showers", "showers"),
    ("jets", "jets"),
    ("tones", "tones"),
    ("tones", "sines"),
    ("diagrams", "diagrams"),
    ("cipher", "cipher"),
)
each = pytest.mark.parametrize(("module", "function"), SOURCES, ids=[function for _, function in SOURCES])


def make(module: str, function: str, *args: object, **kwargs: object) -> Rendered:
    return getattr(importlib.import_module(f"gencore.data.toys.{module}"), function)(*args, **kwargs)


@each
def test_a_source_keeps_the_contract(module: str, function: str) -> None:
    source = make(module, function, 40)
    assert isinstance(source, Source)
    assert len(source) == 40
    batch = source.fetch(torch.tensor([3, 39, 3]))
    check_batch(batch, source.shape)
    assert all(torch.equal(rows[0], rows[2]) for rows in batch.values())
    assert batch["index"].tolist() == [3, 39, 3]
    for condition in source.conditions:
        given = batch[condition.key]
        assert torch.equal(condition.check(given, 3), given)


@each
def test_example_i_depends_on_the_seed_and_i_alone(module: str, function: str) -> None:
    few, many = (make(module, function, n).fetch(torch.arange(7)) for n in (7, 40))
    assert few.keys() == many.keys()
    for key, rows in few.items():
        torch.testing.assert_close(rows, many[key], rtol=1e-6, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}")


@each
def test_seeds_and_splits_differ(module: str, function: str) -> None:
    if function == "dirac":
        return
    drawn = [make(module, function, 12, **given) for given in ({"seed": 0}, {"seed": 1}, {"split": "test"})]
    for i, one in enumerate(drawn):
        assert all(not torch.equal(one.x, other.x) for other in drawn[:i])
    with pytest.raises(ValueError, match="split is 'all'"):
        make(module, function, 12, split="all")


@each
def test_none_is_refused(module: str, function: str) -> None:
    with pytest.raises(ValueError, match="num_examples is 0; expected at least 1"):
        make(module, function, 0)


@each
def test_indices_are_checked(module: str, function: str) -> None:
    with pytest.raises(ValueError, match="indices from 12 to 12"):
        make(module, function, 12).fetch(torch.tensor([12]))


@each
def test_the_global_generator_is_left_alone(module: str, function: str) -> None:
    before = torch.get_rng_state()
    make(module, function, 12)
    assert torch.equal(torch.get_rng_state(), before)


def test_importing_the_package_is_light() -> None:
    script = "import sys, gencore.data.toys; assert not {'torch', 'numpy', 'PIL', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
