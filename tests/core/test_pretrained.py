"""What loads, loads without a network; what is not whole, foreign or hostile is refused with a reason."""

from __future__ import annotations

import concurrent.futures
import json
import pickle
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import gencore
import gencore_hub
from gencore import building, pretrained
from gencore.config import to_json
from gencore.errors import GencoreError, PluginError
from gencore.kinds import kind_of
from gencore.testing import no_network
from gencore_hub import HubError


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    gencore.create("dcgan", width=4, latent_dim=4).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def edit(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_bundled_models_load_and_sample_without_a_network() -> None:
    assert {"dcgan-mnist", "vq-vae-mnist"} <= set(gencore_hub.bundled())
    for name in gencore_hub.bundled():
        with no_network():
            model = gencore.from_pretrained(name)
        assert not model.training
        folder = gencore_hub.locate(name)
        assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) < 2_000_000
        spec = gencore.list_systems(model.system)[0]
        pictured = kind_of(model) == "picture" and ("sampler" in spec.roles or "translate" in spec.traits)
        assert (folder / "samples.png").is_file() == pictured
        assert "gencore train" in (folder / "README.md").read_text()


def test_loading_leaves_the_random_state(saved: Path) -> None:
    before = torch.get_rng_state()
    gencore.from_pretrained(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_loading_in_a_thread_leaves_a_trainings_random_stream(saved: Path) -> None:
    """Numbers drawn while another thread loads are those drawn without it."""
    torch.manual_seed(1)
    alone = torch.rand(20_000)
    torch.manual_seed(1)
    drawn: list[torch.Tensor] = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        loading = pool.submit(lambda: [gencore.from_pretrained(saved) for _ in range(4)])
        while len(drawn) < 20_000:
            drawn.append(torch.rand(1))
        loading.result()
    assert torch.equal(torch.cat(drawn), alone)


def test_a_constructor_may_draw_on_the_cpu(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever device it is built on."""
    from gencore_gan.parts.networks import ConvGAN

    build = ConvGAN.__init__
    monkeypatch.setattr(
        ConvGAN, "__init__", lambda self, config: (build(self, config), torch.randn(3, device="cpu"))[0]
    )
    test_loading_leaves_the_random_state(saved)


def test_large_weights_are_not_drawn_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the file's to the bit all the same; and what no file replaces is drawn."""
    model = gencore.create("gan", hidden=[600, 600])
    model.save_pretrained(tmp_path / "model")
    skipped: list[int] = []
    leave = building._OwnDraws.__exit__
    monkeypatch.setattr(
        building._OwnDraws, "__exit__", lambda mode, *error: (skipped.extend(mode.skipped), leave(mode, *error))[1]
    )
    loaded = gencore.from_pretrained(tmp_path / "model")
    assert len(skipped) == 2
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name

    class Features(torch.nn.Module):
        def __init__(self, config: None) -> None:
            super().__init__()
            self.register_buffer("frequencies", torch.empty(300, 300).normal_(), persistent=False)
            self.layer = torch.nn.Linear(300, 300)

    assert abs(building.unfilled(Features, None).frequencies.std().item() - 1) < 0.05


def test_loading_does_not_import_the_compiler(saved: Path) -> None:
    """torch._dynamo takes a second to import."""
    import subprocess
    import sys

    code = f"import sys, gencore; gencore.from_pretrained({str(saved)!r}); print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_class_is_checked(saved: Path) -> None:
    from gencore_gan.parts.networks import ConvGAN, DenseGAN

    assert isinstance(ConvGAN.from_pretrained(saved), ConvGAN)
    with pytest.raises(GencoreError, match="holds a ConvGAN; expected a DenseGAN"):
        DenseGAN.from_pretrained(saved)


def test_plugin_that_is_not_installed(saved: Path) -> None:
    edit(saved, system="spiral-gan", distribution={"name": "gencore-spiral", "version": "2.1"})
    with pytest.raises(PluginError, match=r'gencore-spiral 2\.1; nobody has checked.*pip install "gencore-spiral"'):
        gencore.from_pretrained(saved)


def test_config_with_unknown_key(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())["config"]
    edit(saved, config=config | {"latent_dims": 3})
    with pytest.raises(GencoreError, match="'latent_dims'.*'latent_dim'"):
        gencore.from_pretrained(saved)


def test_config_that_declares_far_more_than_the_weights(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())["config"]
    edit(saved, config=config | {"latent_dim": 10**12})
    with pytest.raises(ValueError, match="do not belong together"):
        gencore.from_pretrained(saved)


@pytest.mark.parametrize("error", [ValueError("odd"), KeyError("odd"), RuntimeError("odd"), ZeroDivisionError("odd")])
def test_whatever_a_constructor_raises_names_the_file(
    error: Exception, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gencore_gan.parts.networks import ConvGAN

    def fail(self: object, config: object) -> None:
        raise error

    monkeypatch.setattr(ConvGAN, "__init__", fail)
    with pytest.raises(HubError, match=rf"config\.json in .* cannot be built: {type(error).__name__}: .*odd"):
        gencore.from_pretrained(saved)


def test_config_from_a_later_version(saved: Path) -> None:
    edit(saved, config_version=7)
    with pytest.raises(GencoreError, match="upgrade"):
        gencore.from_pretrained(saved)


def test_config_that_is_not_ours(saved: Path) -> None:
    (saved / "config.json").write_text('{"architectures": ["BertModel"]}')
    with pytest.raises(ValueError, match=r"config\.json is not gencore's"):
        gencore.from_pretrained(saved)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_weights(saved: Path, keep: int) -> None:
    data = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(data[:keep])
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        gencore.from_pretrained(saved)


def test_tampered_weights(saved: Path) -> None:
    data = bytearray((saved / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (saved / "model.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match="sha256"):
        gencore.from_pretrained(saved)


def test_pickles_are_refused(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    (saved / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="pickle"):
        gencore.from_pretrained(saved)


def test_a_model_without_a_name_cannot_be_saved(tmp_path: Path) -> None:
    model = gencore.create("dcgan", width=4)
    model.system = None
    with pytest.raises(GencoreError, match=r"gencore\.create"):
        model.save_pretrained(tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_unknown_bundled_name() -> None:
    with pytest.raises(ValueError, match="dcgan-mnist"):
        gencore.from_pretrained("dcgan-mnst")


def test_a_place_that_cannot_be_written(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="could not write"):
        gencore.from_pretrained(saved).save_pretrained(tmp_path / "file" / "below")


def test_what_config_json_says_of_a_model(saved: Path) -> None:
    described = pretrained.describe(gencore.from_pretrained(saved))
    assert {name: described[name] for name in ("system", "family", "distribution")} == {
        "system": "dcgan",
        "family": "gan",
        "distribution": {"name": "gencore", "version": version("gencore")},
    }


def test_the_version_of_a_config_is_its_classes(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = gencore.from_pretrained(saved)
    monkeypatch.setattr(type(model.config), "version", 7)
    assert pretrained.describe(model)["config_version"] == 7


def test_a_card_of_ones_own_is_kept(tmp_path: Path) -> None:
    gencore.create("gan", hidden=[4]).save_pretrained(tmp_path, card="# mine\n")
    assert (tmp_path / "README.md").read_text() == "# mine\n"


@pytest.mark.parametrize("with_samples", [True, False])
def test_the_card_shows_the_samples_that_there_are(with_samples: bool, tmp_path: Path) -> None:
    model = gencore.create("gan", hidden=[4])
    model.save_pretrained(tmp_path, samples=model.sample(4) if with_samples else None)
    card = (tmp_path / "README.md").read_text()
    assert (tmp_path / "samples.png").exists() == ("![samples](samples.png)" in card) == with_samples
    assert str(tmp_path) in card


def test_a_pushed_model_is_whole_and_its_card_names_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[tuple[str, dict[str, bytes], dict[str, object]]] = []

    def push(folder: str, repo_id: str, **hub: object) -> str:
        pushed.append((repo_id, {path.name: path.read_bytes() for path in Path(folder).iterdir()}, hub))
        return "address"

    monkeypatch.setattr(gencore_hub, "push", push)
    model = gencore.create("gan", hidden=[4])
    assert model.push_to_hub("me/model", samples=model.sample(4), private=True) == "address"
    model.push_to_hub("me/model", card="# mine\n")
    (repo_id, files, hub), (_, plain, _) = pushed
    assert (repo_id, hub) == ("me/model", {"private": True})
    assert {"config.json", "model.safetensors", "README.md", "samples.png"} <= set(files)
    assert "from_pretrained('me/model')" in files["README.md"].decode()
    assert plain["README.md"] == b"# mine\n"
    assert "samples.png" not in plain


@pytest.fixture
def limits(saved: Path) -> building.Limits:
    """Of a directory with its weights in two files."""
    (saved / "model-00002-of-00002.safetensors").write_bytes((saved / "model.safetensors").read_bytes())
    return building.Limits(saved, {"weights": ["model.safetensors", "model-00002-of-00002.safetensors"]})


def test_limits_follow_the_weights_of_all_files(limits: building.Limits, saved: Path) -> None:
    tensors = gencore.from_pretrained(saved).state_dict().values()
    stored = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert limits.present == 2 * stored
    assert limits.bytes == 8 * stored + building.SPARE_BYTES
    assert limits.steps == 100 * len(tensors) + building.SPARE_STEPS


@pytest.mark.parametrize("value", [10**9 + 1, -(10**9) - 1, [[10**9 + 1]], {"a": {"b": 10**9 + 1}}])
def test_no_number_of_a_config_exceeds_the_bytes_of_the_weights(value: object, limits: building.Limits) -> None:
    limits.present = 10**9
    limits.check_integers([10**9, {"a": -(10**9)}])
    with pytest.raises(HubError, match="has the number -?1,000,000,001, but"):
        limits.check_integers(value)


@pytest.mark.parametrize("buffer", [True, False])
def test_parameters_and_buffers_count_together(buffer: bool, limits: building.Limits) -> None:
    model = torch.nn.Linear(4, 5)
    model.register_buffer("more", torch.zeros(25, dtype=torch.float64) if buffer else None, persistent=False)
    limits.bytes = 100 + 200 * buffer
    limits.check_size(model)
    limits.bytes -= 1
    with pytest.raises(HubError, match=f"describes a model of {300 if buffer else 100} bytes or more"):
        limits.check_size(model)


STEPS = {
    "modules": lambda root, name: root.add_module(name, torch.nn.Identity()),
    "buffers": lambda root, name: root.register_buffer(name, root.tensor),
    "parameters": lambda root, name: root.register_parameter(name, root.parameter),
    "operations": lambda root, name: root.tensor.add(1),
}


@pytest.mark.parametrize("kind", STEPS)
def test_constructions_without_end_are_stopped(
    kind: str, limits: building.Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = torch.nn.Module()
    root.tensor, root.parameter = torch.zeros(1), torch.nn.Parameter(torch.zeros(1))
    limits.steps = 20
    with limits:
        for i in range(19):
            STEPS[kind](root, f"a{i}")
        with pytest.raises(HubError, match="very many layers"):
            [STEPS[kind](root, f"b{i}") for i in range(2)]
    for i in range(30):  # no longer counted
        STEPS[kind](root, f"c{i}")


def test_saving_again_keeps_other_files_and_replaces_the_model(saved: Path) -> None:
    (saved / "notes.txt").write_text("mine")
    other = gencore.create("gan", hidden=[4])
    other.save_pretrained(saved)
    assert (saved / "notes.txt").read_text() == "mine"
    assert gencore.from_pretrained(saved).system == "gan"
    assert to_json(gencore.from_pretrained(saved).config) == to_json(other.config)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float64])
def test_models_of_other_dtypes_come_back(stored: torch.dtype, tmp_path: Path) -> None:
    """Narrow ones are widened, which is exact; `dtype` gives the one that is wanted; all of them sample."""
    model = gencore.create("dcgan", width=4).to(stored)
    model.save_pretrained(tmp_path)
    loaded = gencore.from_pretrained(tmp_path)
    expected = torch.float64 if stored == torch.float64 else torch.float32
    assert loaded.dtype == expected
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.to(loaded.state_dict()[name].dtype)), name
    for wanted in (torch.float32, torch.bfloat16, torch.float64):
        other = gencore.from_pretrained(tmp_path, dtype=wanted)
        assert other.dtype == wanted
        assert other.sample(2).dtype == wanted
    with pytest.raises(GencoreError, match=r"dtype is torch\.int64; expected torch\.float32"):
        gencore.from_pretrained(tmp_path, dtype=torch.int64)


@pytest.mark.parametrize(
    ("system", "arguments"),
    [
        ("edm", {"channels": (16, 16)}),
        ("ac-gan", {"num_classes": 3, "width": 4}),
        ("stylegan", {"width": 4, "latent_dim": 8}),
        ("gumbel-softmax-vae", {}),
    ],
)
def test_half_precision_samples_are_those_of_the_whole(system: str, arguments: dict) -> None:
    """To the rounding of 11 bits: the steps of samplers, statistics and one-hot labels do not lose more."""
    torch.manual_seed(0)
    model = gencore.create(system, **arguments)
    whole = model.sample(2)
    half = model.to(torch.float16).sample(2)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), whole, rtol=0.0, atol=0.02)


@pytest.mark.parametrize("system", ["dcgan", "ddpm", "vae"])
def test_torchs_default_dtype_does_not_matter(system: str, tmp_path: Path) -> None:
    model = gencore.create(system).eval()
    model.save_pretrained(tmp_path)
    options = {"steps": 2} if system == "ddpm" else {}
    expected = model.sample(2, **options)
    torch.set_default_dtype(torch.float64)
    try:
        loaded = gencore.from_pretrained(tmp_path)
        assert torch.get_default_dtype() == torch.float64
        torch.testing.assert_close(loaded.sample(2, **options), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_home_directory_is_expanded_when_a_model_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    gencore.create("dcgan", width=4).save_pretrained("~/m")
    assert (tmp_path / "m" / "config.json").is_file()
    assert not (tmp_path / "~").exists()
