"""What the restoration pages do after little trainings on photographs, beside twins with the page's own term off.

The pages' defaults are larger and train longer; the settings here take seconds. Judged on crops that no page has seen,
by closed forms (restoration.py).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gencore
from gencore.data.toys.degradations import downsample, grey, rain
from gencore.data.toys.photos import grid_crops, photos
from gencore_translation.paired import affgan, gp_gan
from gencore_translation.paired.esrgan import interpolated
from tests.plugins.translation.paired.restoration import (
    LUMA,
    game_of,
    high_energy,
    luma_pairs,
    psnr,
    sharpness,
    trained,
    translated,
)


def blending_figures(seed: int) -> dict[str, tuple[float, float, float]]:
    """(seam over copy-paste's, PSNR in the hole [dB], high frequencies in the hole over the truth's) of the page and of
    its twins."""
    settings: dict[str, Any] = {"data_shape": (3, 16, 16), "width": 16, "bottleneck": 64, "critic_width": 8}
    model = trained(gencore.recipe("gp-gan", **settings, steps=500), seed=seed, source=photos(2000, size=16))
    truth = grid_crops(48)[0]
    draws = torch.rand(2, len(truth), 3, 1, 1, generator=torch.Generator().manual_seed(seed))
    source = (truth * (0.6 + 0.7 * draws[0]) + draws[1] - 0.5).clamp(-1, 1)
    mask = torch.zeros(len(truth), 1, 48, 48)
    mask[..., 12:36, 12:36] = 1

    def jumps(x: Tensor) -> float:
        wrong = x - truth
        columns = (wrong[..., 12:36, 11] - wrong[..., 12:36, 12]).abs().mean()
        return float(columns + (wrong[..., 11, 12:36] - wrong[..., 12, 12:36]).abs().mean())

    def figures(made: Tensor) -> tuple[float, float, float]:
        hole, true = (x[..., 12:36, 12:36] for x in (made, truth))
        copied = jumps(gp_gan.composite(source, truth, mask))
        return jumps(made) / copied, psnr(hole, true), float(high_energy(hole).sum() / high_energy(true).sum())

    class Pasted(nn.Module):
        def forward(self, given: Tensor) -> Tensor:
            return gp_gan.resized(gp_gan.composite(*gp_gan.taken_apart(given)), (16, 16))

    def kept(source: Tensor, background: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return gp_gan.gradients(gp_gan.composite(source, background, mask))

    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        found = {"page": figures(model.blend(source, truth, mask))}
        colours = model.generator(torch.cat([source, truth, 2 * mask - 1], 1))
        found["no second stage"] = figures(F.interpolate(colours, size=(48, 48), mode="bicubic"))
        patch.setattr(gp_gan, "blended_gradients", kept)
        found["gradients of the border kept"] = figures(model.blend(source, truth, mask))
        patch.undo()
        model.generator = Pasted()
        found["no first stage"] = figures(model.blend(source, truth, mask))
    return found


@pytest.mark.behaviour
def test_gp_gan_blends(measured: Any) -> None:
    """At seeds 0, 1, 2: PSNR in the hole 26.3, 28.5, 26.9 dB; without the first stage 21.3, 22.0, 22.5, without the
    second 21.8, 23.1, 22.1, with the border's gradients kept 18.3, 20.0, 19.6. Seam over copy-paste's 0.018, 0.021,
    0.020 (kept: 0.95, 0.91, 0.94); high frequencies 0.79, 0.79, 0.75 (no second stage: 0.001). The critic is held by
    its identities alone: at this size its share of 0.001 is invisible."""
    found = blending_figures(0)
    seam, hole, high = found["page"]
    twins = {name: figures[1] for name, figures in found.items() if name != "page"}
    assert seam < 0.2
    assert high > 0.5
    assert found["gradients of the border kept"][0] > 0.5
    assert found["no second stage"][2] < 0.1
    measured("gp-gan", "PSNR in the hole, dB", figure=hole, twin=max(twins.values()), bar=24.0, better="higher")


def projection_figures(seed: int) -> dict[str, tuple[float, float]]:
    """(greatest difference between the result, halved, and what was given; PSNR [dB]) of the page and of its twin
    without the projection."""
    settings = {**LUMA, "width": 16, "blocks": 1, "critic_width": 16, "steps": 80, "game_steps": 200}
    small, truth = luma_pairs()
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("page", "twin"):
            if name == "twin":
                patch.setattr(affgan, "projected", lambda f, y, scale: f)
            model = trained(gencore.recipe("affgan", **settings), seed=seed, source=photos(2000, channels=1))
            made = translated(model, small)
            found[name] = (float((downsample(made, 2) - small).abs().max()), psnr(made, truth))
    return found


@pytest.mark.behaviour
def test_affgan_keeps_what_the_picture_says(measured: Any) -> None:
    """At seed 0: difference 2.4e-7, twin without the projection 0.19; PSNR 30.25 dB against 29.66. A short game makes
    noise on calm places (high frequencies 0.11 of the truth's after 250 steps of it, 0.08 after the least squares
    alone, but a worse error crop by crop), so sharpness is no bar here."""
    found = projection_figures(0)
    assert found["page"][1] > found["twin"][1]
    measured(
        "affgan",
        "greatest difference of the result, halved, from the given picture",
        figure=found["page"][0],
        twin=found["twin"][0],
        bar=1e-5,
        better="lower",
    )


def interpolation_figures(seed: int) -> tuple[list[float], list[float], float]:
    """PSNR [dB] and high frequencies at t = 0, 1/4 ... 1; PSNR halfway above the lower end, for two fidelity models."""
    settings = {**LUMA, "critic_width": 16, "blocks": 1, "steps": 150}
    small, truth = luma_pairs()
    source = photos(2000, channels=1)
    first = trained(gencore.recipe("esrgan", **settings, game_steps=0), seed=seed, source=source)
    game = game_of(gencore.recipe("esrgan", **settings, game_steps=200))
    second = trained(game, seed=seed, source=source, begin=first)
    other = trained(gencore.recipe("esrgan", **settings, game_steps=0), seed=seed + 100, source=source)
    path = [translated(interpolated(first, second, t / 4), small) for t in range(5)]
    ends = [psnr(translated(model, small), truth) for model in (first, other)]
    halfway = psnr(translated(interpolated(first, other, 0.5), small), truth) - min(ends)
    return [psnr(made, truth) for made in path], [sharpness(made, truth)[0] for made in path], halfway


@pytest.mark.behaviour
def test_esrgan_interpolates(measured: Any) -> None:
    """At seed 0: PSNR 30.36, 30.32, 30.17, 29.79, 28.98 dB and high frequencies 0.026, 0.029, 0.038, 0.058, 0.099 along
    t; halfway 1.2 dB above the lower end. Twin, a fidelity model of another start: 0.4 dB below it."""
    fidelity, sharp, twin = interpolation_figures(0)
    assert all(a > b for a, b in pairwise(fidelity))
    assert all(a < b for a, b in pairwise(sharp))
    measured(
        "esrgan",
        "PSNR halfway between fidelity and game above the lower end, dB",
        figure=fidelity[2] - min(fidelity[0], fidelity[-1]),
        twin=twin,
        bar=0.2,
        better="higher",
    )


def colour_figures(seed: int, *, keep: bool) -> tuple[float, float]:
    """PSNR [dB] of grey pictures, and of the colours that pix2pix gives them."""
    truth = grid_crops(32)[0]
    given = grey(truth)
    settings: dict[str, Any] = {"batch_size": 8, "width": 16, "critic_width": 8, "game_weight": 0.1, "steps": 250}
    recipe = gencore.recipe("pix2pix", degradation="grey", data_shape=(3, 32, 32), crop=24, keep=keep, **settings)
    made = translated(trained(recipe, seed=seed, source=photos(2000)), given)
    return psnr(given.expand_as(truth), truth), psnr(made, truth)


@pytest.mark.behaviour
def test_pix2pix_colours_grey_pictures() -> None:
    """Above the grey picture's own 21.75 dB: at seeds 0, 1, 2 by 2.7, 1.9, 1.1 dB; twin, which paints light and dark
    anew, 0.8, -1.0, 0.6."""
    (before, page), (_, twin) = (colour_figures(0, keep=keep) for keep in (True, False))
    assert page - before > 1.5, (page, before)
    assert twin - before < 1.5, (twin, before)


def rain_figures(seed: int) -> tuple[float, float]:
    """PSNR [dB] of rainy pictures, and of what ID-CGAN makes of them."""
    truth = grid_crops(24)[0]
    wet = rain(truth, seed=seed, index=torch.arange(len(truth)), density=0.06)
    settings: dict[str, Any] = {"batch_size": 8, "width": 16, "blocks": 2, "critic_width": 8, "steps": 500, "crop": 16}
    model = trained(gencore.recipe("id-cgan", **settings), seed=seed, source=photos(2000))
    return psnr(wet, truth), psnr(translated(model, wet), truth)


@pytest.mark.behaviour
def test_id_cgan_takes_the_rain_off(measured: Any) -> None:
    """At seed 0: from 18.57 dB to 25.83. The feature term cannot be seen at this size: without it 25.88 dB, and the
    judge 0.078 against 0.075; nor can the critic at 6.6e-3. Both are held by their identities."""
    before, after = rain_figures(0)
    measured("id-cgan", "PSNR gained on rainy pictures, dB", figure=after - before, twin=None, bar=5.0, better="higher")
