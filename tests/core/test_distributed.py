"""What an objective may ask of the other processes, on one process and on two."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from gencore.distributed import (
    check_agreement,
    equal_on_processes,
    from_first_process,
    process_count,
    process_rank,
    recorded,
    sum_over_processes,
)
from gencore.errors import GencoreError
from gencore.testing import run_processes

CPU = torch.device("cpu")


def holding(*values: float) -> nn.Module:
    module = nn.Module()
    module.register_buffer("values", torch.tensor(values))
    return module


def agree(module: nn.Module) -> bool:
    try:
        check_agreement(module)
    except GencoreError as error:
        return "Buffer 'values'" not in str(error)
    return True


def answers() -> dict[str, Tensor]:
    own = torch.tensor([1.0, 2.0]) * (1 + process_rank())
    said = {
        "processes": (process_count(), process_rank()),
        "sum": sum_over_processes(own),
        "first": from_first_process(own),
        "own": own,
        "same text": equal_on_processes("a", CPU),
        "other text": equal_on_processes(f"a{process_rank()}", CPU),
        "same buffers": agree(holding(1.0, math.nan, math.inf)),
        "other buffers": agree(holding(1.0, float(process_rank()))),
        "other NaN": agree(holding(1.0, math.nan if process_rank() else 0.0)),
    }
    return {name: torch.as_tensor(answer) for name, answer in said.items()}


def answers_in_a_group() -> dict[str, Tensor]:
    dist.init_process_group("gloo")
    try:
        return answers()
    finally:
        dist.destroy_process_group()


def plain(answers: dict[str, Tensor]) -> dict[str, Any]:
    return {name: answer.tolist() for name, answer in answers.items()}


ALIKE = {"first": [1.0, 2.0], "same text": True, "same buffers": True}


def test_one_process_agrees_with_itself() -> None:
    alone = {"processes": [1, 0], "sum": [1.0, 2.0], "own": [1.0, 2.0]}
    assert plain(answers()) == ALIKE | alone | {"other text": True, "other buffers": True, "other NaN": True}


@pytest.mark.slow
def test_two_processes_say_the_same_on_each(tmp_path: Path) -> None:
    """Also where only one of them differs; and what they hand over stays as it was."""
    common = ALIKE | {"sum": [3.0, 6.0], "other text": False, "other buffers": False, "other NaN": False}
    for rank, said in enumerate(run_processes(answers_in_a_group, 2, tmp_path)):
        assert plain(said) == common | {"processes": [2, rank], "own": [1.0 + rank, 2.0 + 2 * rank]}


def test_exchanges_are_recorded_inside_the_block_only() -> None:
    with recorded() as outer:
        sum_over_processes(torch.zeros(3, dtype=torch.float64))
        with recorded() as inner:
            from_first_process(torch.zeros(2, dtype=torch.int8))
        sum_over_processes(torch.zeros(1))
    sum_over_processes(torch.zeros(9))
    assert inner == [("broadcast", 2)]
    assert outer == [("all_reduce", 24), ("broadcast", 2), ("all_reduce", 4)]
