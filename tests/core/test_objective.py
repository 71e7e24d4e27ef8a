"""What an objective may return."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gencore.errors import GencoreError
from gencore.objective import Loss, Objective


class Returning(Objective):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def fit(self, model: Any, batch: Any) -> Any:
        return self.value


@pytest.mark.parametrize("value", [torch.ones(()), 1.0, None, (torch.ones(()), {})], ids=type)
def test_what_is_no_loss_is_named(value: Any) -> None:
    with pytest.raises(GencoreError, match=rf"Returning\.fit returned a {type(value).__name__}; expected Loss\(total"):
        Returning(value).loss(None, "fit", {})


def test_what_is_handed_over_has_no_gradient() -> None:
    with pytest.raises(GencoreError, match="hands over a tensor with a gradient: detach `seen`"):
        Returning(Loss(torch.ones(()), {}, {"a": [torch.ones(2, requires_grad=True)]})).loss(None, "fit", {})
    kept = Loss(torch.ones(()), {}, {"a": [torch.ones(2)]})
    assert Returning(kept).loss(None, "fit", {}) is kept
