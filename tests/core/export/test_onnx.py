"""Graphs in ONNX Runtime give what the models give, for any number of examples; what differs is not written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

import gencore
from gencore.cli.app import app
from gencore.errors import GencoreError, PluginError
from gencore.export import onnx
from gencore.export.graphs import Graph, graph_of
from gencore.export.onnx import export
from gencore.noise import Noise


def made(system: str, **config: Any) -> Any:
    torch.manual_seed(0)
    return gencore.create(system, **config).eval()


def run(path: Path, **inputs: Any) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(value) for name, value in inputs.items()})[0]


def test_a_generator_of_a_class_gives_pictures_between_0_and_1(tmp_path: Path) -> None:
    model, path = made("cgan", hidden=[16]), tmp_path / "m.onnx"
    found = export(graph_of(model), path, described={"model": "mine"})
    assert found.max_difference < 1e-5
    z, label = model.draw_prior(Noise(7, 0, 3)), torch.tensor([3, 1, 9])
    with torch.no_grad():
        wanted = (model.generate(z, condition=label) + 1) / 2
    np.testing.assert_allclose(run(path, z=z, label=label), wanted, atol=1e-5)
    sheet = json.loads((tmp_path / "m.json").read_text())
    assert (sheet["model"], sheet["part"], sheet["output"]) == ("mine", "generator", "image")
    assert sheet["inputs"] == {
        "z": {"shape": ["n", *z.shape[1:]], "dtype": "float32"},
        "label": {"shape": ["n"], "dtype": "int64"},
    }
    assert sheet["agreement"]["examples"] == 256
    assert sheet["agreement"]["max_difference"] == found.max_difference
    assert sheet["versions"]["onnxruntime"] == onnxruntime.__version__


@pytest.mark.parametrize("system", ["vae", "vq-vae"])
def test_an_encoder_reads_pictures_between_0_and_1(system: str, tmp_path: Path) -> None:
    small = {"hidden": [16]} if system == "vae" else {"width": 8, "prior_width": 8, "prior_layers": 1}
    model, path = made(system, data_shape=[1, 8, 8], **small), tmp_path / "m.onnx"
    if system == "vq-vae":
        with torch.no_grad():
            model.codebook.begin(model.encoder(torch.rand(200, 1, 8, 8) * 2 - 1), iterations=3)
    export(graph_of(model, part="encoder"), path, described={})
    image = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        code = model.encode(2 * image - 1)
    wanted = code if isinstance(code, torch.Tensor) else code.mean
    np.testing.assert_allclose(run(path, image=image), wanted, atol=1e-5)


def test_the_steps_of_a_table_are_the_sampler(tmp_path: Path) -> None:
    """The loop that the sheet describes, in numpy, gives the samples that the model draws."""
    network = {"hidden": 16, "layers": 1}
    model, path = made("ddpm", data_shape=[6], num_timesteps=50, network=network), tmp_path / "m.onnx"
    export(graph_of(model, sampler="ddim", steps=6), path, described={})
    sheet = json.loads((tmp_path / "m.json").read_text())
    assert len(sheet["rows"]) == 6
    assert sheet["columns"] == ["scale", "level", "skip", "out", "p0", "px", "other", "radius"]
    x = sheet["spread"][0] * Noise(3, 0, 4).normal(6).numpy()
    for row in sheet["rows"]:
        x = run(path, x=x, row=np.float32(row), noise=np.zeros_like(x))
    np.testing.assert_allclose(x, model.sample(4, seed=3, sampler="ddim", steps=6), atol=2e-4)


@pytest.mark.slow
def test_a_translator_reads_and_writes_pictures(tmp_path: Path) -> None:
    model, path = made("pix2pix", data_shape=[1, 16, 16], width=8), tmp_path / "m.onnx"
    graph = graph_of(model)
    assert graph.part == "translator"
    export(graph, path, described={})
    image = torch.rand(2, *graph.inputs["image"].shape[1:])
    with torch.no_grad():
        wanted = (model.translate(2 * image - 1).clamp(-1, 1) + 1) / 2
    np.testing.assert_allclose(run(path, image=image), wanted, atol=1e-5)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return graph_of(made("gan", hidden=[8]))


@pytest.fixture(scope="module")
def written(graph: Graph) -> tuple[bytes, int]:
    return onnx.to_onnx(graph)


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        (lambda made: made + 1e-3, "differs by 0.001 from the model's over 256 seeds, more than 0.0001"),
        (lambda made: made.double(), "is .* float32; the model's is .* float64"),
        (lambda made: torch.full_like(made, torch.nan), "differs by inf"),
    ],
)
def test_what_differs_is_not_written(
    graph: Graph, written: tuple[bytes, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: Any, message: str
) -> None:
    monkeypatch.setattr(onnx, "to_onnx", lambda graph: written)
    other = graph._replace(ours=lambda *inputs: ours(graph.module(*inputs)))
    with pytest.raises(GencoreError, match=message):
        export(other, tmp_path / "m.onnx", described={})
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_traced_says_so(graph: Graph, tmp_path: Path) -> None:
    class Sorted(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(z @ z.mT).real

    with pytest.raises(GencoreError, match="This generator cannot be exported: "):
        export(graph._replace(module=Sorted()), tmp_path / "m.onnx", described={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("system", "options", "message"),
    [
        ("gan", {"part": "encoder"}, "DenseGAN has no encoder to export; it has: generator"),
        ("gan", {"steps": 5}, "belong to the part step; generator takes none"),
        ("ddpm", {"sampler": "heun"}, "HeunSampler takes more than one evaluation a step"),
        ("noisy-classifier", {}, "has no part to export; it has: none"),
    ],
)
def test_what_a_model_cannot_give_is_named(system: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        graph_of(made(system), **options)


def test_without_the_extra_the_command_is_named(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PluginError, match=r'pip install "gencore\[export\]"'):
        export(graph, tmp_path / "m.onnx", described={})


def test_the_command_writes_a_graph_and_its_sheet(tmp_path: Path) -> None:
    made("gan", hidden=[8]).save_pretrained(tmp_path / "gan")
    words = ["export", str(tmp_path / "gan"), "-o"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "m.onnx")])
    assert done.exit_code == 0, (done.output, done.exception)
    assert "Wrote the generator of" in done.output
    assert json.loads((tmp_path / "m.json").read_text())["system"] == "gan"
    done = CliRunner().invoke(app, [*words, str(tmp_path / "m.pt")])
    assert isinstance(done.exception, GencoreError)
    assert ".onnx" in str(done.exception)
