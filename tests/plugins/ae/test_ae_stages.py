"""Systems of several stages or streams: which data and which parts each stage sees."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

import gencore
from gencore.data import InMemory, arrays, digits
from gencore.errors import GencoreError
from gencore_ae.classifier import JointObjective, classification
from gencore_ae.documents import CORPUS, DocumentReconstruction, nats_a_word, word_probabilities
from gencore_ae.parts.docstring_corpus import count_words
from gencore_ae.parts.networks import DenseAutoencoder


def source(count: int = 40, classes: int = 4) -> InMemory:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 1, 8, 8, generator=generator) * 2 - 1
    return InMemory(x=x, label=torch.arange(count) % classes, num_classes=classes)


# Documents


def test_word_probabilities() -> None:
    p = word_probabilities(torch.tensor([[1.0, 3.0], [0.25, 0.25]]))
    assert p.tolist() == [[0.25, 0.75], [0.5, 0.5]]
    with pytest.raises(GencoreError, match="0 or more"):
        word_probabilities(torch.tensor([[1.0, -1.0]]))
    with pytest.raises(GencoreError, match="Document 1"):
        word_probabilities(torch.tensor([[1.0, 1.0], [0.0, 0.0]]))


def test_document_loss_is_least_at_the_documents_own_words() -> None:
    """Its minimum is the entropy, its gradient softmax - p; and counts and probabilities are the same document."""
    p = torch.tensor([[0.1, 0.2, 0.7]], dtype=torch.float64)
    logits = p.log().requires_grad_()
    nats = nats_a_word(logits, p)
    assert nats.item() == pytest.approx(-(p * p.log()).sum().item())
    assert torch.autograd.grad(nats.sum(), logits)[0].abs().max() < 1e-12
    elsewhere = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(nats_a_word(elsewhere, p).sum(), elsewhere)[0]
    torch.testing.assert_close(slope, elsewhere.detach().softmax(1) - p)
    model = gencore.create("document-autoencoder", data_shape=[3], hidden=[4])
    counts = torch.tensor([[1.0, 2.0, 7.0]])
    torch.testing.assert_close(model.encode(counts), model.encode(counts / 10))
    assert model.reconstruct(counts).sum().item() == pytest.approx(1)


def test_word_dropout_never_empties_a_document() -> None:
    model = gencore.create("document-autoencoder", data_shape=[3], hidden=[4])
    objective = DocumentReconstruction(dropout=0.99, code_noise=0.0)
    assert objective.loss(model, "autoencoder", {"x": torch.eye(3).repeat(50, 1)}).total.isfinite()


# Few labels


def classifier(**arguments: object) -> tuple[object, gencore.Recipe]:
    recipe = gencore.recipe("autoencoder-classifier", num_classes=4, hidden=(8,), code_dim=3, num_labels=8, **arguments)
    torch.manual_seed(0)
    return recipe.model(recipe.config), recipe


def gradients(total: torch.Tensor, model: nn.Module) -> dict[str, torch.Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(total, parameters, allow_unused=True)
    return {name: torch.zeros(()) if g is None else g for name, g in zip(names, found, strict=True)}


def test_joint_loss_routes_each_stream() -> None:
    """With weight 0 the labelled stream sends no gradient; the unlabelled one never sends any to the head."""
    model, _ = classifier()
    x, label = torch.rand(4, 1, 8, 8), torch.arange(4)
    losses = [
        JointObjective(weight).loss(model, "joint", {"x": x, "label": label, "x_unlabelled": x + 0.1}).total
        for weight in (0.0, 2.0)
    ]
    alone, both = (gradients(loss, model) for loss in losses)
    labelled = gradients(classification(model, {"x": x, "label": label}).total, model)
    assert all(alone[name].abs().max() == 0 for name in alone if name.startswith("head"))
    for name, gradient in both.items():
        torch.testing.assert_close(gradient, alone[name] + 2 * labelled[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["two-stage", "fine-tune", "joint"])
def test_every_stage_sees_the_labelled_examples_only(method: str) -> None:
    """The classifier's stage, or the labelled stream, holds num_labels different examples, evenly of each class."""
    model, recipe = classifier(method=method)
    data = source(400)
    view = recipe.stages[-1].data(data, model)
    batch = view.fetch(torch.arange(64))
    assert batch["index"].unique().numel() == 8
    assert batch["label"].bincount().tolist() == [16] * 4
    assert ("x_unlabelled" in batch) == (method == "joint")
    assert "label_unlabelled" not in batch


@pytest.mark.parametrize(("method", "moves"), [("two-stage", False), ("fine-tune", True)])
def test_second_stage_freezes_what_it_says(method: str, moves: bool) -> None:
    _, recipe = classifier(method=method, steps=0, classifier_steps=5)
    before = gencore.Trainer(dataclasses.replace(recipe, stages=recipe.stages[:1]), source(400), cpu=True).model
    after = gencore.Trainer(recipe, source(400), cpu=True).fit()
    changed = {
        name.split(".")[0]
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert changed == ({"head", "encoder"} if moves else {"head"})


# Transfer


class WithBatchNorm(DenseAutoencoder):
    """An encoder with statistics that would drift."""

    def __init__(self, config: object) -> None:
        super().__init__(config)
        self.encoder.append(nn.BatchNorm1d(config.code_dim))


@pytest.mark.parametrize(("encoder_rate", "moves"), [(0.0, False), (0.5, True)])
def test_frozen_encoder_keeps_parameters_and_statistics(encoder_rate: float, moves: bool) -> None:
    """To the bit, over 50 steps of fine-tuning; the twin with a rate moves both."""
    recipe = gencore.recipe(
        "transfer-autoencoder", hidden=(8,), code_dim=3, steps=0, tuning_steps=50, encoder_rate=encoder_rate
    )
    recipe = dataclasses.replace(recipe, model=WithBatchNorm)
    trainer = gencore.Trainer(recipe, digits("train"), cpu=True)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    after = trainer.fit().state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    in_encoder = {name for name in changed if name.startswith("encoder")}
    assert bool(in_encoder) == moves
    assert any("running_mean" in name for name in in_encoder) == moves
    assert any(name.startswith("decoder") for name in changed)


def test_rates_of_a_classifier() -> None:
    """The head learns ten times as fast as the autoencoder did, the encoder beneath it a tenth."""
    recipe = gencore.recipe("autoencoder-classifier", method="fine-tune", learning_rate=0.01, num_classes=2)
    assert {phase.name: phase.optimizer.learning_rate for stage in recipe.stages for phase in stage.phases} == {
        "autoencoder": 0.01,
        "head": pytest.approx(0.1),
        "encoder": pytest.approx(0.001),
    }


def test_rates_of_fine_tuning() -> None:
    """One step of plain gradient descent: the encoder moves a tenth as far along its gradient as the decoder."""
    recipe = gencore.recipe("transfer-autoencoder", encoder_rate=0.1, learning_rate=0.01)
    phases = {phase.name: phase.optimizer.learning_rate for phase in recipe.stages[1].phases}
    assert phases == {"decoder": 0.01, "encoder": pytest.approx(0.001)}
    slow = [
        dataclasses.replace(phase, optimizer=gencore.SGD(learning_rate=rate))
        for phase, rate in zip(recipe.stages[1].phases, (1e-4, 1e-5), strict=True)
    ]
    model = recipe.model(recipe.config)
    x = recipe.stages[1].data(digits("train"), model).fetch(torch.arange(8))["x"]
    for phase in slow:
        part = getattr(model, phase.name)[1 if phase.name == "encoder" else 0]
        torch.manual_seed(0)
        loss = recipe.stages[1].objective.loss(model, phase.name, {"x": x}).total
        (slope,) = torch.autograd.grad(loss, part.weight)
        part.weight.grad, before = slope, part.weight.detach().clone()
        phase.optimizer.build([part.weight]).step()
        torch.testing.assert_close(
            part.weight.detach() - before, -phase.optimizer.learning_rate * slope, atol=1e-7, rtol=1e-2
        )


@pytest.mark.parametrize(
    ("rate", "phases"),
    [(0.0, [("decoder",)]), (0.1, [("decoder",), ("encoder",)]), (1.0, [("encoder", "decoder")])],
)
def test_parts_at_one_rate_step_together(rate: float, phases: list) -> None:
    """In turn, at one rate, they drive each other apart (transfer.py)."""
    recipe = gencore.recipe("transfer-autoencoder", encoder_rate=rate)
    assert [phase.parts for phase in recipe.stages[1].phases] == phases


def test_stages_of_transfer_see_their_classes() -> None:
    recipe = gencore.recipe("transfer-autoencoder", num_target=20)
    first, second = (stage.data(digits("train"), None) for stage in recipe.stages)
    assert set(first.fetch(torch.arange(len(first)))["label"].tolist()) == {0, 1, 2, 3, 4}
    seen = second.fetch(torch.arange(len(second)))
    assert seen["label"].unique().tolist() == [5, 6, 7, 8, 9]
    assert seen["index"].unique().numel() == 20


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("autoencoder-classifier", {"method": "hope"}, "hope"),
        ("autoencoder-classifier", {"num_classes": 1}, "num_classes"),
        ("transfer-autoencoder", {"encoder_rate": -1.0}, "encoder_rate"),
        ("transfer-autoencoder", {"encoder_rate": 2.0}, "encoder_rate"),
        ("transfer-autoencoder", {"source_classes": ()}, "source_classes"),
        ("document-autoencoder", {"word_dropout": 1.0}, "word_dropout"),
        ("document-autoencoder", {"data_shape": (1,)}, "data_shape"),
    ],
)
def test_bad_arguments_are_named(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        gencore.recipe(name, **arguments)


def test_transfer_needs_other_classes() -> None:
    recipe = gencore.recipe("transfer-autoencoder", source_classes=tuple(range(10)))
    with pytest.raises(GencoreError, match="source_classes"):
        recipe.stages[1].data(digits("train"), None)


# Word counts


def test_count_words() -> None:
    """Words in the order of how many texts hold them; case and punctuation aside; single letters are no words."""
    counts, words = count_words(["The cat, the CAT's mat", "a dog on the mat", "the dog"], 3)
    assert words == ["the", "mat", "dog"]
    assert counts.tolist() == [[2, 1, 0], [1, 1, 1], [1, 0, 1]]
    assert count_words(["the cat the mat", "the mat"], 2, left_out={"the"})[1] == ["mat", "cat"]
    with pytest.raises(GencoreError, match="1 to 5"):
        count_words(["the cat's mat", "dog on"], 9)


def test_bundled_corpus_is_whole() -> None:
    """As many labels as documents, every class there, every document with words."""
    corpus = arrays(CORPUS)
    assert (len(corpus), corpus.shape, corpus.num_classes) == (2736, (2000,), 20)
    assert corpus.x.sum(1).min() >= 20
    assert corpus.label.bincount().min() >= 30
