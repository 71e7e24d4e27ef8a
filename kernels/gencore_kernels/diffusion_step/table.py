"""A diffusion step as eight numbers, worked out on the host in float64: one row a step, whatever the sampler.

    o  = uncond + guidance (out - uncond)        classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598, eq.
    6)
    x0 = clamp(kx x + ko o, -radius, radius)     the network's estimate of the clean sample
    y  = p0 x0 + px x + po o + sigma z           the next sample, z ~ N(0, 1)

The builders differ only in the eight numbers. Papers: DDPM, Ho, Jain, Abbeel 2020, arXiv:2006.11239; DDIM, Song, Meng,
Ermon 2021, arXiv:2010.02502; v-prediction, Salimans and Ho 2022, arXiv:2202.00512; Euler over sigma, Karras, Aittala,
Aila, Laine 2022, arXiv:2206.00364; rectified flow, Liu, Gong, Liu 2023, arXiv:2209.03003.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Prediction = Literal["eps", "x0", "v"]
Variance = Literal["posterior", "beta"]


class StepRow(NamedTuple):
    """One step; the fields are the columns of a table, in this order.

    Write rows for a sampler of your own and `stack_rows` them.
    """

    kx: float
    ko: float
    p0: float
    px: float
    po: float
    sigma: float
    radius: float = math.inf
    guidance: float = 1.0


def stack_rows(rows: Iterable[StepRow]) -> Tensor:
    """The rows of a sampler, first step first -> [T, 8] float32. Raises ValueError when there is none."""
    numbers = torch.tensor(list(rows), dtype=torch.float64)
    if not len(numbers):
        raise ValueError("a step table needs at least one row, got none")
    return numbers.float()


def step_table(
    alphas_cumprod: Tensor | Sequence[float],
    timesteps: Tensor | Sequence[int],
    *,
    prediction: Prediction = "eps",
    eta: float = 0.0,
    clip: float | None = None,
    guidance: float = 1.0,
    clipped_eps: bool = False,
) -> Tensor:
    """The table of DDIM (arXiv:2010.02502, eq. 12 and 16): eta = 0 is deterministic, eta = 1 has DDPM's posterior
    variance.

    alphas_cumprod: alpha-bar of every training step, [T_train], in [0, 1], falling.
    timesteps: the indices to visit, falling. After the last one comes alpha-bar = 1, the clean sample.
    prediction: what the network's output is: the noise, the clean sample, or v = sqrt(alpha-bar) eps - sqrt(1 -
        alpha-bar) x0.
    eta: the share of the posterior's standard deviation that is drawn anew, in [0, 1].
    clip: x0 is clamped to [-clip, clip]; None does not clamp. With a dynamic threshold it is the largest scale allowed.
    guidance: weight of the conditional output; 1 is no guidance. For a schedule write column 7 of the result.
    clipped_eps: work the noise out anew from the clamped x0, instead of keeping the network's.
    Returns [len(timesteps), 8] float32, columns as in `StepRow`. All is computed in float64.
    Raises ValueError for arguments out of these ranges.
    """
    if not 0.0 <= eta <= 1.0:
        raise ValueError(f"eta must be in [0, 1], got {eta}: 0 is DDIM, 1 is DDPM's posterior variance")

    def row(alpha: float, alpha_next: float) -> StepRow:
        kx, ko, ex, eo = predicted(prediction, alpha)
        deviation = eta * math.sqrt((1 - alpha_next) / (1 - alpha) * max(0.0, 1 - alpha / alpha_next))
        direction = math.sqrt(max(0.0, 1 - alpha_next - deviation**2))
        signal = math.sqrt(alpha_next)
        if clipped_eps:  # eps = (x - sqrt(alpha) x0) / sqrt(1 - alpha), x0 clamped
            noise = math.sqrt(1 - alpha)
            return StepRow(kx, ko, signal - direction * math.sqrt(alpha) / noise, direction / noise, 0.0, deviation)
        return StepRow(kx, ko, signal, direction * ex, direction * eo, deviation)

    return _over_timesteps(row, alphas_cumprod, timesteps, prediction, clip, guidance)


def ddpm_table(
    alphas_cumprod: Tensor | Sequence[float],
    timesteps: Tensor | Sequence[int],
    *,
    prediction: Prediction = "eps",
    variance: Variance = "posterior",
    clip: float | None = None,
    guidance: float = 1.0,
) -> Tensor:
    """The table of DDPM's ancestral sampling: the mean of arXiv:2006.11239, eq. 7, with either variance of its section
    3.2.

    variance: "posterior" is beta~ of eq. 7, "beta" is beta itself; the last step draws no noise (Algorithm 2).
    Between visited timesteps that are not neighbours, alpha is the ratio of their alphas-bar and beta = 1 - alpha.
    Other arguments, result and errors as in `step_table`.
    """
    if variance not in ("posterior", "beta"):
        raise ValueError(f"variance must be 'posterior' or 'beta', got {variance!r}")

    def row(alpha_bar: float, alpha_bar_next: float) -> StepRow:
        kx, ko, _, _ = predicted(prediction, alpha_bar)
        alpha = alpha_bar / alpha_bar_next
        beta = 1 - alpha
        p0 = math.sqrt(alpha_bar_next) * beta / (1 - alpha_bar)
        px = math.sqrt(alpha) * (1 - alpha_bar_next) / (1 - alpha_bar)
        posterior = beta * (1 - alpha_bar_next) / (1 - alpha_bar)
        drawn = posterior if variance == "posterior" or alpha_bar_next == 1.0 else beta
        return StepRow(kx, ko, p0, px, 0.0, math.sqrt(drawn))

    return _over_timesteps(row, alphas_cumprod, timesteps, prediction, clip, guidance)


def euler_table(
    sigmas: Tensor | Sequence[float],
    *,
    prediction: Prediction = "x0",
    eta: float = 0.0,
    clip: float | None = None,
    guidance: float = 1.0,
) -> Tensor:
    """The table of Euler's method over sigma, x = x0 + sigma noise (arXiv:2206.00364, Algorithm 1 without the
    second-order correction).

    sigmas: [T + 1], falling; the last may be 0. sigma is the standard deviation of the noise in x, for data of any
        scale.
    prediction: "x0" for a denoiser D(x, sigma); "eps" for x0 = x - sigma o; "v" for x0 = x / (sigma^2 + 1) - o sigma /
        sqrt(sigma^2 + 1), the v of a network that is shown x / sqrt(sigma^2 + 1).
    eta: 0 is deterministic; 1 is ancestral: sigma_up^2 = sigma_next^2 (sigma^2 - sigma_next^2) / sigma^2 is drawn anew.
    Other arguments as in `step_table`. Returns [T, 8] float32. Raises ValueError for arguments out of these ranges.
    """
    values = _falling(sigmas, "sigmas", lowest=0.0)
    if not 0.0 <= eta <= 1.0:
        raise ValueError(f"eta must be in [0, 1], got {eta}: 0 is deterministic, 1 is ancestral")
    radius = _checked_radius(clip)

    def row(sigma: float, sigma_next: float) -> StepRow:
        scale = math.sqrt(sigma**2 + 1)
        estimates = {"x0": (0.0, 1.0), "eps": (1.0, -sigma), "v": (1 / scale**2, -sigma / scale)}
        kx, ko = estimates[_checked_prediction(prediction)]
        up = eta * sigma_next * math.sqrt(1 - (sigma_next / sigma) ** 2)
        ratio = math.sqrt(max(0.0, sigma_next**2 - up**2)) / sigma
        return StepRow(kx, ko, 1 - ratio, ratio, 0.0, up, radius, guidance)

    return stack_rows(row(sigma, sigma_next) for sigma, sigma_next in pairwise(values))


def flow_table(times: Tensor | Sequence[float], *, clip: float | None = None, guidance: float = 1.0) -> Tensor:
    """The table of Euler's method for a straight flow x = (1 - t) x0 + t noise, whose network gives dx/dt = noise - x0
    (arXiv:2209.03003).

    times: [T + 1], falling within [0, 1], usually from 1 (noise) to 0 (data). Where a paper runs time the other way,
        pass 1 - t and the network's output negated. Other arguments as in `step_table`.
    Returns [T, 8] float32. Raises ValueError for arguments out of these ranges.
    """
    values = _falling(times, "times", lowest=0.0, highest=1.0)
    radius = _checked_radius(clip)
    pairs = pairwise(values)
    return stack_rows(StepRow(1.0, -t, 1 - t_next / t, t_next / t, 0.0, 0.0, radius, guidance) for t, t_next in pairs)


def predicted(prediction: Prediction, alpha_bar: float) -> tuple[float, float, float, float]:
    """(kx, ko, ex, eo) with x0 = kx x + ko o and eps = ex x + eo o, for x = sqrt(alpha-bar) x0 + sqrt(1 - alpha-bar)
    eps.
    """
    signal, noise = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    if _checked_prediction(prediction) == "v":
        return signal, -noise, noise, signal
    if prediction == "x0":
        return 0.0, 1.0, 1 / noise, -signal / noise
    if signal == 0.0:
        raise ValueError(
            "prediction='eps' says nothing of x0 where alphas_cumprod is 0: use 'v' or 'x0', or leave that timestep out"
        )
    return 1 / signal, -noise / signal, 0.0, 1.0


def _over_timesteps(
    row: Callable[[float, float], StepRow],
    alphas_cumprod: Tensor | Sequence[float],
    timesteps: Tensor | Sequence[int],
    prediction: Prediction,
    clip: float | None,
    guidance: float,
) -> Tensor:
    _checked_prediction(prediction)
    radius = _checked_radius(clip)
    alphas = torch.as_tensor(alphas_cumprod, dtype=torch.float64).cpu()
    if alphas.dim() != 1 or not bool(((alphas >= 0) & (alphas <= 1)).all()) or bool((alphas.diff() > 0).any()):
        raise ValueError(
            "alphas_cumprod must be one-dimensional, within [0, 1] and falling: pass the cumulative product of 1 - beta"
        )
    visited = torch.as_tensor(timesteps).cpu()
    if visited.dim() != 1 or not len(visited) or visited.is_floating_point() or bool((visited.diff() >= 0).any()):
        raise ValueError(f"timesteps must be falling integers, at least one, got {visited.tolist()}")
    if visited[-1] < 0 or visited[0] >= len(alphas):
        ends = int(visited[0]), int(visited[-1])
        raise ValueError(f"timesteps run from {ends[0]} to {ends[1]}; alphas_cumprod has steps 0 to {len(alphas) - 1}")
    levels = [*alphas[visited].tolist(), 1.0]
    if levels[1] == 0.0:
        raise ValueError("alphas_cumprod is 0 at two of the timesteps: keep one, the steps between them change nothing")
    if levels[-2] == 1.0:
        raise ValueError(
            f"alphas_cumprod is 1 at timestep {int(visited[-1])}, so nothing is left to remove: leave that timestep out"
        )
    pairs = pairwise(levels)
    return stack_rows(row(*pair)._replace(radius=radius, guidance=guidance) for pair in pairs)


def _checked_prediction(prediction: str) -> str:
    if prediction not in ("eps", "x0", "v"):
        raise ValueError(f"prediction must be 'eps', 'x0' or 'v', got {prediction!r}")
    return prediction


def _checked_radius(clip: float | None) -> float:
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be positive, or None not to clamp, got {clip}")
    return math.inf if clip is None else float(clip)


def _falling(values: Tensor | Sequence[float], name: str, lowest: float, highest: float = math.inf) -> list[float]:
    numbers = [float(value) for value in values]
    falling = all(later < earlier for earlier, later in pairwise(numbers))
    if len(numbers) < 2 or not falling or not (highest >= numbers[0] and numbers[-1] >= lowest):
        raise ValueError(f"{name} must be at least two falling numbers within [{lowest}, {highest}], got {numbers}")
    return numbers
