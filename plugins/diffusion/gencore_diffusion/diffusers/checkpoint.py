"""An unconditional diffusers UNet2DModel, read into our DDPM: the same network under other names, so the same numbers.

A folder is either a pipeline (`unet/`, `scheduler/`) or a UNet2DModel's own (config.json beside
diffusion_pytorch_model.safetensors; or a variant such as diffusion_pytorch_model.fp16.safetensors; or several files and
an index). Only safetensors are read; no code of the folder runs, and no more memory is taken than its weights fill.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gencore.building import Limits
from gencore.errors import GencoreError
from gencore_diffusion.ddpm import DDPM, DDPMConfig
from gencore_diffusion.diffusers.config import SchedulerConfig, read_json, scheduler_config
from gencore_diffusion.networks.unet import Downsample, UNet, UNetConfig, Upsample
from gencore_hub.safetensors_header import Header, read_header

WEIGHTS = "diffusion_pytorch_model.safetensors"
_RESIDUAL = {
    "norm_in": "norm1",
    "conv_in": "conv1",
    "level": "time_emb_proj",
    "norm_out": "norm2",
    "conv_out": "conv2",
    "shortcut": "conv_shortcut",
}
_ATTENTION = {"norm": "group_norm", "query": "to_q", "key": "to_k", "value": "to_v", "output": "to_out.0"}
_OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}  # diffusers before 0.14
_ENDS = {
    "stem": "conv_in",
    "embedding.level.0": "time_embedding.linear_1",
    "embedding.level.2": "time_embedding.linear_2",
    "norm": "conv_norm_out",
    "head": "conv_out",
}
_FIXED: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "time_embedding_dim": (None,),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1, 1.0),
    "downsample_type": ("conv",),
    "upsample_type": ("conv",),
    "act_fn": ("silu", "swish"),
    "attn_norm_num_groups": (None,),
    "resnet_time_scale_shift": ("default",),
    "add_attention": (True,),
    "class_embed_type": (None,),
    "num_class_embeds": (None,),
}


def from_diffusers(folder: str | Path, *, image_size: int | None = None) -> DDPM:
    """The DDPM in a diffusers folder, in evaluation mode. `image_size` where its config names none.

    Raises GencoreError for a missing file, a UNet that is conditional or of another architecture, a scheduler that
    DDPM's schedule cannot express, and weights that do not fit, by name.
    """
    folder = Path(folder)
    unet_folder = folder / "unet" if (folder / "unet").is_dir() else folder
    data = read_json(unet_folder, "config.json")
    schedule = folder / "scheduler"
    noise = scheduler_config(schedule) if schedule.is_dir() else SchedulerConfig(kind="ddpm")
    size = data.get("sample_size") or image_size
    if not size:
        raise GencoreError(f"{unet_folder / 'config.json'} names no sample_size: pass image_size.")
    height, width = (size, size) if isinstance(size, int) else size
    network = unet_config(data)
    files = weight_files(unet_folder)
    limits = Limits(unet_folder, {}, [_header(file) for file in files])
    limits.check_integers(data)
    config = DDPMConfig(
        data_shape=(data.get("in_channels", 3), height, width),
        network=network,
        num_timesteps=noise.num_train_timesteps,
        betas=tuple(noise.betas.tolist()),
        prediction=noise.prediction,
    )
    with limits, torch.device("meta"):
        limits.check_size(DDPM(config))
    model = DDPM(config)
    assert isinstance(model.network, UNet)
    load_weights(model.network, files)
    model.system = "ddpm"
    return model.eval()


def unet_config(data: dict[str, Any]) -> UNetConfig:
    """Our config for a UNet2DModel's. Raises GencoreError for what our U-Net does not have."""
    for key, allowed in _FIXED.items():
        if data.get(key, allowed[0]) not in allowed:
            raise GencoreError(f"The UNet has {key} = {data[key]!r}; only {allowed[0]!r} can be read here.")
    if data.get("_class_name", "UNet2DModel") != "UNet2DModel":
        raise GencoreError(f"The network is a {data['_class_name']}; only an unconditional UNet2DModel can be read.")
    if data.get("in_channels", 3) != data.get("out_channels", 3):
        raise GencoreError("The UNet's in_channels and out_channels differ (a learned variance?); expected the same.")
    down = data.get("down_block_types", ("DownBlock2D", *["AttnDownBlock2D"] * 3))
    up = data.get("up_block_types", (*["AttnUpBlock2D"] * 3, "UpBlock2D"))
    kinds = {"DownBlock2D": False, "AttnDownBlock2D": True, "UpBlock2D": False, "AttnUpBlock2D": True}
    if unknown := [kind for kind in (*down, *up) if kind not in kinds]:
        raise GencoreError(f"The UNet has blocks {unknown}; known are {list(kinds)}.")
    attention = tuple(kinds[kind] for kind in down)
    if attention != tuple(kinds[kind] for kind in reversed(up)):
        raise GencoreError(f"The UNet attends at other levels down ({down}) than up ({up}); expected the same.")
    return UNetConfig(
        channels=tuple(data.get("block_out_channels", (224, 448, 672, 896))),
        blocks=data.get("layers_per_block", 2),
        attention=attention,
        head_dim=data.get("attention_head_dim", 8),
        dropout=float(data.get("dropout", 0.0)),
        norm_groups=data.get("norm_num_groups", 32),
        norm_eps=float(data.get("norm_eps", 1e-5)),
        symmetric_padding=data.get("downsample_padding", 1) == 1,
        cosine_first=data.get("flip_sin_to_cos", True),
        frequency_shift=float(data.get("freq_shift", 0)),
    )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors of a UNet2DModel's folder: one file, or those that an index names; else of the one variant there
    is, such as fp16. Raises GencoreError where there are none, pickled ones alone, or several variants."""
    stem = WEIGHTS.removesuffix(".safetensors")
    indexes = sorted(folder.glob(f"{stem}.safetensors.index*.json"))
    found = [path for path in folder.glob(f"{stem}*.safetensors") if "-of-" not in path.name]
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if len(found) + len(indexes) > 1:
        names = ", ".join(path.name for path in (*found, *indexes))
        raise GencoreError(f"{folder} holds several variants of the weights ({names}); keep the one to read.")
    if found:
        return found
    if not indexes:
        pickled = sorted(path.name for path in folder.glob(f"{stem}*.bin"))
        why = (
            f"Pickled weights ({pickled[0]}) are not read: save the model with safe_serialization=True."
            if pickled
            else ""
        )
        raise GencoreError(f"There is no {folder / WEIGHTS}, nor a variant or an index of it. {why}".strip())
    mapped = read_json(folder, indexes[0].name).get("weight_map")
    if not isinstance(mapped, dict) or not mapped or not all(isinstance(name, str) for name in mapped.values()):
        raise GencoreError(f"{indexes[0]} has no weight_map of files by tensor.")
    files = sorted(set(mapped.values()))
    for name in files:
        if name != Path(name).name or not name.endswith(".safetensors") or not (folder / name).is_file():
            raise GencoreError(f"{indexes[0]} names {name!r}; expected a .safetensors file beside it.")
    return [folder / name for name in files]


def _header(file: Path) -> Header:
    with open(file, "rb", buffering=0) as opened:
        return read_header(opened, str(file))


def load_weights(network: UNet, files: list[Path]) -> None:
    """Fill a U-Net from a UNet2DModel's safetensors, in the network's own precision.

    Raises GencoreError unless names and shapes match exactly.
    """
    stored: dict[str, Tensor] = {}
    for path in files:
        try:
            stored |= load_file(path)
        except SafetensorError as error:
            raise GencoreError(f"{path} is not a safetensors file: {error}.") from None
    theirs = diffusers_names(network)
    wanted = {theirs[name.rpartition(".")[0]] + "." + name.rpartition(".")[2]: name for name in network.state_dict()}
    stored = {_renamed(name): tensor for name, tensor in stored.items()}
    if wrong := sorted(wanted.keys() ^ stored.keys()):
        kind = "lacks" if wrong[0] in wanted else "has an unexpected"
        raise GencoreError(f"{path} {kind} {wrong[0]!r} ({len(wrong)} names differ): it is of another architecture.")
    tensors: dict[str, Tensor] = {}
    for name, own in wanted.items():
        expected = network.state_dict()[own].shape
        if stored[name].shape != expected:
            raise GencoreError(f"{name!r} in {path} is {tuple(stored[name].shape)}; expected {tuple(expected)}.")
        tensors[own] = stored[name]
    network.load_state_dict(tensors)


def _renamed(name: str) -> str:
    """A name of today for one of an old checkpoint's attention."""
    if ".attentions." not in name:
        return name
    for new, old in _OLD_ATTENTION.items():
        name = name.replace(f".{old}.", f".{new}.")
    return name


def diffusers_names(network: UNet) -> dict[str, str]:
    """Our layer names -> those of a UNet2DModel of the same config."""
    names = dict(_ENDS)
    for own, theirs in (("down", "down_blocks"), ("up", "up_blocks")):
        level = place = 0
        parts: nn.ModuleList = getattr(network, own)
        for number, part in enumerate(parts):
            if isinstance(part, Downsample | Upsample):
                kind = "downsamplers" if own == "down" else "upsamplers"
                names[f"{own}.{number}.conv"] = f"{theirs}.{level}.{kind}.0.conv"
                level, place = level + 1, 0
            else:
                names |= _block_names(f"{own}.{number}", f"{theirs}.{level}", place)
                place += 1
    names |= _block_names("middle.0", "mid_block", 0)
    return names | _block_names("middle.1", "mid_block", 1)


def _block_names(own: str, theirs: str, place: int) -> dict[str, str]:
    residual = {f"{own}.residual.{a}": f"{theirs}.resnets.{place}.{b}" for a, b in _RESIDUAL.items()}
    return residual | {f"{own}.attention.{a}": f"{theirs}.attentions.{place}.{b}" for a, b in _ATTENTION.items()}
