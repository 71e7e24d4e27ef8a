"""Other people's encoders by name: `timm:resnet18` is that network of PyTorch Image Models (timm), with random weights.

timm is no requirement: it asks for torchvision, whose wheels are made for one version of torch each.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from gencore.config import check
from gencore.errors import GencoreError

SMALL, TIMM = "small", "timm:"


def check_backbone(name: str) -> None:
    """Raise GencoreError unless it is "small" or "timm:" and a name; whether timm has it is seen when it is built."""
    known = name == SMALL or (name.startswith(TIMM) and name[len(TIMM) :].replace("_", "").isalnum())
    check(known, "backbone", name, f'"{SMALL}", or "{TIMM}" and the name of a network of timm ("{TIMM}resnet18")')


def timm_encoder(backbone: str, data_shape: tuple[int, ...], *, code_dim: int) -> nn.Module:
    """Pictures (N, *data_shape) -> codes (N, code_dim): the named network of timm, untrained, its last layer new.

    Raises GencoreError where timm cannot be imported, has no such network, or it does not take such pictures.
    """
    name = backbone[len(TIMM) :]
    timm = _timm(backbone)
    if not timm.is_model(name):
        raise GencoreError(f"timm {timm.__version__} has no network {name!r}. timm.list_models() names those it has.")
    check(len(data_shape) == 3, "data_shape", data_shape, f"pictures (channels, size, size) for backbone {backbone}")
    options = {"pretrained": False, "in_chans": data_shape[0], "num_classes": code_dim}
    if getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False):
        options["img_size"] = data_shape[-1]
    try:
        net: nn.Module = timm.create_model(name, **options)
        with torch.no_grad():
            shape = tuple(net.eval()(torch.zeros(2, *data_shape)).shape)
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise GencoreError(
            f"timm's {name} does not take pictures of {data_shape}: {error}. Take larger ones (--image-size 64), or "
            "another network."
        ) from error
    if shape != (2, code_dim):
        raise GencoreError(f"timm's {name} gives {shape} for two pictures; expected one code each, (2, {code_dim}).")
    return net.train()


def _timm(backbone: str) -> Any:
    try:
        return importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision made for another torch
        raise GencoreError(
            f'backbone is {backbone!r}, and timm cannot be imported ({error}). Run: pip install "timm>=1.0", with the '
            f'torchvision made for torch {torch.__version__}; or leave backbone at "{SMALL}".'
        ) from error
