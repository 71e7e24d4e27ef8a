"""Labels as one-hot rows, of the dtype of what they stand beside."""

from __future__ import annotations

import pytest
import torch

from gencore.errors import GencoreError
from gencore.nn.labels import one_hot


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rows_are_of_the_others_dtype(dtype: torch.dtype) -> None:
    rows = one_hot(torch.tensor([2, 0]), 3, torch.zeros(2, 5, dtype=dtype))
    assert rows.dtype == dtype
    assert rows.tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (torch.tensor([0, 3]), "labels go from 0 to 3"),
        (torch.tensor([-1, 0]), "labels go from -1 to 0"),
        (torch.tensor([0]), r"the labels are \(1,\)"),
        (torch.tensor([0.0, 1.0]), "expected \\(2,\\) integers"),
    ],
)
def test_other_labels_are_refused(label: torch.Tensor, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        one_hot(label, 3, torch.zeros(2, 1))
