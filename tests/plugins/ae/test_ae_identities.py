"""The family's formulas against closed forms, automatic differentiation and each other."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import gencore
from gencore.errors import GencoreError
from gencore_ae.conv import doubling
from gencore_ae.parts.corruption import add_gaussian, corruption, mask, salt_and_pepper
from gencore_ae.parts.losses import bernoulli_error, squared_error
from gencore_ae.parts.penalties import (
    absolute_sum,
    bernoulli_divergence,
    estimated_jacobian,
    normalise_columns,
    sigmoid_layer_jacobian,
)
from gencore_ae.parts.reconstruction import Reconstruction, cosine


def autograd_jacobian(encode: object, x: torch.Tensor) -> torch.Tensor:
    """||df / dx||_F^2 of each example, (N,), one exact Jacobian after the other."""
    return torch.stack(
        [torch.autograd.functional.jacobian(lambda one: encode(one[None])[0], row).square().sum() for row in x]
    )


# Reconstruction errors


def test_squared_error_is_summed_over_an_example() -> None:
    assert squared_error(torch.ones(3, 2, 2), torch.zeros(3, 2, 2)).tolist() == [4.0] * 3


def test_bernoulli_error_is_least_at_x_and_is_the_entropy_there() -> None:
    brightness = torch.rand(5, 7, dtype=torch.float64)
    logits = brightness.logit().requires_grad_()
    error = bernoulli_error(logits, 2 * brightness - 1)
    (slope,) = torch.autograd.grad(error.sum(), logits)
    assert slope.abs().max() < 1e-12
    entropy = -(brightness * brightness.log() + (1 - brightness) * (1 - brightness).log()).sum(1)
    torch.testing.assert_close(error.detach(), entropy)


def test_bernoulli_error_is_a_likelihood_on_binary_data() -> None:
    """exp(-error) sums to one over all 2^4 outcomes."""
    outcomes = 2.0 * torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4).double() - 1
    logits = torch.randn(1, 4, dtype=torch.float64).expand(16, 4)
    assert bernoulli_error(logits, outcomes).neg().exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_logit_output_is_the_mean_of_the_brightness() -> None:
    model = gencore.recipe("deep-autoencoder", error="bernoulli", hidden=(16,), code_dim=2)
    model = model.model(model.config)
    z = torch.randn(3, 2)
    torch.testing.assert_close((model.generate(z) + 1) / 2, model.raw_output(z).sigmoid())


def test_linear_autoencoder_works_around_the_mean_of_what_it_saw() -> None:
    """z = A (x - m), x = B z + m, with m the average over two steps of two batches each."""
    recipe = gencore.recipe("linear-autoencoder", code_dim=3, data_shape=(2, 4, 4))
    model, objective = recipe.model(recipe.config), recipe.stages[0].objective
    x = torch.rand(2, 2, 6, 2, 4, 4) * 2 - 1
    for batches in x:
        seen = [objective.loss(model, "autoencoder", {"x": batch}).seen for batch in batches]
        with torch.no_grad():
            objective.after_step(model, "autoencoder", seen)
    mean, x = x.flatten(0, 2).mean(0), x[0, 0]
    torch.testing.assert_close(model.mean, mean)
    z = (x - mean).flatten(1) @ model.encoder[1].weight.T
    torch.testing.assert_close(model.encode(x), z)
    torch.testing.assert_close(model.generate(z), (z @ model.decoder[0].weight.T).view(-1, 2, 4, 4) + mean)


def test_a_rate_warms_up_in_a_line_and_falls_along_a_cosine() -> None:
    falling, warmed = cosine(100), cosine(100, warm_up=9)
    assert [falling(step) for step in (0, 50, 100, 200)] == pytest.approx([1.0, 0.5, 0.0, 0.0])
    assert [warmed(step) / falling(step) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])


# Convolution arithmetic


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 0), (4, 2, 1), (5, 2, 2)])
def test_transposed_convolution_is_the_adjoint(kernel: int, stride: int, padding: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 3, kernel, kernel, dtype=torch.float64)
    size = (5 - 1) * stride - 2 * padding + kernel
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    down = F.conv2d(x, weight, stride=stride, padding=padding)
    y = torch.randn_like(down)
    up = F.conv_transpose2d(y, weight, stride=stride, padding=padding)
    assert down.shape[-1] == 5
    assert up.shape == x.shape
    assert abs((down * y).sum() - (x * up).sum()) < 1e-9


def test_transposed_convolution_is_the_transposed_matrix() -> None:
    """A 3 x 3 kernel on 4 x 4 pixels: conv = C x is 2 x 2, convT = C^T y is 4 x 4 again (Dumoulin & Visin, 4.1)."""
    kernel = torch.arange(1.0, 10.0, dtype=torch.float64).view(3, 3)
    matrix = torch.zeros(4, 16, dtype=torch.float64)
    for row in range(2):
        for column in range(2):
            placed = torch.zeros(4, 4, dtype=torch.float64)
            placed[row : row + 3, column : column + 3] = kernel
            matrix[2 * row + column] = placed.flatten()
    x, y = torch.randn(16, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    weight = kernel.view(1, 1, 3, 3)
    torch.testing.assert_close(F.conv2d(x.view(1, 1, 4, 4), weight).flatten(), matrix @ x)
    torch.testing.assert_close(F.conv_transpose2d(y.view(1, 1, 2, 2), weight).flatten(), matrix.T @ y)


def test_transposed_convolutions_make_every_pixel_from_equally_many_weights() -> None:
    """Inside, with kernel 4 and stride 2. Kernel 3 makes the checkerboard (the twin)."""

    def counts(layer: nn.ConvTranspose2d) -> torch.Tensor:
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
        return layer(torch.ones(1, 1, 8, 8))[0, 0, 3:-3, 3:-3]

    assert counts(doubling(1, 1, "transposed")[0]).unique().numel() == 1
    assert counts(nn.ConvTranspose2d(1, 1, 3, 2, 1, 1)).unique().numel() > 1


@pytest.mark.parametrize(
    ("shape", "smallest"), [((1, 32, 32), (64, 4, 4)), ((3, 28, 28), (32, 7, 7)), ((1, 8, 12), (16, 4, 6))]
)
@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_conv_autoencoder_keeps_the_shape(shape: tuple, smallest: tuple, upsampling: str) -> None:
    recipe = gencore.recipe("conv-autoencoder", data_shape=shape, upsampling=upsampling)
    model = recipe.model(recipe.config)
    x = torch.zeros(2, *shape)
    assert model.config.smallest == smallest
    assert model.encoder[:-2](x).shape[1:] == smallest
    assert model.reconstruct(x).shape == x.shape


# Penalties


def test_target_penalty_and_its_gradient() -> None:
    """sum_j KL(rho || m_j); d / d m = -rho / m + (1 - rho) / (1 - m), zero at rho; not the swapped KL(m || rho)."""
    mean = torch.tensor([0.01, 0.05, 0.3, 0.9], dtype=torch.float64, requires_grad=True)
    rho = 0.05
    value = bernoulli_divergence(rho, mean)
    expected = sum(rho * math.log(rho / m) + (1 - rho) * math.log((1 - rho) / (1 - m)) for m in mean.tolist())
    assert value.item() == pytest.approx(expected, rel=1e-12)
    (slope,) = torch.autograd.grad(value, mean)
    torch.testing.assert_close(slope, -rho / mean.detach() + (1 - rho) / (1 - mean.detach()))
    assert abs(slope[1]) < 1e-12
    assert bernoulli_divergence(0.05, torch.tensor([0.0, 1.0])).isfinite()


@pytest.mark.parametrize(
    ("name", "key", "per_example"),
    [
        ("sparse-autoencoder", "sparsity", lambda model, x: model.encode(x).abs().sum(1).mean()),
        (
            "target-sparse-autoencoder",
            "weight",
            lambda model, x: bernoulli_divergence(0.05, model.encode(x).mean(0)),
        ),
        (
            "contractive-autoencoder",
            "weight",
            lambda model, x: sigmoid_layer_jacobian(model.encode(x), model.linear_layers[0].weight).mean(),
        ),
    ],
)
def test_penalties_are_in_the_loss_and_in_its_gradient(name: str, key: str, per_example: Any) -> None:
    """loss(weight) - loss(0) = weight * penalty, and the same of the encoder's gradient."""
    torch.manual_seed(0)
    recipes = [gencore.recipe(name, code_dim=12, **{key: weight}) for weight in (0.7, 0.0)]
    model = recipes[0].model(recipes[0].config).double()
    x = torch.rand(9, 1, 8, 8, dtype=torch.float64) * 2 - 1
    with_term, without = (r.stages[0].objective.loss(model, "autoencoder", {"x": x}).total for r in recipes)
    term = 0.7 * per_example(model, x)
    torch.testing.assert_close(with_term - without, term)
    weight = model.encoder[1].weight
    slopes = [torch.autograd.grad(value, weight)[0] for value in (with_term, without, term)]
    torch.testing.assert_close(slopes[0] - slopes[1], slopes[2])


def test_absolute_sum() -> None:
    assert absolute_sum(torch.tensor([[1.0, -2.0], [0.0, 5.0]])).item() == 4.0


def test_contractive_closed_form_is_the_jacobian() -> None:
    torch.manual_seed(0)
    recipe = gencore.recipe("contractive-autoencoder", code_dim=16)
    model = recipe.model(recipe.config).double()
    x = torch.rand(6, 1, 8, 8, dtype=torch.float64) * 2 - 1
    closed = sigmoid_layer_jacobian(model.encode(x), model.linear_layers[0].weight)
    torch.testing.assert_close(closed, autograd_jacobian(model.encode, x), rtol=1e-10, atol=0)


def test_hutchinson_agrees_with_the_jacobian_of_a_deep_encoder() -> None:
    torch.manual_seed(0)
    recipe = gencore.recipe("contractive-autoencoder", code_dim=16, hidden=(24,), jacobian="hutchinson")
    model = recipe.model(recipe.config).double()
    x = torch.rand(4, 1, 8, 8, dtype=torch.float64) * 2 - 1
    exact = autograd_jacobian(model.encode, x).mean()
    assert estimated_jacobian(model.encode, x, 2000).mean().item() == pytest.approx(exact.item(), rel=0.05)


def test_both_jacobians_send_the_same_gradient_to_the_encoder() -> None:
    """A penalty cut off from the graph, or one on the weights alone, would not."""
    torch.manual_seed(0)
    recipe = gencore.recipe("contractive-autoencoder", code_dim=8)
    model = recipe.model(recipe.config).double()
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64) * 2 - 1
    weight = model.linear_layers[0].weight
    (closed,) = torch.autograd.grad(sigmoid_layer_jacobian(model.encode(x), weight).mean(), weight)
    (estimate,) = torch.autograd.grad(estimated_jacobian(model.encode, x, 4000).mean(), weight)
    assert ((estimate - closed).norm() / closed.norm()).item() < 0.1


def test_contractive_weights_are_tied() -> None:
    recipe = gencore.recipe("contractive-autoencoder", code_dim=5, hidden=(7,), jacobian="hutchinson")
    model = recipe.model(recipe.config)
    first, second = (layer.weight for layer in model.linear_layers)
    z = torch.rand(2, 5)
    torch.testing.assert_close(model.raw_output(z).flatten(1), (z @ second).sigmoid() @ first)


def test_unit_dictionary_undoes_a_doubled_decoder() -> None:
    recipe = gencore.recipe("sparse-autoencoder", code_dim=16)
    model = recipe.model(recipe.config)
    layer, objective = model.decoder[0], recipe.stages[0].objective
    normalise_columns(layer)
    before = layer.weight.detach().clone()
    layer.weight.data.mul_(2)
    objective.after_step(model, "autoencoder", [])
    torch.testing.assert_close(layer.weight.detach(), before)
    torch.testing.assert_close(before.norm(dim=0), torch.ones(16))


# Corruption


def test_corruptions() -> None:
    torch.manual_seed(0)
    x = torch.full((200, 500), 0.25)
    assert (add_gaussian(x, 0.3) - x).std().item() == pytest.approx(0.3, rel=0.02)
    assert (mask(x, 0.4) == -1).float().mean().item() == pytest.approx(0.4, abs=0.01)
    dirty = salt_and_pepper(x, 0.4)
    for value, share in ((-1, 0.2), (1, 0.2), (0.25, 0.6)):
        assert (dirty == value).float().mean().item() == pytest.approx(share, abs=0.01)
    for kind in ("gaussian", "masking", "salt-and-pepper"):
        assert torch.equal(corruption(kind, 0.0)(x), x)


def test_the_target_is_the_clean_input() -> None:
    """With a corruption that wipes x out, a perfect copy of what was seen still pays ||x||^2."""
    recipe = gencore.recipe("deep-autoencoder", hidden=(), code_dim=64)
    model = recipe.model(recipe.config)
    with torch.no_grad():
        for layer in (model.encoder[1], model.decoder[0]):
            layer.weight.copy_(torch.eye(64))
            layer.bias.zero_()
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    loss = Reconstruction(corrupt=torch.zeros_like).loss(model, "autoencoder", {"x": x}).total
    assert loss.item() == pytest.approx(x.square().flatten(1).sum(1).mean().item(), rel=1e-6)
    assert Reconstruction().loss(model, "autoencoder", {"x": x}).total.item() == pytest.approx(0, abs=1e-9)


def test_labels_do_not_reach_the_training() -> None:
    recipe = gencore.recipe("deep-autoencoder", hidden=(16,), code_dim=2)
    model = recipe.model(recipe.config)
    x, objective = torch.rand(4, 1, 8, 8), recipe.stages[0].objective
    losses = [objective.loss(model, "autoencoder", {"x": x, "label": label}).total for label in torch.eye(2).long()]
    assert torch.equal(*losses)


# Bad input


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("deep-autoencoder", {"error": "hinge"}, "hinge"),
        ("deep-autoencoder", {"error": "bernoulli", "data_shape": (7,)}, "images"),
        ("denoising-autoencoder", {"error": "bernoulli", "data_shape": (7,)}, "images"),
        ("deep-autoencoder", {"code_dim": 0}, "code_dim"),
        ("deep-autoencoder", {"hidden": (8, 0)}, "positive widths"),
        ("linear-autoencoder", {"code_dim": 0}, "code_dim"),
        ("linear-autoencoder", {"data_shape": (1, 0, 8)}, "positive sizes"),
        ("contractive-autoencoder", {"data_shape": (1, 0, 8)}, "positive sizes"),
        ("conv-autoencoder", {"data_shape": (1, 7, 7)}, "image-size"),
        ("overcomplete-autoencoder", {"code_dim": 32}, "at least 64"),
        ("overcomplete-autoencoder", {"regulariser": "hope"}, "hope"),
        ("denoising-autoencoder", {"noise": "gaussian", "level": -1.0}, "level"),
        ("denoising-autoencoder", {"noise": "masking", "level": 1.5}, "share"),
        ("denoising-autoencoder", {"noise": "snow"}, "snow"),
        ("sparse-autoencoder", {"sparsity": -0.1}, "sparsity"),
        ("target-sparse-autoencoder", {"rho": 0.0}, "rho"),
        ("contractive-autoencoder", {"hidden": (8,)}, "hutchinson"),
    ],
)
def test_bad_arguments_are_named(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        gencore.recipe(name, **arguments)


def test_wrong_shapes_are_named() -> None:
    model = gencore.create("deep-autoencoder", hidden=[8], code_dim=2)
    with pytest.raises(GencoreError, match="1, 8, 8"):
        model.encode(torch.zeros(2, 1, 9, 9))
    with pytest.raises(GencoreError, match=r"\(N, 2\)"):
        model.generate(torch.zeros(4, 3))
    with pytest.raises(GencoreError, match="floating point"):
        model.encode(torch.zeros(2, 1, 8, 8, dtype=torch.int64))


@pytest.mark.parametrize(("x", "message"), [(torch.full((8, 1, 8, 8), 200.0), "127.5"), (torch.nan, "NaN")])
def test_training_refuses_bad_images(x: object, message: str) -> None:
    from gencore.data import InMemory

    images = torch.full((8, 1, 8, 8), x) if isinstance(x, float) else x
    recipe = gencore.recipe("deep-autoencoder", hidden=(8,), code_dim=2, steps=1, batch_size=8)
    with pytest.raises(GencoreError, match=message):
        gencore.Trainer(recipe, InMemory(x=images), cpu=True).fit()
