"""Fully sharded training: each process holds its share of every parameter, gradient, average and optimiser state.

It is torch's `fully_shard` (FSDP2; Zhao et al. 2023, arXiv:2304.11277). A unit's parameters are gathered when its
forward begins and again for its backward, which averages its gradients and scatters them; in between a parameter is a
DTensor, of which this process holds some rows. Units are the blocks inside the model's regions, the regions around
them, and the step, which has the rest. A unit is to be called through its forward; what lies in no region may be used
in any way inside `Objective.loss`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from gencore.distributed import process_count, whole
from gencore.errors import GencoreError
from gencore.model import Model
from gencore.objective import Batch, Loss, Objective
from gencore.recipes import Recipe

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)


def obstacles(recipe: Recipe) -> list[str]:
    """Why a recipe cannot be trained fully sharded; an empty list where it can, as far as a recipe tells."""
    reasons = []
    for stage in recipe.stages:
        where = f"stage {stage.name!r}"
        if stage.objective.double_backward:
            parts = ", ".join(stage.objective.double_backward)
            reasons.append(f"{where} differentiates gradients of {parts}, which FSDP cannot gather a second time")
        if any(phase.joint for phase in stage.phases):
            reasons.append(f"{where} has a joint phase")
        if stage.begin:
            reasons.append(f"{where} changes the model when it begins")
    return list(dict.fromkeys(reasons))


def refuse_unshardable(recipe: Recipe, *, compile: bool) -> None:
    """Raise GencoreError for a training that cannot be fully sharded, with the reason."""
    reasons = [] if process_count() > 1 else ["it runs on one process (start several, with torchrun)"]
    if compile:
        reasons.append("it is compiled (leave compile out)")
    reasons += obstacles(recipe)
    if reasons:
        raise GencoreError(f"{recipe.name} cannot be trained fully sharded: {'; '.join(reasons)}.")


def units(model: Model) -> list[nn.Module]:
    """What is gathered at a time, the innermost first: blocks inside the model's regions, then the regions."""
    regions = [model.get_submodule(region) for region in model.regions]
    return [unit for region in regions for unit in (*_blocks(region), region) if any(True for _ in unit.parameters())]


def shard(step: nn.Module, model: Model, device: torch.device) -> None:
    """Shard `step`, which calls `model`, over all processes, in place; parameters and buffers end on `device`."""
    mesh = init_device_mesh(device.type, (process_count(),))
    for unit in (*units(model), step):
        sharded = fully_shard(unit, mesh=mesh)
        sharded.set_force_sum_reduction_for_comms(device.type == "cpu")  # for torch 2.8, whose Gloo averages as a sum


def gathered_at_once(model: Model) -> int:
    """Parameters that a process holds whole, at most, beside its share: those of no unit, those of a region and a block
    in it that are under way, and those of the unit that is fetched meanwhile."""
    regions = [model.get_submodule(region) for region in model.regions]
    inner = {region: list(_blocks(region)) for region in regions}
    sizes = {unit: _size(unit) for unit in units(model)}
    own = {unit: size - sum(sizes.get(block, 0) for block in inner.get(unit, ())) for unit, size in sizes.items()}
    most = 0
    for region in regions:
        under_way = [region, *sorted(inner[region], key=lambda block: own.get(block, 0))[-1:]]
        fetched = max((size for unit, size in own.items() if unit not in under_way), default=0)
        most = max(most, sum(own.get(unit, 0) for unit in under_way) + fetched)
    return _size(model) - sum(own.values()) + most


@contextlib.contextmanager
def accumulating(step: Any) -> Iterator[None]:
    """Backward passes inside the `with` add to the gradients without exchanging them."""
    step.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        step.set_requires_gradient_sync(True)


def loss_of(objective: Objective, model: Model, phase: str, batch: Batch) -> Loss:
    """`objective.loss`. What torch says where parameters are used that are not gathered is said in our words."""
    try:
        loss = objective.loss(model, phase, batch)
        if isinstance(loss.total, DTensor):
            raise RuntimeError("the loss is a DTensor: each process has a part of it")
    except RuntimeError as error:
        if "DTensor" not in str(error):
            raise
        raise GencoreError(
            f"This training cannot be fully sharded ({error}). The objective or the model uses a part's parameters "
            "otherwise than by calling it: tied weights, a penalty on weights. Train it without sharding."
        ) from error
    return loss


def collected(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All of each tensor, on the CPU of the first process; the others, which must call it too, get nothing.

    One tensor is gathered at a time, so that a model larger than the device can be collected.
    """
    kept = {}
    for name, tensor in tensors.items():
        gathered = whole(tensor.detach())
        if dist.get_rank() == 0:
            kept[name] = gathered.cpu()
    return kept


def placed(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, sharded as `like` is; each process takes its part of its own `tensor`, nothing is exchanged."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def whole_copy(model: Model) -> Model:
    """An ordinary model with the sharded model's weights, on the CPU of the first process.

    Call it on every process; on the others the copy is on torch's meta device, without values. The random state is
    left as it was.
    """
    tensors = collected(model.state_dict())
    with torch.random.fork_rng(), torch.device("cpu" if dist.get_rank() == 0 else "meta"):
        copy = type(model)(model.config)
    copy.system = model.system
    if tensors:
        copy.load_state_dict(tensors)
    return copy


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The modules with parts of their own and a forward inside a module's lists, sequences and dictionaries."""
    for child in module.children():
        if isinstance(child, _CONTAINERS):
            yield from _blocks(child)
        elif any(True for _ in child.children()) and type(child).forward is not nn.Module.forward:
            yield child
