"""gencore: classical and modern generative modelling from one place.

The public names resolve on first use, so that `import gencore` (and `gencore list`) does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gencore.api import create as create
    from gencore.api import from_pretrained as from_pretrained
    from gencore.api import recipe as recipe
    from gencore.config import ModelConfig as ModelConfig
    from gencore.errors import GencoreError as GencoreError
    from gencore.model import Model as Model
    from gencore.noise import Noise as Noise
    from gencore.objective import Loss as Loss
    from gencore.objective import Objective as Objective
    from gencore.optimizers import SGD as SGD
    from gencore.optimizers import Adam as Adam
    from gencore.optimizers import AdamW as AdamW
    from gencore.optimizers import RMSprop as RMSprop
    from gencore.protocols import Critic as Critic
    from gencore.protocols import Encoder as Encoder
    from gencore.protocols import Generator as Generator
    from gencore.protocols import Sampler as Sampler
    from gencore.recipes import EMA as EMA
    from gencore.recipes import Phase as Phase
    from gencore.recipes import Recipe as Recipe
    from gencore.recipes import Stage as Stage
    from gencore.registry import Registry as Registry
    from gencore.registry import list_systems as list_systems
    from gencore.spec import API_VERSION as API_VERSION
    from gencore.spec import Family as Family
    from gencore.spec import Paper as Paper
    from gencore.spec import SystemSpec as SystemSpec
    from gencore.training.trainer import Trainer as Trainer

__version__ = "0.1.0"

_HOME = {
    "create": "api",
    "from_pretrained": "api",
    "recipe": "api",
    "ModelConfig": "config",
    "GencoreError": "errors",
    "Model": "model",
    "Noise": "noise",
    "Loss": "objective",
    "Objective": "objective",
    "Adam": "optimizers",
    "AdamW": "optimizers",
    "RMSprop": "optimizers",
    "SGD": "optimizers",
    "Critic": "protocols",
    "Encoder": "protocols",
    "Generator": "protocols",
    "Sampler": "protocols",
    "EMA": "recipes",
    "Phase": "recipes",
    "Recipe": "recipes",
    "Stage": "recipes",
    "Registry": "registry",
    "list_systems": "registry",
    "API_VERSION": "spec",
    "Family": "spec",
    "Paper": "spec",
    "SystemSpec": "spec",
    "Trainer": "training.trainer",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gencore' has no attribute {name!r}; its public names are {', '.join(__all__)}")
    value = getattr(importlib.import_module(f"gencore.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
