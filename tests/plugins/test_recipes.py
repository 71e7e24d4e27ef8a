"""Every argument of every recipe arrives, and every parameter of every model is trained by some phase."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from torch import Tensor, nn

import gencore
from gencore.api import Argument, arguments
from gencore.conditions import Attributes, ClassLabel, Image, Tokens
from gencore.recipes import own_parameters
from gencore.registry import default_registry

# Values where the default and the annotation do not tell another that the recipe takes: by argument, or by system too.
OTHER: dict[str, Any] = {
    "bins": 17,
    "clustering_steps": 7,
    "classifier_steps": 7,
    "coding": (-1.0, 1.0, 0.0),
    "critic_hidden": (8,),
    "degradation": "grey",
    "flow_hidden": (8,),
    "hidden": (24, 8),
    "kl_warm_up": 7,
    "normal_classes": (0, 1),
    "num_classes": 4,
    "patch_size": 2,
    "prior_steps": 7,
    "source_classes": (0, 1),
    "tuning_steps": 7,
    "vocabulary": tuple(f"word {number}" for number in range(37)),
    "widths": (24, 8),
    "width": 16,
}
OTHER_OF: dict[tuple[str, str], Any] = {
    ("al-cgan", "data_shape"): (1, 16, 16),
    ("gated-pixelcnn", "input_shape"): (3, 8, 8),
    ("al-cgan", "input_shape"): (5, 16, 16),
    ("dr-gan", "poses"): (-0.5, 0.5),
    ("cs-gan", "vocabulary"): tuple(f"word {number}" for number in range(15)),
    ("calogan", "data_shape"): (504,),
    ("calogan", "layers"): ((6, 9), (3, 24)),
    ("c-rnn-gan", "data_shape"): (20, 4),
    ("c-rnn-gan", "center"): (1.0, 2.0, 3.0, 4.0),
    ("c-rnn-gan", "scale"): (1.0, 2.0, 3.0, 4.0),
    ("wavenet", "data_shape"): (1, 4480),
    ("wavenet", "input_shape"): (1, 64, 32),
    ("context-prediction", "patch_size"): 4,
    ("egomotion", "num_turns"): 7,
    ("autoencoder-classifier", "method"): "joint",
    ("grouped-vq-vae", "code_dim"): 32,
    ("grouped-vq-vae", "groups"): 2,
    ("speech-vq-vae", "data_shape"): (1, 64, 64),
    ("document-autoencoder", "data_shape"): (50,),
    ("linear-autoencoder", "data_shape"): (50,),
}
# What else must be said for an argument to matter.
WITH: dict[tuple[str, str], dict[str, Any]] = {
    ("cyclegan", "critic_halvings"): {"data_shape": (1, 16, 16)},
    ("discogan", "critic_halvings"): {"data_shape": (1, 16, 16)},
    ("dualgan", "critic_halvings"): {"data_shape": (1, 16, 16)},
    **{
        (system, argument): {"data_shape": (2,)}
        for system in ("consensus-gan", "instance-noise-gan", "roth-gan", "unrolled-gan")
        for argument in ("latent_dim", "width")
    },
    **{
        ("dann", argument): {"data_shape": (1, 16, 16)}  # its network "pooled" is for pictures
        for argument in ("network", "rule", "steps", "batch_size", "strength", "learning_rate")
    },
    **{("dann", argument): {"data_shape": (1, 16, 16)} for argument in ("code_dim", "num_classes", "width")},
    ("aae", "prior"): {"latent_dim": 2},
    ("autoencoder-classifier", "label_weight"): {"method": "joint"},
    ("contractive-autoencoder", "hidden"): {"jacobian": "hutchinson"},
    **{(system, "likelihood"): {"binarization": "none"} for system in ("beta-vae", "gumbel-softmax-vae", "iwae")},
    ("ddpm", "bins"): {"variance": "learned"},
    ("pix2pix", "keep"): {"degradation": "grey"},
    ("naive-monte-carlo", "num_samples"): {"estimator": "log of mean"},
}
# Other stages or players take it times ten, or a share of it, or cut into pieces.
DERIVED = {
    *((system, "steps") for system in ("adagan", "aegan", "affgan", "cs-gan", "dtn", "esrgan", "face-aging-gan")),
    *((system, "steps") for system in ("ff-gan", "gan-cls", "gawwn", "gawwn-keypoints", "icgan", "igan", "srgan")),
    ("autoencoder-classifier", "learning_rate"),
    ("deep-embedded-clustering", "steps"),
    ("latent-classifier-vae", "steps"),
    ("latent-classifier-vae", "learning_rate"),
    ("stacked-denoising-autoencoder", "learning_rate"),
    ("transfer-autoencoder", "learning_rate"),
}


# Fields of a shared config that have one value here, or others only where timm is installed.
FIXED = {
    ("residual-vq-vae", "update"),
    ("semi-supervised-vae", "network"),
    *((system, "likelihood") for system in ("bernoulli-vae", "pixel-vae")),
    *((f"{kind}-autoencoder", "output") for kind in ("conv", "deep", "denoising", "linear")),
    *((spec.name, "backbone") for spec in gencore.list_systems(family="representation")),
}


@functools.cache
def arguments_of(system: str) -> dict[str, Argument]:
    return arguments(default_registry().resolve(system, "recipe"))


SYSTEMS = [spec.name for spec in gencore.list_systems()]
CASES = [
    (system, argument) for system in SYSTEMS for argument in arguments_of(system) if (system, argument) not in FIXED
]


def candidates(kind: Any, default: Any) -> Iterator[Any]:
    """Values of an annotation that differ from the default, likely ones first."""
    for option in get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,):
        if get_origin(option) is Literal:
            yield from (value for value in get_args(option) if value != default)
        elif option is bool:
            yield not default
        elif option is int:
            yield from (default * 2, default + 1, default // 2) if default else (7, 1)
        elif option is float:
            yield from (default * 0.75, default * 1.5) if default else (0.25,)
        elif get_origin(option) is tuple and default and all(type(item) in (int, float) for item in default):
            yield from (tuple(item * 2 for item in default), tuple(item + 1 for item in default))
        elif get_origin(option) is tuple:
            yield from ((24, 8), (8,), (0, 1), ("a", "b"))
        elif option is str:
            yield "other"
        elif isinstance(default, ClassLabel):
            yield ClassLabel(count=default.count + 1)
        elif isinstance(default, Image):
            yield Image(shape=(default.shape[0], 2 * default.shape[1], 2 * default.shape[2]))
        elif isinstance(default, Attributes):
            yield Attributes(names=(*default.names, "another"))
        elif isinstance(default, Tokens):
            yield Tokens(length=default.length + 1, words=default.words)


def another(system: str, argument: str, given: dict[str, Any]) -> Any:
    """A value that differs from the default, and that the recipe takes."""
    known = arguments_of(system)[argument]
    default = known.default
    for table, key in ((OTHER_OF, (system, argument)), (OTHER, argument)):
        if key in table and table[key] != default:  # type: ignore[index]
            return table[key]  # type: ignore[index]
    if argument == "data_shape" and len(default) == 3:
        return (default[0], 2 * default[1], 2 * default[2])
    refusals = []
    for value in candidates(known.kind, default):
        try:
            gencore.recipe(system, **given, **{argument: value})
        except gencore.GencoreError as error:
            refusals.append(str(error))
        else:
            return value
    if dataclasses.is_dataclass(default):
        pytest.skip("a config inside the config: its own fields are its affair")
    pytest.fail(f"{system}: no other value for {argument} = {default!r} was taken: {refusals}; add one to OTHER_OF")


def leaves(
    value: Any, path: tuple[str, ...] = (), seen: frozenset[int] = frozenset()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All that a recipe holds, by path: fields, attributes, what its functions have closed over."""
    if id(value) in seen:
        return
    seen |= {id(value)}
    inner: dict[str, Any]
    if isinstance(value, Tensor):
        inner = {}
        yield path, value.tolist()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, dict):
        inner = {str(key): item for key, item in value.items()}
    elif isinstance(value, functools.partial):
        inner = {"function": value.func, **{str(n): item for n, item in enumerate(value.args)}, **value.keywords}
    elif isinstance(value, types.FunctionType):
        names, cells = value.__code__.co_freevars, value.__closure__ or ()
        inner = {name: cell.cell_contents for name, cell in zip(names, cells, strict=True)}
        yield path, value.__qualname__
    elif isinstance(value, types.MethodType):
        inner = {"self": value.__self__}
    elif isinstance(value, nn.Module):
        inner = {**value._buffers, **value._modules, **{k: v for k, v in vars(value).items() if not k.startswith("_")}}
    elif hasattr(value, "__dict__") and not isinstance(value, type | types.ModuleType):
        inner = vars(value)
    elif isinstance(value, tuple | list) and not all(isinstance(item, int | float | str | None) for item in value):
        inner = {str(place): item for place, item in enumerate(value)}
    else:
        inner = {}
        yield path, value
    for name, item in inner.items():
        yield from leaves(item, (*path, name), seen)


def networks(system: str, argument: str) -> list[dict[str, Any]]:
    """Arguments for each network that the system can be built of."""
    known = arguments_of(system)
    chosen = "network" in known and argument != "network" and (system, "network") not in FIXED
    if (system, argument) == ("dann", "data_shape"):  # "pooled" takes other shapes than the default alone
        chosen = False
    names = get_args(known["network"].kind) if chosen else ()
    return [{"network": name} for name in names] or [{}]


@pytest.mark.parametrize(("system", "argument"), CASES)
def test_argument_arrives(system: str, argument: str) -> None:
    """Something in the recipe changes with it, and whatever bears its name and held the default holds it."""
    default, anything = arguments_of(system)[argument].default, False
    value = another(system, argument, WITH.get((system, argument), {}))
    for network in networks(system, argument):
        given = {**network, **WITH.get((system, argument), {})}
        before = dict(leaves(gencore.recipe(system, **given)))
        after = dict(leaves(gencore.recipe(system, **given, **{argument: value})))
        changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        anything |= bool(changed)
        named = {path for path in after if path[-1] == argument and (path in changed or before[path] == default)}
        arrived = {path: after[path] for path in named}
        assert not arrived or value in arrived.values()
        assert (system, argument) in DERIVED or all(found == value for found in arrived.values()), arrived
    assert anything, "nothing in the recipe depends on it"


@pytest.mark.parametrize("system", [system for system in SYSTEMS if "steps" in arguments_of(system)])
def test_steps_make_the_whole_training_longer(system: str) -> None:
    """Later stages keep their share of it where nothing else is asked for: `--steps 2` tries a system in a moment."""
    usual, given = gencore.recipe(system), arguments_of(system)["steps"].default
    longer = gencore.recipe(system, steps=2 * given)
    once, twice = (sum(stage.steps for stage in recipe.stages) for recipe in (usual, longer))
    assert twice == 2 * once


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_parameter_is_trained(system: str) -> None:
    """By some phase of some stage."""
    tiny = next(spec.tiny for spec in gencore.list_systems() if spec.name == system)
    recipe = gencore.recipe(system, **tiny)
    model = recipe.model(recipe.config)
    trained = {id(p) for stage in recipe.stages for phase in stage.phases for p in own_parameters(model, stage, phase)}
    assert not [name for name, parameter in model.named_parameters() if id(parameter) not in trained]


def numbers(config: Any) -> Iterator[tuple[Any, str, Any]]:
    """(the config that has it, its name, its value) of each number and tuple of integers, configs inside it too."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from numbers(value)
        elif type(value) in (int, float) or (isinstance(value, tuple) and value and type(value[0]) is int):
            yield config, field.name, value


@pytest.mark.parametrize("system", SYSTEMS)
def test_negative_sizes_and_rates_are_refused_by_name(system: str) -> None:
    """Every number of every config, but the few that any number is right for."""
    for config, name, value in numbers(gencore.recipe(system).config):
        if name not in ("p_mean", "frequency_shift", "low"):
            wrong = tuple(-1 for _ in value) if isinstance(value, tuple) else type(value)(-1)
            with pytest.raises(gencore.GencoreError, match=name):
                dataclasses.replace(config, **{name: wrong})
