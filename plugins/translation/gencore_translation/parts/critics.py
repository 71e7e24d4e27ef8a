"""The patch critic of pix2pix (Isola et al. 2017, arXiv:1611.07004, section 3.2.2 and appendix 6.1.2).

Each of its logits judges one patch of the picture: of 16, 34 or 70 pixels for 1, 2 or 3 halvings.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from gencore.config import check

from .norms import Norm, norm_layers


def patch_critic(channels: int, *, width: int, halvings: int = 3, norm: Norm = "instance") -> nn.Sequential:
    """Pictures (N, channels, H, W) -> logits (N, 1, H', W'), H' = H / 2 ** halvings - 2.

    `halvings` convolutions of stride 2 and two of stride 1, all 4 x 4; `width` channels first, doubled up to 8 times;
    no normalisation in the first and the last.
    """
    check(halvings >= 0, "halvings", halvings, "0 or more")
    widths = (channels, *(width * min(2**level, 8) for level in range(halvings + 1)))
    layers: list[nn.Module] = []
    for level, (before, after) in enumerate(pairwise(widths)):
        normed = norm_layers(norm, after) if level else []
        layers += [nn.Conv2d(before, after, 4, 2 if level < halvings else 1, 1, bias=not normed), *normed]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))


def least_side(halvings: int) -> int:
    """The smallest side of a picture that a patch critic of so many halvings judges."""
    return 3 * 2**halvings


def receptive_field(critic: nn.Sequential) -> int:
    """The side, in pixels, of the patch that one output of a chain of layers sees.

    A layer of kernel k after strides s_1 ... s_m adds (k - 1) s_1 ... s_m to the 1 pixel that it starts from.
    """
    field, stride = 1, 1
    for layer in critic.modules():
        if isinstance(layer, nn.Conv2d | nn.AvgPool2d | nn.MaxPool2d):
            kernel, step = (size if isinstance(size, int) else size[0] for size in (layer.kernel_size, layer.stride))
            dilation = layer.dilation[0] if isinstance(layer, nn.Conv2d) else 1
            field += (kernel - 1) * dilation * stride
            stride *= step
    return field


def texture_critic(channels: int, *, width: int) -> nn.Sequential:
    """Pictures (N, channels, H, W), H and W at least 5 -> logits (N, 1, H / 2, W / 2), each of a patch of 11 pixels.

    Four 3 x 3 convolutions without normalisation, the third of stride 2, with mirrored borders: a critic that sees
    where zeros begin makes its generator draw frames.
    """
    widths, strides = (channels, width, width, 2 * width, 1), (1, 1, 2, 1)
    layers: list[nn.Module] = []
    for (before, after), stride in zip(pairwise(widths), strides, strict=True):
        layers += [nn.Conv2d(before, after, 3, stride, 1, padding_mode="reflect"), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers[:-1])
