"""Latent maps: codes (N, D) in the plane, and a picture of them.

pca   the first two principal components, signed so that each axis' largest loading is positive
tsne  van der Maaten & Hinton 2008, scikit-learn's;  umap  McInnes et al. 2018, arXiv:1802.03426, umap-learn's
t-SNE and UMAP place these codes only: neither places a new one, and distances between far clusters mean little.
"""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from gencore.config import check
from gencore.errors import GencoreError
from gencore.latent.extras import from_eval
from gencore.latent.walks import check_codes

if TYPE_CHECKING:
    from PIL.Image import Image

Method = Literal["code", "pca", "tsne", "umap"]


def latent_map(z: Tensor, *, method: Method = "pca", seed: int = 0) -> Tensor:
    """Codes (N, D) -> places (N, 2) float32. "code": the codes themselves, which must be 2-D.

    Raises GencoreError for an unknown method or unfit codes, PluginError where the method's library is missing.
    """
    check_codes(z)
    if method == "code":
        check(z.shape[1] == 2, "the codes' dimension", z.shape[1], '2 for method "code"; take "pca", "tsne" or "umap"')
        return z.float()
    if method == "pca":
        return pca(z, 2)
    check(method in ("tsne", "umap"), "method", method, '"code", "pca", "tsne" or "umap"')
    check(len(z) >= 10, "the number of codes", len(z), f"at least 10 for {method}")
    threads = torch.get_num_threads()
    try:
        if method == "tsne":
            manifold = from_eval("sklearn.manifold", "scikit-learn")
            reducer = manifold.TSNE(perplexity=min(30.0, (len(z) - 1) / 3), random_state=seed)
        else:
            umap = from_eval("umap", "umap-learn")
            reducer = umap.UMAP(n_neighbors=min(15, len(z) - 1), random_state=seed, n_jobs=1)
        return torch.from_numpy(reducer.fit_transform(z.float().numpy())).float()
    finally:
        torch.set_num_threads(threads)  # numba, under umap, sets OpenMP's for all, to the number of cores


def pca(z: Tensor, count: int) -> Tensor:
    """The first `count` principal components of (N, D), (N, count) float32. Columns beyond the rank are 0."""
    check_codes(z)
    check(count >= 1, "count", count, "at least 1")
    centred = z.double() - z.double().mean(0)
    axes = torch.linalg.svd(centred, full_matrices=False).Vh[:count]
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    places = centred @ (axes * largest.sign()).T
    return torch.nn.functional.pad(places, (0, count - places.shape[1])).float()


def scatter(places: Tensor, label: Tensor | None = None, *, size: int = 800) -> Image:
    """A picture of places (N, 2), `size` pixels square, coloured by label (N,) with a legend; axes have one scale."""
    from PIL import Image, ImageDraw

    pixels = pixels_of(places, size=size)
    if label is not None and label.shape != (len(places),):
        raise GencoreError(f"There are {tuple(label.shape)} labels for {len(places)} places; expected one each.")
    radius = max(2, size // 300)
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    classes = [] if label is None else label.unique().tolist()
    colours = {kind: _colour(position, len(classes)) for position, kind in enumerate(classes)}
    kinds = [None] * len(pixels) if label is None else label.tolist()
    for (x, y), kind in zip(pixels.tolist(), kinds, strict=True):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colours.get(kind, (40, 70, 140)))
    for position, kind in enumerate(classes):
        y = 6 + 14 * position
        draw.rectangle((6, y, 16, y + 10), fill=colours[kind])
        draw.text((22, y - 1), str(kind), fill="black")
    return image


def pixels_of(places: Tensor, *, size: int = 800) -> Tensor:
    """Where places (N, 2) lie in a picture of `size` pixels square, (N, 2): to the right and down from its upper left
    corner. Raises GencoreError for other shapes, and for places that are not finite."""
    if places.ndim != 2 or places.shape[1] != 2 or not len(places) or not places.isfinite().all():
        raise GencoreError(f"The places are {tuple(places.shape)}; expected (N, 2), finite.")
    low, high = places.min(0).values, places.max(0).values
    reach, border = (high - low).max().clamp_min(1e-12), size // 20
    right, up = (((places - (low + high) / 2) / reach + 0.5) * (size - 2 * border) + border).unbind(1)
    return torch.stack([right, size - up], 1)


def thumbnails(places: Tensor, pictures: Tensor, *, size: int = 800, side: int = 28) -> Image:
    """The map of places (N, 2) as `scatter` lays it out, with pictures (N, C, H, W) in [-1, 1] in place of dots, each
    `side` pixels square. Where one would hide another, the first of them is drawn.

    Raises GencoreError for places and pictures that do not fit each other."""
    from PIL import Image

    from gencore.data.images import resize_images, to_pil

    pixels = pixels_of(places, size=size)
    if pictures.ndim != 4 or len(pictures) != len(places):
        raise GencoreError(f"There are pictures {tuple(pictures.shape)} for {len(places)} places; expected one each.")
    image, taken = Image.new("RGB", (size, size), "white"), torch.zeros(size, size, dtype=torch.bool)
    corners = (pixels - side / 2).round().long().clamp(0, size - side)
    for (x, y), picture in zip(corners.tolist(), pictures, strict=True):
        if not taken[y : y + side, x : x + side].any():
            taken[y : y + side, x : x + side] = True
            image.paste(to_pil(resize_images(picture[None], side)[0].clamp(-1, 1)).convert("RGB"), (x, y))
    return image


def _colour(position: int, count: int) -> tuple[int, int, int]:
    """Hues evenly round the circle, every second one darker."""
    red, green, blue = colorsys.hsv_to_rgb(position / count, 0.85, 0.9 if position % 2 else 0.65)
    return round(255 * red), round(255 * green), round(255 * blue)
