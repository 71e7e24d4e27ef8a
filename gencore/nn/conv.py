"""Convolutional networks without batch normalisation: 4 x 4 kernels of stride 2 down to 4 x 4 places and back.

The layout is that of Radford, Metz & Chintala 2016 (arXiv:1511.06434); without batch normalisation, so that what one
example gives does not depend on the others.
"""

from __future__ import annotations

import itertools
import math

from torch import nn

from gencore.config import check


def check_image_shape(shape: tuple[int, ...]) -> None:
    """Raise GencoreError unless the convolutional networks take images of this shape."""
    square = len(shape) == 3 and shape[1] == shape[2] >= 4 and math.log2(shape[1]).is_integer()
    check(
        square,
        "data_shape",
        shape,
        "(channels, size, size) with a size of 4, 8, 16, 32, ...: resize the images (--image-size 32)",
    )


def channels_of(size: int, width: int) -> tuple[int, ...]:
    """Channels of the hidden maps, from half the image's size down to 4 x 4 (2 x 2 for images of 4 x 4)."""
    return tuple(width * 2**level for level in range(max(1, int(math.log2(size // 4)))))


def conv_encoder(data_shape: tuple[int, ...], *, width: int, outputs: int) -> nn.Sequential:
    """Images (N, *data_shape) -> (N, outputs). `width`: channels at half the image's size."""
    channels, size, _ = data_shape
    layers: list[nn.Module] = []
    maps = channels_of(size, width)
    for following in maps:
        layers += [nn.Conv2d(channels, following, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        channels = following
    places = (size >> len(maps)) ** 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * places, outputs))


def conv_decoder(data_shape: tuple[int, ...], *, width: int, inputs: int, num_parameters: int = 1) -> nn.Sequential:
    """z (N, inputs) -> (N, num_parameters, *data_shape)."""
    maps = channels_of(data_shape[1], width)[::-1]
    side = data_shape[1] >> len(maps)
    layers = [
        nn.Linear(inputs, maps[0] * side**2),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Unflatten(1, (maps[0], side, side)),
    ]
    for channels, following in itertools.pairwise(maps):
        layers += [nn.ConvTranspose2d(channels, following, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    last = nn.ConvTranspose2d(maps[-1], num_parameters * data_shape[0], 4, 2, 1)
    return nn.Sequential(*layers, last, nn.Unflatten(1, (num_parameters, data_shape[0])))
