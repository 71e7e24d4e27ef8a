"""Likelihood is one contract: `log_prob(x)` and `bound(x, k)`, (N,) in nats. Every system that claims one of them runs
through the checks below, on a version so small that the truth can be computed.

A system is added by naming its small version in SMALL. The checks themselves are tested at the end of the file: each
must turn red on a model that is wrong in the way that it is there to find.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore.errors import GencoreError
from gencore.nn.likelihood import PROBABILITY, Scale, bits_per_dim, density_of_levels, log_mean_exp

BINARY = {"data_shape": (1, 3, 3)}
LINE = {"data_shape": (1,)}
DENSE = {"hidden": (8,)}
SMALL: dict[str, dict[str, Any]] = {
    "vae": {**LINE, **DENSE, "latent_dim": 1, "decoder_std": 1.0},
    "vae, learned variance": {**LINE, **DENSE, "latent_dim": 1, "likelihood": "gaussian-diagonal"},
    "bernoulli-vae": {**BINARY, **DENSE, "latent_dim": 1},
    "conv-vae": {"data_shape": (1, 4, 4), "latent_dim": 1, "width": 2, "likelihood": "bernoulli"},
    "beta-vae": {**BINARY, **DENSE, "latent_dim": 1},
    "iwae": {**BINARY, **DENSE, "latent_dim": 2},
    "iaf-vae": {**BINARY, **DENSE, "latent_dim": 2, "context_dim": 2, "flow_hidden": (6,), "flow_steps": 1},
    "iaf-vae, linear": {
        **LINE,
        **DENSE,
        "latent_dim": 2,
        "flow_hidden": (),
        "likelihood": "gaussian",
        "decoder_std": 1.0,
    },
    "gumbel-softmax-vae": {**BINARY, **DENSE, "latent_dim": 2, "num_categories": 3},
    "pixel-vae": {**BINARY, **DENSE, "latent_dim": 1, "feature_maps": 2, "pixel_width": 3, "pixel_layers": 2},
    "latent-classifier-vae": {**LINE, **DENSE, "latent_dim": 1, "decoder_std": 1.0},
    "semi-supervised-vae": {**BINARY, **DENSE, "latent_dim": 1, "num_classes": 2, "likelihood": "bernoulli"},
    "naive-monte-carlo": {**LINE, **DENSE, "latent_dim": 1, "decoder_std": 1.0},
}


def claiming(claim: str) -> list[str]:
    """The small versions of all registered systems that make a claim."""
    claims = {spec.name: spec.claims for spec in gencore.list_systems()}
    return [name for name in SMALL if claim in claims.get(name.split(",")[0], ())]


def small(name: str) -> Any:
    """The small version with weights at random: the decoder's large enough for z to matter, the encoder's so small that
    q(z | x) stays wide and importance weights have a variance that a few samples can show."""
    recipe = gencore.recipe(name.split(",")[0], **SMALL[name])
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model: Any = recipe.model(recipe.config)
        for name, parameter in model.named_parameters():
            scale = 0.1 if name.startswith(("encoder", "flow")) else 0.25
            parameter.data.add_(scale * torch.randn_like(parameter))
    return model.eval()


def space(model: Any) -> tuple[Tensor, float]:
    """All x (M, *data_shape), or a fine grid on the line, and the size of its cells."""
    shape = model.config.data_shape
    if shape == (1,):
        grid = torch.linspace(-12, 12, 2401)
        return grid[:, None], float(grid[1] - grid[0])
    x = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=math.prod(shape))))
    return x.view(-1, *shape), 1.0


def latents(model: Any) -> tuple[Tensor, Tensor]:
    """All z, or a fine grid of them, (M, *latent_shape), and the logarithm of their prior mass, (M,)."""
    shape = model.latent_shape
    if len(shape) == 2:
        corners = itertools.product(torch.eye(shape[1]), repeat=shape[0])
        z = torch.stack([torch.stack(corner) for corner in corners])
        return z, model.prior_log_prob(z)
    axis = torch.linspace(-7, 7, {1: 701, 2: 71}[shape[0]])
    z = torch.cartesian_prod(*[axis] * shape[0]).view(-1, *shape)
    return z, model.prior_log_prob(z) + shape[0] * math.log(axis[1] - axis[0])


@torch.no_grad()
def exact_log_prob(model: Any, x: Tensor) -> Tensor:
    """log p(x) (N,) by summing over all latents, and over the classes, equally likely, where the model has some."""
    z, log_mass = latents(model)
    classes = getattr(model.config, "num_classes", None)
    conditions = [None] if classes is None else [torch.full((len(z),), label) for label in range(classes)]
    rows = []
    for one in x:
        of_class = [model.generate(z, condition=c).log_prob(one.expand(len(z), *one.shape)) for c in conditions]
        rows.append(torch.stack([(log_prob + log_mass).logsumexp(0) for log_prob in of_class]))
    return log_mean_exp(torch.stack(rows), 1)


@torch.no_grad()
def draw(model: Any, n: int) -> Tensor:
    """Samples of the model itself, not the means that pictures show."""
    return model.sample(n, seed=5, **({"output": "sample"} if hasattr(model, "draw_prior") else {}))


def some(model: Any, n: int) -> Tensor:
    """A few x, spread over the space."""
    x = space(model)[0]
    return x[torch.linspace(0.45 * len(x), 0.57 * len(x), n).long()]


# --- the checks -------------------------------------------------------------------------------------------------------


def assert_sums_to_one(probabilities: Tensor, cell: float, tolerance: float = 1e-5) -> None:
    """K1. Probabilities (M,) of all x, or densities on a grid."""
    assert abs(probabilities.double().sum().item() * cell - 1) < tolerance


def assert_estimates_sum_to_one(estimates: Tensor, cell: float) -> None:
    """K1 of a bound: unbiased estimates (repeats, M) of all p(x). Their sum must be 1 within 4 standard errors, and
    known well enough for that to mean something."""
    totals = estimates.double().sum(1) * cell
    error = totals.std().item() / math.sqrt(len(totals))
    assert error < 0.02
    assert abs(totals.mean().item() - 1) < 4 * error + 1e-4


def assert_samples_agree(log_prob: Callable[[Tensor], Tensor], samples: Tensor, x: Tensor, cell: float) -> None:
    """K3. The mean log p of samples is minus the entropy, within 4 standard errors."""
    table = log_prob(x).double()
    entropy = -(table.exp() * table).sum().item() * cell
    of_samples = log_prob(samples).double()
    error = of_samples.std().item() / math.sqrt(len(samples))
    assert abs(of_samples.mean().item() + entropy) < 4 * error + 1e-4


def assert_tightens(bounds: dict[int, Tensor], truth: Tensor) -> None:
    """K4. bounds[k] (repeats, N): below the truth (N,) and rising with k, within 3 standard errors; near it at last."""
    means = {k: bound.mean(0) for k, bound in bounds.items()}
    errors = {k: bound.std(0) / math.sqrt(len(bound)) for k, bound in bounds.items()}
    for k, mean in means.items():
        assert (mean <= truth + 3 * errors[k] + 1e-4).all(), k
    for k, following in itertools.pairwise(bounds):
        assert (means[k] <= means[following] + 3 * (errors[k] + errors[following]) + 1e-4).all(), (k, following)
    last = max(bounds)
    torch.testing.assert_close(means[last], truth, atol=0.05, rtol=0)


# --- systems that claim "bound" ---------------------------------------------------------------------------------------


ENUMERABLE = [name for name in claiming("bound") if SMALL[name]["data_shape"] != (1, 4, 4)]


def test_every_claiming_vae_has_a_small_version() -> None:
    listed = {name.split(",")[0] for name in SMALL}
    assert {spec.name for spec in gencore.list_systems(family="vae") if "bound" in spec.claims} <= listed


@pytest.mark.parametrize("name", ENUMERABLE)
def test_bound_k1_sums_to_one(name: str) -> None:
    """E (1/k) sum w = p(x) exactly, so over all x it sums to one: nothing leaks and no constant is missing."""
    model = small(name)
    x, cell = space(model)
    k = 1 if len(x) > 10_000 else 16
    assert_estimates_sum_to_one(
        torch.stack([model.bound(x, k, seed=seed).exp() for seed in range(8 if k > 1 else 3)]), cell
    )


@pytest.mark.parametrize("name", ENUMERABLE)
def test_bound_k3_samples_agree(name: str) -> None:
    model = small(name)
    x, cell = space(model)
    table = exact_log_prob(model, x)
    if cell == 1.0:
        places = 2 ** torch.arange(x[0].numel() - 1, -1, -1)
        look_up = lambda values: table[((values.flatten(1) > 0) * places).sum(1)]
    else:
        look_up = lambda values: table[((values[:, 0] - x[0, 0]) / cell).round().long()]
    assert_samples_agree(look_up, draw(model, 20_000), x, cell)


@pytest.mark.parametrize("name", claiming("bound"))
def test_bound_k4_below_truth_and_tightens(name: str) -> None:
    model = small(name)
    x = some(model, 3)
    repeated = x.repeat_interleave(200, 0)
    bounds = {k: model.bound(repeated, k).view(3, 200).T for k in (1, 5, 50, 400)}
    assert_tightens(bounds, exact_log_prob(model, x))


@pytest.mark.parametrize("name", claiming("bound"))
def test_bound_k5_units(name: str) -> None:
    """(N,) nats, finite; the same whatever else is in the batch; a function of the seed; global streams untouched."""
    model = small(name)
    x = some(model, 4)
    before = torch.get_rng_state()
    bound = model.bound(x, 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert bound.shape == (4,)
    assert bound.isfinite().all()
    assert not bound.requires_grad
    torch.testing.assert_close(model.bound(torch.cat([x, x.flip(0)]), 3)[:4], bound, rtol=1e-4, atol=1e-4)
    assert torch.equal(model.bound(x, 3), bound)
    assert not torch.equal(model.bound(x, 3, seed=1), bound)
    assert isinstance(model.likelihood_scale, Scale)
    assert (model.likelihood_scale == PROBABILITY) == (space(model)[1] == 1.0)


@pytest.mark.parametrize("name", claiming("bound"))
def test_bound_refuses_bad_input(name: str) -> None:
    model = small(name)
    x = some(model, 2)
    with pytest.raises(GencoreError, match="k is 0"):
        model.bound(x, 0)
    with pytest.raises(GencoreError, match="expected"):
        model.bound(x[..., :-1] if x.shape[-1] > 1 else x.repeat(1, 2))
    with pytest.raises(GencoreError, match="NaN"):
        model.bound(torch.full_like(x, math.nan))
    if x.ndim == 4:
        with pytest.raises(GencoreError, match=r"\[-1, 1\]"):
            model.bound((x + 1) * 127.5)


# --- systems that claim "log-prob" ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", claiming("log-prob"))
def test_log_prob(name: str) -> None:
    """K1, K3, K5 of exact likelihoods."""
    model = small(name)
    x, cell = space(model)
    with torch.no_grad():
        log_prob = model.log_prob(x)
        assert log_prob.shape == (len(x),)
        assert_sums_to_one(log_prob.exp(), cell)
        torch.testing.assert_close(model.log_prob(x[:2]), log_prob[:2], rtol=1e-4, atol=1e-4)
        assert_samples_agree(model.log_prob, draw(model, 20_000), x, cell)


# --- bits per dimension -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [1, 12, 3072])
def test_uniform_model_of_256_levels_is_8_bits(dims: int) -> None:
    """As a probability, and as a density on [-1 - 1/255, 1 + 1/255], whose bins are 2/255 wide."""
    probability = torch.tensor([-dims * math.log(256)], dtype=torch.float64)
    density = torch.tensor([-dims * math.log(2 + 2 / 255)], dtype=torch.float64)
    assert bits_per_dim(probability, dims, PROBABILITY).item() == pytest.approx(8, abs=1e-12)
    assert bits_per_dim(density, dims, density_of_levels(256)).item() == pytest.approx(8, abs=1e-12)


def test_bits_per_dim_refuses() -> None:
    with pytest.raises(GencoreError, match="num_dims is 0"):
        bits_per_dim(torch.zeros(1), 0, PROBABILITY)
    with pytest.raises(GencoreError, match="levels is 1"):
        density_of_levels(1)


def test_log_mean_exp() -> None:
    values = torch.randn(7, 3, dtype=torch.float64)
    torch.testing.assert_close(log_mean_exp(values), values.exp().mean(0).log())
    torch.testing.assert_close(log_mean_exp(values + 2000) - 2000, values.exp().mean(0).log())


# --- the checks turn red ----------------------------------------------------------------------------------------------


class Pixels:
    """p(x) = prod_i p(x_i | x_<i) of nine binary pixels with logistic conditionals; `leak` lets a pixel see itself."""

    def __init__(self, leak: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weights = torch.randn(9, 9, generator=generator).tril(-1) + leak * torch.eye(9)

    def log_prob(self, x: Tensor) -> Tensor:
        """(N, 1, 3, 3) -> (N,)."""
        flat = x.flatten(1)
        return torch.nn.functional.logsigmoid(flat * (flat @ self.weights.T)).sum(1)

    def sample(self, n: int, *, flip: bool = False) -> Tensor:
        """(n, 1, 3, 3); `flip` reverses the order of the pixels, the bug that K3 is there for."""
        generator = torch.Generator().manual_seed(1)
        x = torch.zeros(n, 9)
        for i in range(9):
            x[:, i] = (torch.rand(n, generator=generator) < (x @ self.weights[i]).sigmoid()).float() * 2 - 1
        return (x.flip(1) if flip else x).view(n, 1, 3, 3)


def nine_pixels() -> Tensor:
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=9))).view(-1, 1, 3, 3)


def test_sums_to_one_sees_a_leak() -> None:
    x = nine_pixels()
    assert_sums_to_one(Pixels().log_prob(x).exp(), 1.0)
    with pytest.raises(AssertionError):
        assert_sums_to_one(Pixels(leak=0.3).log_prob(x).exp(), 1.0)


def test_samples_agree_sees_a_wrong_order() -> None:
    right, x = Pixels(), nine_pixels()
    assert_samples_agree(right.log_prob, right.sample(20_000), x, 1.0)
    with pytest.raises(AssertionError):
        assert_samples_agree(right.log_prob, right.sample(20_000, flip=True), x, 1.0)


@pytest.mark.parametrize("broken", ["mean of logs", "sum, not mean", "no log q"])
def test_tightens_sees_a_broken_bound(broken: str) -> None:
    """x = z + noise with z, noise ~ N(0, 1), and q(z | x) = N(x / 2 + 0.3, 0.8)."""
    torch.manual_seed(0)
    x, truth = torch.tensor([1.0]), torch.tensor([-0.25 - 0.5 * math.log(4 * math.pi)])
    proposal = torch.distributions.Normal(x / 2 + 0.3, 0.8)

    def bound(k: int, broken: str | None) -> Tensor:
        z = proposal.sample((k, 1000))
        standard = torch.distributions.Normal(0.0, 1.0)
        log_q = 0.0 if broken == "no log q" else proposal.log_prob(z)
        weights = standard.log_prob(x - z) + standard.log_prob(z) - log_q
        if broken == "mean of logs":
            return weights.mean(0)
        return weights.logsumexp(0) if broken == "sum, not mean" else log_mean_exp(weights)

    assert_tightens({k: bound(k, None) for k in (1, 5, 50, 400)}, truth)
    with pytest.raises(AssertionError):
        assert_tightens({k: bound(k, broken) for k in (1, 5, 50, 400)}, truth)
