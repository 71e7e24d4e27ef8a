"""A small classifier trained on the spot, as a feature extractor where no pretrained network can be had."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from gencore.data import Batches
from gencore.errors import GencoreError


class DigitClassifier(nn.Module):
    """Two layers over flattened images; the features are the hidden layer's (N, 128), after the ReLU."""

    name = "gencore two-layer classifier"

    def __init__(self, inputs: int, num_classes: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, 128)
        self.output = nn.Linear(128, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Images (N, ...) in [-1, 1] -> (N, 128)."""
        with torch.no_grad():
            return torch.relu(self.hidden(x.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, ...) in [-1, 1] -> logits (N, classes)."""
        return self.output(torch.relu(self.hidden(x.flatten(1))))

    def fingerprint(self) -> str:
        """A hash of the weights."""
        data = b"".join(p.detach().cpu().numpy().tobytes() for p in self.parameters())
        return hashlib.sha256(data).hexdigest()[:12]


def train_classifier(source: Any, *, steps: int = 1000, seed: int = 0) -> DigitClassifier:
    """Train on a labelled source; the global random state is not touched."""
    if not source.num_classes:
        raise GencoreError(f"{source.name} has no labels; a classifier cannot be trained on it.")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = DigitClassifier(source.fetch(torch.tensor([0]))["x"][0].numel(), source.num_classes)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        batches = Batches(source, 64, seed=seed)
        for step in range(steps):
            batch = batches[step]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch["x"]), batch["label"]).backward()
            optimizer.step()
    return model.eval()
