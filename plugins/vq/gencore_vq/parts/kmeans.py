"""k-means (Lloyd 1982, "Least squares quantization in PCM"): the beginning of a codebook on the first batch.

    assign each row to its nearest centre; move each centre to the mean of its rows; repeat.
Zeghidour et al. 2021 (SoundStream, arXiv:2107.03312, section III-C) begin every codebook so. The centres start at
distinct rows drawn at random; one that wins no row stays where it is. Several processes share the work: the rows stay
where they are, counts and sums are added up, and every process ends with the same bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gencore.distributed import from_first_process, sum_over_processes
from gencore.errors import GencoreError, NonFiniteError
from gencore_kernels import nearest_code


@torch.no_grad()
def kmeans(rows: Tensor, num_codes: int, *, iterations: int) -> Tensor:
    """Centres ([G,] num_codes, D) of `rows` ([G,] N, D) float32, this process' share of the data; G problems at once.

    Draws from torch's global random state. Raises GencoreError for more codes than rows, NonFiniteError for rows with
    NaN or infinity on any process (on all of them).
    """
    count = rows.shape[-2]
    if num_codes > count:
        raise GencoreError(
            f"k-means was asked for {num_codes} codes, but the first batch gives {count} latents only. Ask for fewer "
            "codes (num_codes), take larger batches (batch_size), or begin at random (kmeans_iterations=0)."
        )
    bad = sum_over_processes((~rows.isfinite().all(-1)).sum()).item()
    if bad:
        raise NonFiniteError(
            f"k-means found NaN or infinity in {bad} latents of the first batch: look at the data and at the encoder."
        )
    centres = from_first_process(rows[..., torch.randperm(count, device=rows.device)[:num_codes], :].contiguous())
    for _ in range(iterations):
        centres = lloyd_step(rows, centres)
    return centres


def lloyd_step(rows: Tensor, centres: Tensor) -> Tensor:
    """One assignment and one mean, over the rows of all processes."""
    found = nearest_code(rows, centres, returns=("counts", "sums"))
    assert found.counts is not None
    assert found.sums is not None
    counts = sum_over_processes(found.counts)[..., None]
    return torch.where(counts > 0, sum_over_processes(found.sums) / counts.clamp_min(1), centres)
