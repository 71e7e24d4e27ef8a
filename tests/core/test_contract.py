"""The contract fits one screen and does not move by accident: a change here is a new API version."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import torch

import gencore
from gencore.errors import GencoreError, NonFiniteError
from gencore.protocols import Critic, Encoder, Generator, Sampler

METHODS = {
    Encoder.encode: "(self, x, *, condition=None)",
    Generator.generate: "(self, z, *, condition=None)",
    Critic.judge: "(self, x, *, condition=None)",
    Sampler.sample: "(self, model, noise, *, condition=None, callback=None)",
    gencore.Objective.loss: "(self, model, phase, batch)",
    gencore.Objective.after_step: "(self, model, phase, seen)",
    gencore.Model.draw_prior: "(self, noise)",
    gencore.Model.sample: (
        "(self, n, *, seed=0, condition=None, sampler=None, batch_size=64, start=0, callback=None, **options)"
    ),
    gencore.Model.save_pretrained: "(self, directory, *, card=None, samples=None)",
}

FIELDS = {
    gencore.Phase: "name parts optimizer repeats every gate joint max_gradient_norm schedule",
    gencore.Stage: "objective phases steps name data begin frozen",
    gencore.Recipe: "name model config stages batch_size data ema",
    gencore.EMA: "decay parts name",
    gencore.SystemSpec: "name family summary paper model recipe sized roles traits claims tiny requires_api page",
    gencore.Family: "name summary systems extra data",
}


def signature(function: object) -> str:
    parameters = inspect.signature(function).parameters.values()
    return str(inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in parameters]))


def test_frozen_at_version_two() -> None:
    assert gencore.API_VERSION == 2
    assert {f.__qualname__: signature(f) for f in METHODS} == {f.__qualname__: s for f, s in METHODS.items()}
    assert " ".join(gencore.Loss._fields) == "total metrics seen"
    for kind, names in FIELDS.items():
        assert " ".join(field.name for field in dataclasses.fields(kind)) == names
        assert kind.__dataclass_params__.frozen


def test_a_model_without_a_sampler_says_so() -> None:
    with pytest.raises(GencoreError, match="no sampler of its own"):
        gencore.Model(gencore.ModelConfig()).sample(1)


def test_samples_that_are_not_numbers_are_refused() -> None:
    model = gencore.create("gan", hidden=[4])
    next(model.generator.parameters()).data.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="3 of 3 samples"):
        model.sample(3)


@pytest.mark.parametrize(("arguments", "message"), [((0,), "n is 0"), ((2, {"batch_size": 0}), "batch_size is 0")])
def test_bad_counts(arguments: tuple, message: str) -> None:
    count, *rest = arguments
    with pytest.raises(GencoreError, match=message):
        gencore.create("gan", hidden=[4]).sample(count, **(rest[0] if rest else {}))


def test_condition_must_fit_the_count() -> None:
    conditional = gencore.create("vq-vae", data_shape=[1, 8, 8], width=4, prior_width=8, prior_layers=1, num_classes=3)
    with pytest.raises(GencoreError, match="3 rows for 2 samples"):
        conditional.sample(2, condition=torch.arange(3))
    with pytest.raises(GencoreError, match="unconditional"):
        gencore.create("gan", hidden=[4]).sample(2, condition=1)


def test_sampling_restores_the_mode_even_on_error() -> None:
    model = gencore.create("gan", hidden=[4]).train()
    model.sample(1)
    assert model.training
    with pytest.raises(RuntimeError):
        model.sample(1, sampler=_Failing())
    assert model.training


class _Failing:
    def sample(self, model, noise, *, condition=None, callback=None):
        assert not model.training
        raise RuntimeError("inside")


def test_the_wrong_config_is_refused() -> None:
    from gencore_gan.parts.networks import ConvGAN

    with pytest.raises(GencoreError, match="takes a ConvGANConfig, received a ModelConfig"):
        ConvGAN(gencore.ModelConfig())
    with pytest.raises(GencoreError, match="Recipe 'x': ConvGAN takes"):
        gencore.Recipe(name="x", model=ConvGAN, config=gencore.ModelConfig(), stages=gencore.recipe("gan").stages)


def test_unknown_arguments_are_refused_with_a_suggestion() -> None:
    with pytest.raises(GencoreError, match="'latent_dims'. Did you mean 'latent_dim'"):
        gencore.create("dcgan", latent_dims=3)
    with pytest.raises(GencoreError, match="'critic_step'. Did you mean 'critic_steps'"):
        gencore.recipe("wgan", critic_step=3)


def test_samplers_by_name_and_their_options() -> None:
    model = gencore.create("vq-vae", data_shape=[1, 8, 8], width=4, prior_width=8, prior_layers=1)
    assert model.sample(2, temperature=0.5).shape == (2, 1, 8, 8)
    with pytest.raises(GencoreError, match="'temprature'. Did you mean 'temperature'"):
        model.sample(2, temprature=0.5)
    with pytest.raises(GencoreError, match="VQVAE has no sampler 'heun'"):
        model.sample(2, sampler="heun")
