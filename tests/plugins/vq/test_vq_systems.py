"""The systems of the family: what they save, what they refuse, and their prior over several books."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

import gencore
from gencore.config import from_json
from gencore.data import InMemory
from gencore.errors import GencoreError, NonFiniteError
from gencore_vq.parts.prior import CodePrior, code_nats
from gencore_vq.vq_vae import GroupedBooks, ResidualBooks, SingleBook, VectorQuantization, VQVAEConfig

SMALL = {"data_shape": [1, 8, 8], "width": 4, "prior_width": 8, "prior_layers": 1}
IMAGE_SYSTEMS = ("vq-vae", "grouped-vq-vae", "residual-vq-vae", "cosine-vq-vae")


def test_the_vq_vae_of_version_1_still_loads() -> None:
    """A config written before there were books, and the names of its tensors, which published weights have."""
    written = {
        "data_shape": [1, 8, 8], "num_codes": 16, "code_dim": 4, "width": 8, "residual_blocks": 1, "update": "ema",
        "prior_width": 8, "prior_layers": 1, "num_classes": None,
    }  # fmt: skip
    config = from_json(VQVAEConfig, written, version=1)
    model = gencore.recipe("vq-vae").model(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert {name.split(".")[0] for name in shapes} == {"encoder", "codebook", "decoder", "prior"}
    assert shapes["codebook.vectors"] == shapes["codebook.sums"] == (16, 4)
    assert shapes["codebook.counts"] == (16,)
    assert shapes["encoder.4.weight"] == (4, 8, 1, 1)
    assert shapes["prior.code.weight"] == shapes["prior.logits.weight"] == (16, 8)
    assert len(shapes) == 40


@pytest.mark.parametrize("system", IMAGE_SYSTEMS)
def test_codes_fit_their_own_decoder(system: str) -> None:
    model = gencore.create(system, **SMALL).eval()
    codes = model.encode(torch.rand(3, 1, 8, 8) * 2 - 1)
    assert codes.shape == (3, *model.config.code_shape)
    assert model.generate(codes).shape == (3, 1, 8, 8)
    assert model.prior.length == codes[0].numel()


@pytest.mark.parametrize("system", IMAGE_SYSTEMS)
def test_codes_that_do_not_fit_are_refused(system: str) -> None:
    model = gencore.create(system, **SMALL).eval()
    shape, top = model.config.code_shape, model.config.num_codes
    with pytest.raises(GencoreError, match=f"0 to {top - 1}"):
        model.generate(torch.full((2, *shape), top))
    with pytest.raises(GencoreError, match="integers"):
        model.generate(torch.zeros(2, *shape))
    with pytest.raises(GencoreError, match="expected"):
        model.generate(torch.zeros(2, *shape[:-1], 3, dtype=torch.int64))


def test_a_residual_model_takes_the_first_books_alone() -> None:
    model = gencore.create("residual-vq-vae", **SMALL, books=3).eval()
    codes = model.encode(torch.rand(3, 1, 8, 8) * 2 - 1)
    partial = model.decoder(model.codebook.books[0].lookup(codes[:, 0]) + model.codebook.books[1].lookup(codes[:, 1]))
    torch.testing.assert_close(model.generate(codes[:, :2]), partial)
    for wrong in (codes[:, :0], torch.cat([codes, codes], 1)):
        with pytest.raises(GencoreError, match=r"expected \(N, [13], 2, 2\)"):
            model.generate(wrong)


@pytest.mark.parametrize("system", [*IMAGE_SYSTEMS, "speech-vq-vae"])
def test_nan_latents_have_no_code(system: str) -> None:
    model = gencore.recipe(system).model(gencore.recipe(system).config).eval()
    x = torch.zeros(3, *model.config.data_shape)
    x[1, 0, 0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="latents of 1 of 3 examples"):
        model.encode(x)


@pytest.mark.parametrize("system", [*IMAGE_SYSTEMS, "speech-vq-vae"])
def test_data_of_another_shape_or_type_are_refused(system: str) -> None:
    """A convolution would take another size; bytes must be scaled."""
    model = gencore.recipe(system).model(gencore.recipe(system).config).eval()
    channels, height, width = model.config.data_shape
    with pytest.raises(GencoreError, match=rf"\(3, {channels}, {height}, {2 * width}\).*expected floating point"):
        model.encode(torch.zeros(3, channels, height, 2 * width))
    with pytest.raises(GencoreError, match=r"uint8.*x / 127.5 - 1"):
        model.encode(torch.zeros(3, channels, height, width, dtype=torch.uint8))


@pytest.mark.parametrize(("x", "message"), [(torch.full((8, 1, 8, 8), 200.0), "127.5"), (torch.nan, "NaN")])
def test_training_refuses_bad_images(x: Any, message: str) -> None:
    images = torch.full((8, 1, 8, 8), x) if isinstance(x, float) else x
    recipe = gencore.recipe("vq-vae", width=4, steps=1, batch_size=8)
    with pytest.raises(GencoreError, match=message):
        gencore.Trainer(recipe, InMemory(x=images), cpu=True).fit()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantizer": {"books": 0, "book_dropout": False}}, "books is 0"),
        ({"quantizer": {"groups": 0}}, "groups is 0"),
        ({"quantizer": {"groups": 3}}, "code_dim is 16; expected a multiple of the number of groups"),
        ({"quantizer": {"books": 2}, "update": "gradient"}, "update is 'gradient'"),
        ({"quantizer": {"books": 2, "unit_length": True}}, "unknown key 'unit_length'"),
        ({"quantizer": "tree"}, "quantizer is 'tree'"),
    ],
)
def test_books_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        gencore.create("vq-vae", **changes)


@pytest.mark.parametrize(
    ("name", "value"), [("commitment", -1.0), ("decay", 1.0), ("restart_below", -0.1), ("kmeans_iterations", -1)]
)
def test_settings_out_of_range(name: str, value: float) -> None:
    settings: dict[str, Any] = {"commitment": 0.25, "decay": 0.99, "restart_below": 0.5, name: value}
    with pytest.raises(GencoreError, match=f"{name} is {value}"):
        VectorQuantization(**settings)


def two_books() -> CodePrior:
    torch.manual_seed(0)
    made = CodePrior(num_codes=3, length=4, width=8, layers=2, num_classes=None, books=2)
    for parameter in made.parameters():
        parameter.data.normal_(0, 0.7)
    return made.double().eval()


def test_prior_over_two_books_sums_to_one() -> None:
    made = two_books()
    codes = torch.tensor(list(itertools.product(range(3), repeat=4)))
    log_prob = -code_nats(made(codes[:, :-1]), codes).sum(1)
    assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_each_book_has_its_own_embeddings_and_logits() -> None:
    """Places 0 and 1 belong to the first book, 2 and 3 to the second."""
    made = two_books()
    codes = torch.tensor([[1, 1, 1]])
    before = made(codes)[0]
    with torch.no_grad():
        made.code.weight[3:] += torch.linspace(-1, 1, 8)
        made.logits.bias[:3] += torch.tensor([1.0, 0.0, 0.0])
    after = made(codes)[0]
    shift = torch.tensor([1.0, 0.0, 0.0]).double()
    torch.testing.assert_close(after[:2], before[:2] + shift)
    torch.testing.assert_close(after[2], before[2])
    assert not torch.allclose(after[3], before[3]), "place 3 sees the code of place 2, which is the second book's"


OLD = {"data_shape": [1, 8, 8], "num_codes": 16, "code_dim": 4, "width": 8, "residual_blocks": 2, "update": "ema"}
OLD |= {"prior_width": 8, "prior_layers": 1, "num_classes": None}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"quantizer": "single", "books": 1, "book_dropout": False, "unit_length": True}, SingleBook(unit_length=True)),
        ({"quantizer": "grouped", "books": 2, "book_dropout": False, "unit_length": False}, GroupedBooks(groups=2)),
        ({"quantizer": "residual", "books": 3, "book_dropout": True, "unit_length": False}, ResidualBooks(books=3)),
    ],
)
def test_configs_of_version_1_are_read(flags: dict[str, Any], expected: Any) -> None:
    """As models published before the quantizer had a config of its own have them."""
    assert from_json(VQVAEConfig, {**OLD, **flags}, version=1).quantizer == expected


def test_a_field_of_the_quantizer_is_reached_by_its_name() -> None:
    assert gencore.recipe("residual-vq-vae", books=2, book_dropout=False).config.code_shape == (2, 2, 2)
    with pytest.raises(GencoreError, match="books is 'two'"):
        gencore.recipe("residual-vq-vae", books="two")
