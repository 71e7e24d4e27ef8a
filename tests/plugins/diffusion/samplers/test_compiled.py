"""The sampling loop compiled: one graph a loop, whole, the same samples; what a machine without a compiler does."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore import compilation
from gencore.compilation import compile_regions
from gencore.errors import NonFiniteError
from gencore_diffusion.ddpm import DDPM, DDPMConfig
from gencore_diffusion.edm import EDM, EDMConfig
from gencore_diffusion.ncsn import NCSN, NCSNConfig
from gencore_diffusion.networks.build import DenseConfig
from gencore_diffusion.networks.unet import UNetConfig
from gencore_diffusion.parts.denoiser import Denoiser
from gencore_diffusion.samplers.names import SAMPLERS, DDPMSampler, InpaintSampler
from gencore_diffusion.samplers.solvers import DDIMSampler

SMALL = DenseConfig(hidden=16, layers=1)
OPTIONS: dict[str, dict[str, Any]] = {
    "consistent-annealed": {"eta": 1.0},
    "ddim": {"eta": 0.5, "clip": 1.0},
    "heun": {"churn": 2.0},
    "langevin": {"steps_per_level": 2},
}


class Capturing:
    """A backend that runs what it is given, and keeps it."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        self.graphs.append(graph)
        return graph.forward


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def awake(model: Denoiser) -> Denoiser:
    """Random weights everywhere."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()


def compiled(model: Denoiser) -> tuple[Denoiser, Capturing]:
    """A copy whose steps are captured. A graph break or a second capture is an error of its own under fullgraph."""
    backend = Capturing()
    copied = copy.deepcopy(model)
    copied.step_backend = backend
    return copied, backend


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_one_graph_for_all_steps_and_calls(name: str) -> None:
    """Denoiser and update are captured once; other steps, and another call of equal shape, run the same graph."""
    model = awake(DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20, num_classes=3)))
    options = {"steps": 6, **OPTIONS.get(name, {})}
    eager = [model.sample(4, seed=seed, condition=1, sampler=name, **options) for seed in (0, 1)]
    fast, backend = compiled(model)
    for seed in (0, 1):
        samples = fast.sample(4, seed=seed, condition=1, sampler=name, **options)
        torch.testing.assert_close(samples, eager[seed], rtol=1e-4, atol=1e-5)
    assert len(backend.graphs) == 1
    targets = [str(node.target) for node in backend.graphs[0].graph.nodes]
    assert any("linear" in target for target in targets), "the network is not in the graph"
    clamps = sum("clamp" in target for target in targets)  # an update clamps the step's number, and x0
    assert clamps == (4 if name.startswith("dpm++") else 2), "an update is not in the graph"


@pytest.mark.parametrize(
    "model",
    [
        DDPM(DDPMConfig(data_shape=(1, 8, 8), network=UNetConfig(channels=(8, 16)), num_timesteps=20, num_classes=3)),
        EDM(EDMConfig(data_shape=(4,), network=SMALL, num_classes=3)),
        NCSN(NCSNConfig(data_shape=(4,), network=SMALL, num_classes=3)),
        DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20, num_classes=3, variance="learned")),
    ],
    ids=["ddpm", "edm", "ncsn", "learned"],
)
def test_every_system_guided(model: Denoiser) -> None:
    """Both predictions of guidance, and the learned variance's draw, in the one graph."""
    awake(model)
    variance = "learned" if getattr(model, "learns_variance", False) else "beta"
    sampler = DDPMSampler(steps=5, guidance=2.0, clip=1.0, variance=variance)
    eager = model.sample(3, condition=2, sampler=sampler)
    fast, backend = compiled(model)
    torch.testing.assert_close(fast.sample(3, condition=2, sampler=sampler), eager, rtol=1e-4, atol=1e-4)
    assert len(backend.graphs) == 1


def test_inpainting_runs_the_same_graph() -> None:
    model = awake(DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20)))
    known, mask = torch.zeros(1, 4), torch.tensor([[True, True, False, False]])
    sampler = InpaintSampler(known=known, mask=mask, rounds=2, sampler=DDPMSampler(steps=5))
    eager = model.sample(3, sampler=sampler)
    fast, backend = compiled(model)
    torch.testing.assert_close(fast.sample(3, sampler=sampler), eager, rtol=1e-4, atol=1e-5)
    assert len(backend.graphs) == 1


def test_dynamo_sees_no_break_and_no_recompile() -> None:
    """By the compiler's own counters."""
    counters = torch._dynamo.utils.counters
    counters.clear()
    fast, _ = compiled(awake(DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20))))
    for seed in range(3):
        fast.sample(4, seed=seed, sampler="ddpm", steps=7)
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


def test_a_copy_samples_from_its_own_weights() -> None:
    """The compiled step belongs to no model: a deep copy that changes does not draw the original's samples."""
    fast, backend = compiled(awake(DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20))))
    before = fast.sample(2, steps=3)
    other = copy.deepcopy(fast)
    other.step_backend = backend
    torch.nn.init.zeros_(other.network.head.weight)
    torch.nn.init.zeros_(other.network.head.bias)
    assert not torch.allclose(other.sample(2, steps=3), before, atol=1e-2)
    assert torch.equal(fast.sample(2, steps=3), before)


def test_a_broken_network_is_named_when_compiled() -> None:
    fast, _ = compiled(awake(DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20))))
    torch.nn.init.constant_(fast.network.head.bias, float("nan"))
    with pytest.raises(NonFiniteError, match=r"step 1 of 3, sigma \d"):
        fast.sample(2, sampler="ddim", steps=3)


def test_too_many_shapes_run_eager_with_a_warning() -> None:
    """The compiler's limit is no end of sampling."""
    model = awake(DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20)))
    fast, _ = compiled(model)
    with torch._dynamo.config.patch(recompile_limit=2):
        for count in (1, 2):
            fast.sample(count, steps=2)
        with pytest.warns(UserWarning, match="Running eager: torch.compile has met its limit of shapes"):
            samples = fast.sample(3, steps=2)
    torch.testing.assert_close(samples, model.sample(3, steps=2))


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning, then eager."""
    monkeypatch.setattr(compilation, "missing_compiler", lambda: "there is no C++ compiler")
    monkeypatch.setattr("gencore_diffusion.parts.denoiser.missing_compiler", lambda: "there is no C++ compiler")
    model = awake(DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20)))
    expected = model.sample(2, steps=3)
    with pytest.warns(UserWarning, match="Not compiled: there is no C\\+\\+ compiler"):
        model.compile()
    assert model.step_backend is None
    assert torch.equal(model.sample(2, steps=3), expected)


def test_a_region_left_eager_leaves_the_steps_eager() -> None:
    model = awake(DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20)))
    model.compile(eager=("network",))
    assert model.step_backend is None


@pytest.mark.slow
@pytest.mark.skipif(compilation.missing_compiler() is not None, reason="there is no compiler on this machine")
def test_the_real_compiler() -> None:
    """`model.compile()` as a user calls it; torch's own counters; state-dict keys stay."""
    model = awake(DDPM(DDPMConfig(data_shape=(4,), network=SMALL, num_timesteps=20, num_classes=3)))
    eager = model.sample(4, condition=1, sampler="ddim", steps=6, guidance=2.0, eta=1.0)
    keys = list(model.state_dict())
    torch._dynamo.utils.counters.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.compile()
    for _ in range(2):
        samples = model.sample(4, condition=1, sampler="ddim", steps=6, guidance=2.0, eta=1.0)
        torch.testing.assert_close(samples, eager, rtol=1e-3, atol=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]
    assert list(model.state_dict()) == keys


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_cuda_graphs(name: str) -> None:
    """On a GPU the loop replays CUDA graphs: the eager samples, twice, from one graph."""
    model = gencore.create("ddpm", data_shape=(1, 16, 16), num_timesteps=20).to("cuda")
    awake(model.cpu()).to("cuda")
    options = {"steps": 8, **OPTIONS.get(name, {})}
    eager = model.sample(4, sampler=name, **options)
    torch._dynamo.utils.counters.clear()
    model.compile()
    for _ in range(3):
        torch.testing.assert_close(model.sample(4, sampler=name, **options), eager, rtol=1e-3, atol=1e-3)
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["inductor"]["cudagraph_skips"]


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
