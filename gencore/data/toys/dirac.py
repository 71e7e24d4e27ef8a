"""The data of the Dirac-GAN: all mass at 0 (Mescheder, Geiger and Nowozin 2018, arXiv:1801.04406, Definition 2.1).

key   shape, dtype
x     (N, 1) float32, all 0
"""

from __future__ import annotations

import torch

from gencore.data.toys.rendered import Rendered, first_indices


def dirac(num_examples: int = 256) -> Rendered:
    """`num_examples` zeros of shape (1,). Raises GencoreError for fewer than 1."""
    return Rendered(x=torch.zeros(len(first_indices(num_examples)), 1), name="dirac (all examples 0)")
