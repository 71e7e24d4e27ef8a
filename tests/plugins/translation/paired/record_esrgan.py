"""Writes esrgan_outputs.npz: what spandrel's RRDBNet makes of the weights and the picture of esrgan_weights.

Run it in this folder, with spandrel installed without what it depends on (0.4.2 was taken; pip install --no-deps). Its
packages are entered without their __init__, which would import torchvision.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types

import numpy as np
import torch
from esrgan_weights import SCALES, picture, weights

for name in ("spandrel", "spandrel.architectures"):
    spec = importlib.util.find_spec(name)
    assert spec is not None
    module = types.ModuleType(name)
    module.__path__ = list(spec.submodule_search_locations or ())
    sys.modules[name] = module
architecture = importlib.import_module("spandrel.architectures.ESRGAN")

outputs = {}
for scale in SCALES:
    described = architecture.ESRGANArch().load(weights(scale))
    assert described.scale == scale
    with torch.no_grad():
        outputs[f"x{scale}"] = described.model.eval()(picture()).numpy()
np.savez_compressed("esrgan_outputs.npz", **outputs)
