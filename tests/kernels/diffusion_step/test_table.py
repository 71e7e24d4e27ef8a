"""Step tables against float64 transcriptions of the published samplers, and against diffusers where it is installed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gencore_kernels.diffusion_step import (
    StepRow,
    ddpm_table,
    diffusion_step,
    euler_table,
    flow_table,
    stack_rows,
    step_table,
)

ALPHAS = (1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)).cumprod(0)
TIMESTEPS = list(range(980, -1, -20))
STEPS = (0, 10, 25, 48, 49)
PREDICTIONS = ("eps", "x0", "v")


def tensors() -> tuple[Tensor, Tensor, Tensor]:
    return tuple(torch.randn(2, 50, dtype=torch.float64) for _ in range(3))


def run(table: Tensor, index: int, x: Tensor, out: Tensor, z: Tensor, **arguments) -> Tensor:
    return diffusion_step(x, out, table, index, noise=z, backend="reference", **arguments)


def estimates(prediction: str, alpha: Tensor, x: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """(x0, eps) from the network's output, by the definitions of the three parametrisations."""
    if prediction == "eps":
        return (x - (1 - alpha).sqrt() * out) / alpha.sqrt(), out
    if prediction == "x0":
        return out, (x - alpha.sqrt() * out) / (1 - alpha).sqrt()
    return alpha.sqrt() * x - (1 - alpha).sqrt() * out, alpha.sqrt() * out + (1 - alpha).sqrt() * x


def close(actual: Tensor, expected: Tensor) -> None:
    """The table is rounded to float32; the rest is float64."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=4e-7 * max(1.0, expected.abs().max().item()))


@pytest.mark.parametrize("index", STEPS)
@pytest.mark.parametrize("clipped_eps", [False, True])
@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim(eta, prediction, clip, clipped_eps, index) -> None:
    """Song et al. 2021, equations 12 and 16."""
    x, out, z = tensors()
    alpha = ALPHAS[TIMESTEPS[index]]
    alpha_next = ALPHAS[TIMESTEPS[index + 1]] if index < 49 else torch.tensor(1.0, dtype=torch.float64)
    x0, eps = estimates(prediction, alpha, x, out)
    if clip is not None:
        x0 = x0.clamp(-clip, clip)
    if clipped_eps:
        eps = (x - alpha.sqrt() * x0) / (1 - alpha).sqrt()
    sigma = eta * ((1 - alpha_next) / (1 - alpha)).sqrt() * (1 - alpha / alpha_next).sqrt()
    expected = alpha_next.sqrt() * x0 + (1 - alpha_next - sigma**2).clamp(min=0).sqrt() * eps + sigma * z
    table = step_table(ALPHAS, TIMESTEPS, prediction=prediction, eta=eta, clip=clip, clipped_eps=clipped_eps)
    close(run(table, index, x, out, z), expected)


@pytest.mark.parametrize("index", [0, 500, 998, 999])
@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_ddpm(variance, prediction, clip, index) -> None:
    """Ho et al. 2020, equation 7 and section 3.2; every training step is visited, and the last one draws no noise."""
    x, out, z = tensors()
    t = 999 - index
    beta = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)[t]
    bar, bar_before = ALPHAS[t], ALPHAS[t - 1] if t else torch.tensor(1.0, dtype=torch.float64)
    x0, _ = estimates(prediction, bar, x, out)
    if clip is not None:
        x0 = x0.clamp(-clip, clip)
    mean = bar_before.sqrt() * beta / (1 - bar) * x0 + (1 - beta).sqrt() * (1 - bar_before) / (1 - bar) * x
    spread = (1 - bar_before) / (1 - bar) * beta if variance == "posterior" else beta * (t > 0)
    table = ddpm_table(ALPHAS, range(999, -1, -1), prediction=prediction, variance=variance, clip=clip)
    close(run(table, index, x, out, z), mean + spread.sqrt() * z)


def test_ddpm_is_ddim_with_eta_one_where_nothing_is_clamped() -> None:
    x, out, z = tensors()
    ddim, ddpm = step_table(ALPHAS, TIMESTEPS, eta=1.0), ddpm_table(ALPHAS, TIMESTEPS)
    for index in STEPS:
        close(run(ddpm, index, x, out, z), run(ddim, index, x, out, z))


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_euler_over_sigma(eta, prediction) -> None:
    """Karras et al. 2022, Algorithm 1, lines 4 and 5; ancestral: the step down to sigma_down, plus sigma_up noise."""
    x, out, z = tensors()
    sigmas = [14.6, 5.0, 1.0, 0.3, 0.0]
    table = euler_table(sigmas, prediction=prediction, eta=eta)
    for index in range(4):
        now, after = sigmas[index], sigmas[index + 1]
        up = eta * math.sqrt(after**2 * (now**2 - after**2) / now**2)
        down = math.sqrt(after**2 - up**2)
        denoised = {
            "x0": out,
            "eps": x - now * out,
            "v": x / (now**2 + 1) - out * now / math.sqrt(now**2 + 1),
        }[prediction]
        slope = (x - denoised) / now
        expected = x + (down - now) * slope + up * z
        torch.testing.assert_close(run(table, index, x, out, z), expected, rtol=0, atol=1e-5)


def test_flow() -> None:
    x, out, z = tensors()
    times = torch.linspace(1.0, 0.0, 6).tolist()
    table = flow_table(times)
    for index in range(5):
        expected = x + (times[index + 1] - times[index]) * out
        close(run(table, index, x, out, z), expected)


def test_exact_network_is_followed_to_the_data() -> None:
    """With a network that knows the answer, every sampler without noise ends at x0, in any number of steps."""
    x0, noise = torch.randn(2, 3, 20, dtype=torch.float64).unbind(0)
    x = ALPHAS[980].sqrt() * x0 + (1 - ALPHAS[980]).sqrt() * noise
    table = step_table(ALPHAS, TIMESTEPS)
    for index in range(50):
        x = diffusion_step(x, noise, table, index, backend="reference")
    torch.testing.assert_close(x, x0, rtol=0, atol=1e-4)  # the first kx is 150, rounded to float32: 150 * 4 * 6e-8
    x = noise.clone()
    table = flow_table(torch.linspace(1, 0, 8))
    for index in range(7):
        x = diffusion_step(x, noise - x0, table, index, backend="reference")
    torch.testing.assert_close(x, x0, rtol=0, atol=1e-5)


@pytest.mark.parametrize("thresholding", [False, True])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_diffusers_ddim_agrees(eta, prediction, thresholding) -> None:
    schedulers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    names = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
    scheduler = schedulers.DDIMScheduler(
        clip_sample=not thresholding, thresholding=thresholding, sample_max_value=2.0, prediction_type=names[prediction]
    )
    scheduler.set_timesteps(50)
    table = step_table(
        scheduler.alphas_cumprod, scheduler.timesteps, prediction=prediction, eta=eta, clip=2.0 if thresholding else 1.0
    )
    x, out, z = (torch.randn(3, 2, 4, 4) for _ in range(3))
    for index in (0, 30, 49):
        theirs = scheduler.step(out, int(scheduler.timesteps[index]), x, eta=eta, variance_noise=z).prev_sample
        ours = diffusion_step(x, out, table, index, noise=z, threshold=0.995 if thresholding else None)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_diffusers_ddpm_agrees(variance) -> None:
    schedulers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    kind = {"posterior": "fixed_small", "beta": "fixed_large"}[variance]
    scheduler = schedulers.DDPMScheduler(variance_type=kind)
    scheduler.set_timesteps(50)
    table = ddpm_table(scheduler.alphas_cumprod, scheduler.timesteps, variance=variance, clip=1.0)
    x, out = torch.randn(2, 3, 2, 4, 4).unbind(0)
    for index in (0, 30, 49):
        theirs = scheduler.step(
            out, int(scheduler.timesteps[index]), x, generator=torch.Generator().manual_seed(3)
        ).prev_sample
        z = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
        ours = diffusion_step(x, out, table, index, noise=z)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_rows_are_named_columns() -> None:
    rows = [StepRow(1, 2, 3, 4, 5, 6), StepRow(1, 2, 3, 4, 5, 6, 7, 8)]
    table = stack_rows(rows)
    assert table.dtype == torch.float32
    assert table.tolist() == [[1, 2, 3, 4, 5, 6, math.inf, 1], [1, 2, 3, 4, 5, 6, 7, 8]]
    assert step_table(ALPHAS, [5], clip=1.5, guidance=3.0)[0, 6:].tolist() == [1.5, 3.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: step_table(ALPHAS, TIMESTEPS, eta=1.1), r"eta must be in \[0, 1\], got 1.1"),
        (lambda: step_table(ALPHAS, TIMESTEPS, clip=0.0), "clip must be positive"),
        (lambda: step_table(ALPHAS, TIMESTEPS, prediction="epsilon"), "'eps', 'x0' or 'v', got 'epsilon'"),
        (lambda: step_table(ALPHAS, []), "at least one"),
        (lambda: step_table(ALPHAS, [10, 20]), "falling integers"),
        (lambda: step_table(ALPHAS, [10.0, 5.0]), "falling integers"),
        (lambda: step_table(ALPHAS, [1000]), "run from 1000 to 1000; alphas_cumprod has steps 0 to 999"),
        (lambda: step_table(ALPHAS, [3, -1]), "run from 3 to -1"),
        (lambda: step_table(ALPHAS.flip(0), [3]), "falling"),
        (lambda: step_table([1.5, 0.5], [1]), r"within \[0, 1\]"),
        (lambda: step_table([1.0, 0.5], [1, 0]), "1 at timestep 0"),
        (lambda: step_table([0.9, 0.0], [1, 0]), "says nothing of x0 where alphas_cumprod is 0"),
        (lambda: step_table([0.9, 0.0, 0.0], [2, 1, 0], prediction="v"), "0 at two of the timesteps"),
        (lambda: ddpm_table(ALPHAS, [3], variance="learned"), "'posterior' or 'beta', got 'learned'"),
        (lambda: euler_table([1.0]), "at least two falling numbers"),
        (lambda: euler_table([1.0, 2.0]), "falling"),
        (lambda: euler_table([1.0, -1.0]), "within"),
        (lambda: euler_table([1.0, 0.0], eta=-1.0), "eta"),
        (lambda: euler_table([1.0, 0.0], prediction="flow"), "got 'flow'"),
        (lambda: flow_table([1.5, 0.0]), r"within \[0.0, 1.0\]"),
        (lambda: flow_table([1.0, math.nan]), "falling"),
        (lambda: stack_rows([]), "at least one row"),
    ],
)
def test_bad_arguments_are_named(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_zero_terminal_signal_works_for_v() -> None:
    table = step_table([0.9, 0.5, 0.0], [2, 1, 0], prediction="v", clip=1.0, clipped_eps=True)
    assert table.isfinite().all()
