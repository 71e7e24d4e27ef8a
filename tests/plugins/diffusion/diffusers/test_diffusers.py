"""The diffusers adapter against diffusers itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import gencore
from gencore import Noise
from gencore.errors import GencoreError
from gencore_diffusion.diffusers.checkpoint import from_diffusers
from gencore_diffusion.diffusers.config import KINDS, scheduler_config
from gencore_diffusion.diffusers.scheduler import DiffusersScheduler
from gencore_diffusion.samplers.solvers import DDIMSampler

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CASES: list[tuple[str, dict[str, Any]]] = [
    ("DDPMScheduler", {}),
    ("DDPMScheduler", {"variance_type": "fixed_large", "beta_schedule": "squaredcos_cap_v2", "clip_sample": False}),
    ("DDPMScheduler", {"prediction_type": "v_prediction", "timestep_spacing": "trailing"}),
    ("DDIMScheduler", {}),
    ("DDIMScheduler", {"set_alpha_to_one": False, "steps_offset": 1, "beta_schedule": "scaled_linear"}),
    ("DDIMScheduler", {"prediction_type": "sample", "clip_sample_range": 0.7}),
    ("DDIMScheduler", {"thresholding": True, "clip_sample": False, "sample_max_value": 1.5}),
    ("DDIMScheduler", {"timestep_spacing": "linspace", "clip_sample": False, "prediction_type": "v_prediction"}),
    ("EulerDiscreteScheduler", {}),
    ("EulerDiscreteScheduler", {"use_karras_sigmas": True, "timestep_spacing": "leading", "steps_offset": 1}),
    ("EulerDiscreteScheduler", {"prediction_type": "v_prediction", "final_sigmas_type": "sigma_min"}),
    ("HeunDiscreteScheduler", {}),
    ("HeunDiscreteScheduler", {"use_karras_sigmas": True, "timestep_spacing": "trailing"}),
    ("HeunDiscreteScheduler", {"clip_sample": True, "prediction_type": "sample"}),
    ("DPMSolverMultistepScheduler", {}),
    ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True, "prediction_type": "v_prediction"}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "timestep_spacing": "trailing"}),
    ("DPMSolverMultistepScheduler", {"final_sigmas_type": "sigma_min", "timestep_spacing": "leading"}),
    ("DPMSolverMultistepScheduler", {"solver_order": 1, "thresholding": True, "sample_max_value": 2.0}),
]


def run_loop(scheduler: Any, steps: int, **keywords: Any) -> Tensor:
    """A user's loop, with a network that depends on what it is shown and on the time."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 8, 8, generator=generator)
    scheduler.set_timesteps(steps)
    x = x * scheduler.init_noise_sigma
    takes = {"generator": torch.Generator().manual_seed(1)} if "Heun" not in str(keywords.get("name")) else {}
    options = {name: value for name, value in keywords.items() if name != "name"}
    for t in scheduler.timesteps:
        shown = scheduler.scale_model_input(x, t)
        out = torch.tanh(1.3 * shown + 0.5 * torch.sin(t / 100)) * 0.9
        x = scheduler.step(out, t, x, **takes, **options).prev_sample
    return x


@pytest.mark.parametrize(("name", "changes"), CASES, ids=lambda c: c if isinstance(c, str) else "-".join(c) or "plain")
@pytest.mark.parametrize("steps", [7, 20])
def test_loops_equal_diffusers(name: str, changes: dict[str, Any], steps: int) -> None:
    theirs = getattr(diffusers, name)(**changes)
    ours = DiffusersScheduler(json.loads(theirs.to_json_string()))
    expected = run_loop(theirs, steps, name=name)
    got = run_loop(ours, steps, name=name)
    rounded = 0.01 if changes.get("use_karras_sigmas") else 0.0  # theirs go through float32: 0.005 of 1000 measured
    torch.testing.assert_close(ours.timesteps.double(), theirs.timesteps.double(), rtol=0, atol=rounded)
    torch.testing.assert_close(got, expected, rtol=2e-4, atol=2e-4)
    brief = DiffusersScheduler({"_class_name": name, **changes})
    assert torch.equal(run_loop(brief, steps, name=name), got)


@pytest.mark.parametrize("clipped", [False, True])
def test_ddim_eta_equals_diffusers(clipped: bool) -> None:
    options = {"eta": 0.6, "use_clipped_model_output": clipped}
    expected = run_loop(diffusers.DDIMScheduler(), 10, **options)
    got = run_loop(DiffusersScheduler({"_class_name": "DDIMScheduler"}), 10, **options)
    torch.testing.assert_close(got, expected, rtol=2e-4, atol=2e-4)


UNET = {
    "sample_size": 16,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": (16, 32, 32),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 8,
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "attention_head_dim": None,
            "downsample_padding": 0,
            "flip_sin_to_cos": False,
            "freq_shift": 1,
            "norm_eps": 1e-6,
        },
    ],
    ids=["defaults", "as-google-ddpm"],
)
def test_unet_is_numerically_equal(changes: dict[str, Any], tmp_path: Path) -> None:
    """The network, and a whole DDIM loop: our sampler on our model against diffusers' on theirs."""
    torch.manual_seed(0)
    theirs = diffusers.UNet2DModel(**{**UNET, **changes}).eval()
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=20, clip_sample=False, timestep_spacing="linspace")
    diffusers.DDPMPipeline(unet=theirs, scheduler=scheduler).save_pretrained(tmp_path)
    model = from_diffusers(tmp_path)
    x = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        for t in (0, 7, 19):
            expected = theirs(x, t).sample
            got = model.network(x, torch.full((2,), float(t)), None)
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
        noise = Noise(0, 0, 2).normal(1, 16, 16)
        x = noise.clone()
        scheduler.set_timesteps(20)
        for t in scheduler.timesteps:
            x = scheduler.step(theirs(x, t).sample, t, x).prev_sample
    start = (model.alphas_cumprod[-1].rsqrt() * noise).float()
    with torch.no_grad():
        ours = DDIMSampler(steps=20).solve(model, start, DDIMSampler(steps=20).sigmas(model))
    torch.testing.assert_close(ours, x, rtol=2e-3, atol=2e-3)


def test_a_read_model_is_an_ordinary_one(tmp_path: Path) -> None:
    """Saved in our format and loaded again to the bit."""
    diffusers.UNet2DModel(**UNET).save_pretrained(tmp_path / "unet")
    model = from_diffusers(tmp_path)
    model.save_pretrained(tmp_path / "ours")
    again = gencore.from_pretrained(tmp_path / "ours")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def write_unet(folder: Path, **changes: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel", **UNET, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_embed_type": "timestep"}, "class_embed_type"),
        ({"_class_name": "UNet2DConditionModel"}, "only an unconditional UNet2DModel"),
        ({"down_block_types": ("DownBlock2D", "SkipDownBlock2D", "DownBlock2D")}, "SkipDownBlock2D"),
        ({"out_channels": 2}, "differ"),
        ({"up_block_types": ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D")}, "attends at other levels"),
        ({"sample_size": None}, "names no sample_size"),
        ({}, "There is no .*safetensors"),
    ],
)
def test_checkpoints_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_unet(tmp_path, **changes)
    with pytest.raises(GencoreError, match=message):
        from_diffusers(tmp_path)


def test_broken_weights(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    write_unet(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="safetensors"):
        from_diffusers(tmp_path)
    save_file({"conv_in.weight": torch.zeros(1)}, path)
    with pytest.raises(GencoreError, match="another architecture"):
        from_diffusers(tmp_path)


def test_variants_and_several_files_are_read(tmp_path: Path) -> None:
    """As diffusers writes them; they are not pickled, and no two variants are chosen between."""
    theirs = diffusers.UNet2DModel(**UNET)
    theirs.save_pretrained(tmp_path / "whole")
    theirs.save_pretrained(tmp_path / "parts", max_shard_size="40KB")
    theirs.half().save_pretrained(tmp_path / "half", variant="fp16")
    theirs.save_pretrained(tmp_path / "both", variant="fp16", max_shard_size="40KB")
    whole, parts, half, both = (
        from_diffusers(tmp_path / name).state_dict() for name in ("whole", "parts", "half", "both")
    )
    assert not (tmp_path / "parts" / "diffusion_pytorch_model.safetensors").exists()
    for name, value in whole.items():
        assert torch.equal(parts[name], value)
        assert half[name].dtype == value.dtype
        torch.testing.assert_close(half[name], value, rtol=1e-3, atol=1e-6)
        assert torch.equal(half[name], both[name])
    (tmp_path / "half" / "diffusion_pytorch_model.bf16.safetensors").write_bytes(b"")
    with pytest.raises(GencoreError, match=r"several variants of the weights \(.*bf16.*fp16"):
        from_diffusers(tmp_path / "half")
    index = tmp_path / "parts" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": "../whole/diffusion_pytorch_model.safetensors"}}))
    with pytest.raises(GencoreError, match=r"names '\.\./whole.*expected a .safetensors file beside it"):
        from_diffusers(tmp_path / "parts")


def test_pickled_weights_are_named(tmp_path: Path) -> None:
    write_unet(tmp_path)
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(GencoreError, match=r"Pickled weights \(diffusion_pytorch_model\.bin\) are not read"):
        from_diffusers(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [{"block_out_channels": [2**14, 2**14, 2**14]}, {"layers_per_block": 2**20}, {"sample_size": 2**30}],
    ids=["wide", "deep", "large"],
)
def test_a_config_that_asks_for_more_than_its_weights_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    """At once, as gencore.from_pretrained does."""
    diffusers.UNet2DModel(**UNET).save_pretrained(tmp_path)
    data = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(data | changes))
    with pytest.raises(ValueError, match="the files do not belong together"):
        from_diffusers(tmp_path)


def test_a_schedule_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GencoreError, match="num_train_timesteps"):
        scheduler_config({"_class_name": "DDPMScheduler", "num_train_timesteps": 10**9})
    (tmp_path / "scheduler_config.json").write_text("[" * 100_000)
    with pytest.raises(GencoreError, match="nested too deep|not JSON"):
        scheduler_config(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"_class_name": "PNDMScheduler"}, "PNDMScheduler"),
        ({}, "_class_name is None"),
        ({"_class_name": "DDPMScheduler", "variance_type": "learned_range"}, "learned_range"),
        ({"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        ({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3}, "solver_order"),
        ({"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver"}, "algorithm_type"),
        ({"_class_name": "EulerDiscreteScheduler", "use_beta_sigmas": True}, "use_beta_sigmas"),
        ({"_class_name": "DDPMScheduler", "num_train_timesteps": 1}, "num_train_timesteps"),
    ],
)
def test_schedulers_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        scheduler_config(data)


@given(st.binary(max_size=200))
def test_any_bytes_as_a_config(content: bytes) -> None:
    """Never anything but GencoreError."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scheduler_config.json"
        path.write_bytes(content)
        with pytest.raises(GencoreError):
            scheduler_config(path)


def test_the_loop_s_order_is_kept() -> None:
    """Before set_timesteps, out of order, past the end."""
    x = torch.zeros(1, 2)
    for name in KINDS:
        scheduler = DiffusersScheduler({"_class_name": name})
        with pytest.raises(GencoreError, match="call set_timesteps"):
            scheduler.step(x, 1, x)
        with pytest.raises(GencoreError, match="num_inference_steps is 0"):
            scheduler.set_timesteps(0)
        scheduler.set_timesteps(1)
        with pytest.raises(GencoreError, match="loop's next is"):
            scheduler.step(x, 12345, x)
        scheduler.step(x, scheduler.timesteps[0], x)
        with pytest.raises(GencoreError, match="1 steps are done"):
            scheduler.step(x, scheduler.timesteps[0], x)
