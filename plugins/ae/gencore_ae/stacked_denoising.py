"""Stacked denoising autoencoders (Vincent, Larochelle, Lajoie, Bengio & Manzagol 2010, "Stacked Denoising Autoencoders:
Learning Useful Representations in a Deep Network with a Local Denoising Criterion", JMLR 11, section 3.5).

    layer k       h = f_(k-1)(... f_1(x)),   min over f_k, g_k  E L(h, g_k(f_k(h~))),   h~ masked from h
    fine-tuning   min E_labelled CE(y, head(f_n(... f_1(x)))), over all layers
One layer after the other, each on the codes of those below, which stand still and see clean data: only the input of the
layer that is being trained is corrupted. Layers are sigmoid; L is the cross-entropy of the inputs as probabilities
(gencore_ae.parts.losses). A deep sigmoid network that starts at random hardly trains at all; one that starts here does.

Deviations: the decoder's weights are its own, where the paper ties them to the encoder's; Adam. The decoder is what the
layers learned it to be: fine-tuning moves the encoder away from it, and reconstructions are those of before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gencore import Adam, Loss, Objective, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.data import subset
from gencore.data.by_class import few_labels
from gencore_ae.classifier import AutoencoderClassifier, AutoencoderClassifierConfig, Classification
from gencore_ae.parts.corruption import corruption
from gencore_ae.parts.losses import bernoulli_error
from gencore_ae.parts.reconstruction import check_error

SYSTEM = SystemSpec(
    name="stacked-denoising-autoencoder",
    summary="Denoising layers trained one after the other, then fine-tuned with few labels",
    paper=Paper(
        title="Stacked Denoising Autoencoders: Learning Useful Representations in a Deep Network with a Local "
        "Denoising Criterion",
        authors="Vincent, Larochelle, Lajoie, Bengio & Manzagol",
        year=2010,
    ),
    model="AutoencoderClassifier",
    recipe="stacked_denoising_autoencoder",
    roles=("encoder", "generator", "critic"),
    traits=("reconstruct",),
    tiny={"data_shape": (1, 8, 8), "batch_size": 8, "widths": (16, 8)},
)


def layer_parts(depth: int, num_layers: int) -> tuple[str, str]:
    """Where the linear maps f_depth and g_depth stand in a DenseAutoencoder, depth from 0."""
    return f"encoder.{1 + 2 * depth}", f"decoder.{2 * (num_layers - 1 - depth)}"


class LayerReconstruction(Objective):
    """Phase "layer": layer `depth`, from 0, rebuilds its clean input from a masked one; a `noise` share is masked.

    Logs `active`: mean activation of the layer; neither way is better: near 0 or 1 it is saturated.
    """

    def __init__(self, depth: int, noise: float) -> None:
        super().__init__()
        self.depth, self.corrupt = depth, corruption("masking", noise)

    def layer(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """On batch["x"], in nats; inputs run from -1 to 1 at every depth, codes h as 2 h - 1."""
        below, linear = 1 + 2 * self.depth, 2 * (len(model.config.hidden) - self.depth)
        with torch.no_grad():
            clean = model.encoder[:below](batch["x"])
            clean = 2 * clean - 1 if self.depth else clean
        seen = self.corrupt(clean)
        code = model.encoder[below : below + 2]((seen + 1) / 2 if self.depth else seen)
        error = bernoulli_error(model.decoder[linear](code), clean).mean()
        return Loss(error, {"active": code.mean()})


def stacked_denoising_autoencoder(
    *,
    data_shape: tuple[int, ...] = (1, 8, 8),
    num_classes: int = 10,
    steps: int = 600,
    classifier_steps: int | None = None,
    batch_size: int = 64,
    widths: tuple[int, ...] = (128, 128, 128),
    noise: float = 0.25,
    num_labels: int = 100,
    learning_rate: float = 1e-2,
) -> Recipe:
    """`widths`: of the layers, each trained for `steps`. `classifier_steps`: of fine-tuning on `num_labels` examples,
    the same number of each class; as many as `steps` if None. `learning_rate` is the layers'; fine-tuning has a tenth.
    """
    check_error("bernoulli", data_shape)
    check(bool(widths), "widths", widths, "at least one layer")
    optimizer, slower = Adam(learning_rate=learning_rate), Adam(learning_rate=0.1 * learning_rate)
    *hidden, code_dim = widths
    layers = tuple(
        Stage(
            name=f"layer {depth + 1}",
            objective=LayerReconstruction(depth, noise),
            phases=(Phase(name="layer", parts=layer_parts(depth, len(widths)), optimizer=optimizer),),
            steps=steps,
        )
        for depth in range(len(widths))
    )
    tuning = Stage(
        name="fine-tuning",
        objective=Classification(),
        phases=(Phase(name="network", parts=("encoder", "head"), optimizer=slower),),
        steps=steps if classifier_steps is None else classifier_steps,
        data=lambda source, model: subset(source, few_labels(source, num_classes, num_labels, batch_size)),
        frozen=("decoder",),
    )
    return Recipe(
        name="stacked-denoising-autoencoder",
        model=AutoencoderClassifier,
        config=AutoencoderClassifierConfig(
            data_shape=data_shape,
            code_dim=code_dim,
            hidden=tuple(hidden),
            activation="sigmoid",
            code_activation="sigmoid",
            output="logit",
            num_classes=num_classes,
        ),
        stages=(*layers, tuning),
        batch_size=batch_size,
    )
