"""Transfer and fine-tuning (Yosinski, Clune, Bengio & Lipson 2014, "How transferable are features in deep neural
networks?", arXiv:1411.1792, protocol of section 2).

A denoising autoencoder learns the source classes; then it is fine-tuned on a few examples of the other classes:
    pre-training   E_source ||x - g(f(x~))||^2
    fine-tuning    E_target ||x - g(f(x~))||^2, from the source's weights; the encoder frozen, or at a rate of its own
A frozen part is in evaluation mode, so that its batch statistics do not drift either.

Deviations: autoencoders on digit classes where the paper has classifiers on halves of ImageNet.
"""

from __future__ import annotations

from gencore import Adam, Model, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.config import check
from gencore.data import Source, subset
from gencore.data.by_class import balanced, filling, labels_of, of_classes
from gencore_ae.parts.corruption import corruption
from gencore_ae.parts.networks import DenseAutoencoder, DenseAutoencoderConfig
from gencore_ae.parts.reconstruction import Reconstruction, one_phase

SYSTEM = SystemSpec(
    name="transfer-autoencoder",
    summary="Pre-trained on some classes, fine-tuned on a few examples of the others",
    paper=Paper(
        title="How Transferable Are Features in Deep Neural Networks?",
        authors="Yosinski et al.",
        year=2014,
        arxiv="1411.1792",
    ),
    model="DenseAutoencoder",
    recipe="transfer_autoencoder",
    roles=("encoder", "generator"),
    traits=("reconstruct",),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "code_dim": 4, "batch_size": 8, "hidden": (16,)},
)


def transfer_autoencoder(
    *,
    config: DenseAutoencoderConfig = DenseAutoencoderConfig(data_shape=(1, 8, 8), code_dim=32, hidden=(128,)),
    steps: int = 1500,
    tuning_steps: int | None = None,
    batch_size: int = 64,
    source_classes: tuple[int, ...] = (0, 1, 2, 3, 4),
    num_target: int = 200,
    encoder_rate: float = 0.1,
    noise: float = 0.5,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`encoder_rate`: the encoder's rate in fine-tuning as a share of the decoder's; 0 freezes it, and at 1 both step
    together (in turn, at one rate, Adam's momentum drives them apart: error 45 against 4.7 after 400 steps).
    `num_target` examples, evenly of the classes that are not `source_classes`. `tuning_steps`: as many as `steps` if
    None.
    """
    check(0 <= encoder_rate <= 1, "encoder_rate", encoder_rate, "a share from 0 to 1")
    check(bool(source_classes), "source_classes", source_classes, "at least one class")

    def target(source: Source, model: Model) -> Source:
        present = labels_of(source).unique().tolist()
        classes = tuple(kind for kind in present if kind not in source_classes)
        check(bool(classes), "source_classes", source_classes, f"not all of the data's classes {present}")
        return subset(source, filling(balanced(source, classes, num_target), batch_size))

    objective = Reconstruction(corrupt=corruption("gaussian", noise))
    optimizer = Adam(learning_rate=learning_rate)
    (training,) = one_phase(objective, optimizer, steps=steps)
    phases: tuple[Phase, ...] = (Phase(name="decoder", parts=("decoder",), optimizer=optimizer),)
    if encoder_rate == 1:
        phases = training.phases
    elif encoder_rate:
        slower = Adam(learning_rate=encoder_rate * learning_rate)
        phases += (Phase(name="encoder", parts=("encoder",), optimizer=slower),)
    return Recipe(
        name="transfer-autoencoder",
        model=DenseAutoencoder,
        config=config,
        stages=(
            Stage(
                name="pre-training",
                objective=objective,
                phases=training.phases,
                steps=steps,
                data=lambda source, model: of_classes(source, source_classes),
            ),
            Stage(
                name="fine-tuning",
                objective=objective,
                phases=phases,
                steps=steps if tuning_steps is None else tuning_steps,
                data=target,
                frozen=() if encoder_rate else ("encoder",),
            ),
        ),
        batch_size=batch_size,
    )
