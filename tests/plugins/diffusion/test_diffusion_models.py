"""The three systems as models: networks, objective, denoise, Langevin updates, compilation, bad input."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from torch import Tensor

import gencore
from gencore import Noise
from gencore.compilation import compile_regions
from gencore.config import from_json, to_json
from gencore.errors import GencoreError
from gencore_diffusion.ddpm import DDPM, DDPMConfig
from gencore_diffusion.edm import EDM, EDMConfig
from gencore_diffusion.ncsn import NCSN, NCSNConfig
from gencore_diffusion.networks.build import DenseConfig, NetworkConfig, build_network
from gencore_diffusion.networks.dit import Block, DiTConfig
from gencore_diffusion.networks.unet import UNetConfig
from gencore_diffusion.parts.denoiser import FunctionDenoiser
from gencore_diffusion.parts.objective import DenoisingScoreMatching
from gencore_diffusion.samplers.ideal import ideal_gaussian
from gencore_diffusion.samplers.langevin import AnnealedLangevinSampler, ConsistentAnnealedSampler
from gencore_diffusion.samplers.sampling import prior
from gencore_diffusion.samplers.solvers import DDIMSampler, DPMSolverSampler, EulerSampler

NETWORKS: list[NetworkConfig] = [
    UNetConfig(channels=(8, 16), attention=(False, True), head_dim=8),
    UNetConfig(channels=(8, 8, 16), attention=(False,) * 3, head_dim=8, blocks=2, symmetric_padding=False),
    DiTConfig(width=16, depth=2, heads=2),
    DenseConfig(hidden=16, layers=2),
]
SMALL = DenseConfig(hidden=16, layers=1)


def awake(network: torch.nn.Module) -> torch.nn.Module:
    """No layer at zero, so that everything that an output could depend on shows."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return network


@pytest.mark.parametrize("config", NETWORKS, ids=lambda c: type(c).__name__)
def test_networks(config: NetworkConfig) -> None:
    """x's shape; the output depends on level, label and every pixel; examples do not see each other."""
    network = awake(build_network(config, data_shape=(2, 8, 8), num_classes=3)).eval()
    x = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    level, label = torch.tensor([10.0, 500.0]), torch.tensor([0, 3])
    out = network(x, level, label)
    assert out.shape == x.shape
    assert not torch.allclose(network(x, level.flip(0), label), out, atol=1e-3)
    assert not torch.allclose(network(x, level, label.flip(0)), out, atol=1e-3)
    (slope,) = torch.autograd.grad(out[0].square().sum(), x)
    assert (slope[0] != 0).all()
    assert (slope[1] == 0).all()


def test_transformer_block_by_hand() -> None:
    """Attention, then the dense layers, each on scale * norm(x) + shift, with its gate in front (DiT's adaLN-zero)."""
    block = awake(Block(DiTConfig(width=8, heads=2)))
    generator = torch.Generator().manual_seed(1)
    x, embedded = torch.randn(2, 5, 8, generator=generator), torch.randn(2, 8, generator=generator)
    numbers = block.modulation(embedded * embedded.sigmoid())
    shift_a, scale_a, gate_a, shift_d, scale_d, gate_d = (numbers[:, None, k * 8 : k * 8 + 8] for k in range(6))

    def norm(tokens: Tensor) -> Tensor:
        centred = tokens - tokens.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    query, key, value = block.query_key_value(norm(x) + scale_a * norm(x) + shift_a).split(8, -1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        weights = (query[..., head] @ key[..., head].transpose(1, 2) / 2).softmax(-1)
        heads.append(weights @ value[..., head])
    after = x + gate_a * block.output(torch.cat(heads, -1))
    expected = after + gate_d * block.dense(norm(after) + scale_d * norm(after) + shift_d)
    torch.testing.assert_close(block(x, embedded), expected, rtol=1e-4, atol=1e-5)


def test_training_warms_up_and_clips() -> None:
    (stage,) = gencore.recipe("ddpm").stages
    (phase,) = stage.phases
    assert (phase.parts, phase.max_gradient_norm) == (("network",), 1.0)
    assert [phase.schedule(step) for step in (0, 99, 199, 200, 5000)] == [0.005, 0.5, 1, 1, 1]


@pytest.mark.parametrize("config", NETWORKS, ids=lambda c: type(c).__name__)
def test_config_round_trip_and_meta(config: NetworkConfig) -> None:
    """The union of network configs survives JSON; a model is made without memory."""
    made = DDPMConfig(data_shape=(1, 8, 8), network=config)
    assert from_json(DDPMConfig, to_json(made)) == made
    with torch.device("meta"):
        assert DDPM(made).device.type == "meta"


@pytest.mark.parametrize(
    ("model", "explicit"),
    [
        (DDPM(DDPMConfig(data_shape=(4,), network=SMALL)), lambda x0, eps, s, out: eps),
        (DDPM(DDPMConfig(data_shape=(4,), network=SMALL, prediction="x0")), lambda x0, eps, s, out: x0),
        (
            DDPM(DDPMConfig(data_shape=(4,), network=SMALL, prediction="v")),
            lambda x0, eps, s, out: (eps - s * x0) / (1 + s**2).sqrt(),
        ),
        (NCSN(NCSNConfig(data_shape=(4,), network=SMALL)), lambda x0, eps, s, out: -eps),
        (
            EDM(EDMConfig(data_shape=(4,), network=SMALL, sigma_data=0.7)),
            lambda x0, eps, s, out: (s / 0.7 * x0 - 0.7 * eps) / (s**2 + 0.7**2).sqrt(),
        ),
    ],
    ids=["eps", "x0", "v", "score", "edm"],
)
def test_loss_is_the_paper_s(model: gencore.Model, explicit: object) -> None:
    """The objective on a batch equals || F - target ||^2 with each paper's own target; and the weighted x0 loss."""
    awake(model)
    x0 = torch.randn(64, 4, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(7)
    loss = DenoisingScoreMatching().loss(model, "denoiser", {"x": x0}).total
    torch.manual_seed(7)
    sigma = model.draw_sigma(64)
    eps = torch.randn_like(x0)
    s = sigma[:, None].float()
    x = x0 + s * eps
    out = model.predict(x, sigma, None)
    torch.testing.assert_close(loss, (out - explicit(x0, eps, s, out)).square().mean(), rtol=1e-3, atol=1e-4)
    weight = 1 / model.scalings(sigma).out.float().square()[:, None]
    weighted = weight * (model.denoise(x, sigma) - x0).square()
    torch.testing.assert_close(loss, weighted.mean(), rtol=1e-3, atol=1e-4)


def test_dsm_has_the_minimiser_of_score_matching() -> None:
    """Vincent's theorem on a Gaussian, by quadrature: E || s - grad log q(x | x0) ||^2 (denoising), E || s - grad log
    p(x) ||^2 (explicit) and E[ 2 div s + || s ||^2 ] (implicit, Hyvarinen) differ by the same number for every s."""
    nodes, weights = (torch.from_numpy(values) for values in numpy.polynomial.hermite_e.hermegauss(40))
    x0, eps = torch.meshgrid(nodes, nodes, indexing="ij")
    mass = weights[:, None] * weights / weights.sum() ** 2
    sigma = 0.8
    x = (x0 + sigma * eps).requires_grad_()
    truth = -x / (1 + sigma**2)

    def mean(values: Tensor) -> float:
        return (mass * values).sum().item()

    explicit_gaps, implicit_gaps = [], []
    for s in (truth, 0 * x, -0.3 * x, 0.5 - 0.1 * x**3):
        denoising = mean((s + eps / sigma).square())
        (slope,) = torch.autograd.grad(s.sum(), x, retain_graph=True)
        explicit_gaps.append(denoising - mean((s - truth).square()))
        implicit_gaps.append(denoising - mean(2 * slope + s.square()))
    assert explicit_gaps == pytest.approx([1 / sigma**2 - 1 / (1 + sigma**2)] * 4, abs=1e-9)
    assert implicit_gaps == pytest.approx([1 / sigma**2] * 4, abs=1e-9)


def test_label_drop_and_its_absence() -> None:
    """The objective shows the null label as often as asked."""
    model = DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_classes=3))
    batch = {"x": torch.zeros(4000, 4), "label": torch.zeros(4000, dtype=torch.int64)}
    torch.manual_seed(0)
    for drop in (0.0, 0.2, 1.0):
        labels = DenoisingScoreMatching(label_drop=drop).labels(model, batch)
        assert (labels == 3).float().mean().item() == pytest.approx(drop, abs=0.02)
    with pytest.raises(GencoreError, match="the data have none"):
        DenoisingScoreMatching().loss(model, "denoiser", {"x": torch.zeros(2, 4)})
    with pytest.raises(GencoreError, match="integers from 0 to 2"):
        DenoisingScoreMatching().loss(model, "denoiser", {"x": torch.zeros(1, 4), "label": torch.tensor([5])})


@pytest.mark.parametrize("name", ["ddpm", "ncsn", "edm"])
def test_recipes_refuse(name: str) -> None:
    with pytest.raises(GencoreError, match=r"label_drop is 0\.0"):
        gencore.recipe(name, num_classes=10, label_drop=0.0)
    made = gencore.recipe(name, data_shape=(1, 9, 9))
    with pytest.raises(GencoreError, match=r"data_shape is \(1, 9, 9\)"):
        made.model(made.config)
    with pytest.raises(GencoreError, match="network is 'vit'"):
        gencore.recipe(name, network="vit")


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (DDPMConfig, {"num_timesteps": 1}, "num_timesteps is 1"),
        (DDPMConfig, {"betas": (0.1, 0.2)}, "expected 1000 numbers"),
        (DDPMConfig, {"prediction": "epsilon"}, "Did you mean 'eps'"),
        (DDPMConfig, {"num_classes": 0}, "num_classes is 0"),
        (NCSNConfig, {"sigma_min": 20.0}, "sigma_min is 20"),
        (EDMConfig, {"sigma_data": 0.0}, "sigma_data is 0"),
        (UNetConfig, {"channels": (30,)}, "multiples of norm_groups"),
        (UNetConfig, {"attention": (True,)}, "one flag for each"),
        (UNetConfig, {"head_dim": 7}, "head_dim is 7"),
        (DiTConfig, {"heads": 5}, "width is 96"),
        (DenseConfig, {"hidden": 7}, "hidden is 7"),
    ],
)
def test_bad_configs(config: type, changes: dict[str, object], message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        config(**changes)


def test_denoise_refuses() -> None:
    model = DDPM(DDPMConfig(data_shape=(4,), network=SMALL))
    with pytest.raises(GencoreError, match=r"x has shape \(2, 5\)"):
        model.denoise(torch.zeros(2, 5), 1.0)
    with pytest.raises(GencoreError, match="positive noise levels"):
        model.denoise(torch.zeros(2, 4), torch.tensor([1.0, 0.0]))
    with pytest.raises(GencoreError, match="sigma has shape"):
        model.denoise(torch.zeros(2, 4), torch.ones(3))


def test_langevin_update() -> None:
    """x + a/2 score + sqrt(a) z with a = eps sigma_i^2 / sigma_L^2, eps = 0.2 sigma_L^2 (Algorithm 1)."""
    model = ideal_gaussian(0.3, 0.5)
    noise = Noise(4, 0, 3)
    x = noise.normal(1)
    levels = [2.0, 1.0, 0.5]
    expected = x.clone()
    for sigma in levels[:2]:
        for _ in range(2):
            step = 0.2 * levels[1] ** 2 * sigma**2 / levels[1] ** 2
            score = (model.denoise(expected, sigma) - expected) / sigma**2
            expected = expected + step / 2 * score + math.sqrt(step) * noise.normal(1)
    again = Noise(4, 0, 3)
    again.normal(1)
    got = AnnealedLangevinSampler(steps_per_level=2, step_size=0.2).solve(model, x, levels, noise=again)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_langevin_ends_with_a_denoising() -> None:
    """The last state is the model's word at the last level, without noise."""
    x0 = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    model = FunctionDenoiser(lambda x, sigma, _: x0, data_shape=(2,), sigma_min=0.1, sigma_max=2.0)
    sampler = AnnealedLangevinSampler(steps=3, steps_per_level=2)
    assert torch.equal(sampler.sample(model, Noise(0, 0, 3)), x0)


def test_training_levels() -> None:
    """Where the papers draw sigma: log-normal (EDM), the geometric levels alike (NCSN), the timesteps alike (DDPM)."""
    torch.manual_seed(0)
    edm = EDM(EDMConfig(data_shape=(4,), network=SMALL, p_mean=-1.2, p_std=0.7))
    drawn = edm.draw_sigma(20_000).log()
    assert (drawn.mean(), drawn.std()) == (pytest.approx(-1.2, abs=0.02), pytest.approx(0.7, abs=0.02))
    ncsn = NCSN(NCSNConfig(data_shape=(4,), network=SMALL, num_levels=4))
    ddpm = DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=5))
    for model, levels in ((ncsn, [10.0, 1.0, 0.1, 0.01]), (ddpm, ddpm.sigmas.tolist())):
        drawn = model.draw_sigma(20_000)
        shares = [(drawn / level - 1).abs().lt(1e-9).double().mean().item() for level in levels]
        assert shares == pytest.approx([1 / len(levels)] * len(levels), abs=0.02)


def test_what_the_networks_are_told() -> None:
    """EDM: inputs of unit variance, log(sigma) / 4 in thousands; NCSN: log sigma in hundreds; DDPM: x_t."""
    sigma = torch.tensor([0.01, 0.7, 50.0], dtype=torch.float64)
    edm = EDM(EDMConfig(data_shape=(4,), network=SMALL, sigma_data=0.7))
    scale, level = edm.told(sigma)
    torch.testing.assert_close(scale.square() * (sigma**2 + 0.49), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(level, (250 * sigma.log()).float())
    ncsn, ddpm = NCSN(NCSNConfig(data_shape=(4,), network=SMALL)), DDPM(DDPMConfig(data_shape=(4,), network=SMALL))
    torch.testing.assert_close(ncsn.told(sigma)[1], (100 * sigma.log()).float())
    for model in (ncsn, ddpm):
        torch.testing.assert_close(model.told(sigma)[0], 1 / (1 + sigma**2).sqrt())


def test_consistent_step_keeps_the_noise_level() -> None:
    """What is left of the old noise and what is added make the next level; the smallest eta is Euler's step."""
    sampler, (s, t) = ConsistentAnnealedSampler(eta=0.5), (2.0, 1.3)
    step = sampler.step(s, t)
    assert (step.px * s) ** 2 + step.other**2 == pytest.approx(t**2)
    assert ConsistentAnnealedSampler(eta=1 - t / s).step(s, t) == pytest.approx(EulerSampler().step(s, t), abs=1e-7)
    with pytest.raises(GencoreError, match="take eta >= 0.5"):
        ConsistentAnnealedSampler(eta=0.1).step(2.0, 1.0)
    for eta in (0.0, 1.1, math.nan):
        with pytest.raises(GencoreError, match="eta is"):
            ConsistentAnnealedSampler(eta=eta)


def test_sample_depends_on_seed_and_index_alone() -> None:
    """With fresh noise at every step, in any batch size."""
    model = awake(DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20)))
    sampler = DDIMSampler(steps=10, eta=1.0, clip=1.0)
    whole = model.sample(5, seed=2, sampler=sampler)
    torch.testing.assert_close(model.sample(5, seed=2, sampler=sampler, batch_size=2), whole)
    torch.testing.assert_close(model.sample(1, seed=2, start=4, sampler=sampler), whole[4:])


def test_where_sampling_begins() -> None:
    """sigma_max eps; sqrt(1 + sigma_max^2) eps where the network sees x_T, of variance 1 (DDPM)."""
    ddpm = DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20))
    eps = Noise(2, 0, 3).normal(4)
    for model, scale in ((ddpm, math.sqrt(1 + 0.5**2)), (ideal_gaussian(0.0, 1.0, dim=4), 0.5)):
        torch.testing.assert_close(prior(model, Noise(2, 0, 3), 0.5), scale * eps)


def test_samplers_by_name() -> None:
    """As `model.sample(..., sampler="dpm++2m", steps=7)` finds them."""
    model = awake(DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20, num_classes=3)))
    named = model.sample(3, condition=1, sampler="dpm++2m", steps=7, guidance=2.0, clip=1.0)
    made = model.sample(3, condition=1, sampler=DPMSolverSampler(steps=7, guidance=2.0, clip=1.0))
    assert torch.equal(named, made)
    with pytest.raises(GencoreError, match="Did you mean 'dpm\\+\\+2m'"):
        model.sample(3, sampler="dpmpp2m")
    with pytest.raises(GencoreError, match="churn"):
        model.sample(3, sampler="ddim", churn=1.0)


def test_no_recompilation_over_steps() -> None:
    """One capture for the whole sampling loop; the samples stay the same."""
    model = awake(DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20)))
    sampler = DDIMSampler(steps=8, eta=0.5, clip=1.0)
    eager = model.sample(4, sampler=sampler)
    captures: list[object] = []

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        captures.append(graph)
        return graph

    torch._dynamo.reset()
    compile_regions(model, model.regions, backend=count)
    compiled = model.sample(4, sampler=sampler)
    torch._dynamo.reset()
    assert len(captures) == 1
    torch.testing.assert_close(compiled, eager)
