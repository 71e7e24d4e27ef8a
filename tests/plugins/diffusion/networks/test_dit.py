"""The transformer's block by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from gencore_diffusion.networks.dit import Block, DiTConfig
from tests.plugins.diffusion.diffusion_models import awake


def test_transformer_block_by_hand() -> None:
    """Attention, then the dense layers, each on scale * norm(x) + shift, with its gate in front (DiT's adaLN-zero)."""
    block = awake(Block(DiTConfig(width=8, heads=2)))
    generator = torch.Generator().manual_seed(1)
    x, embedded = torch.randn(2, 5, 8, generator=generator), torch.randn(2, 8, generator=generator)
    numbers = block.modulation(embedded * embedded.sigmoid())
    shift_a, scale_a, gate_a, shift_d, scale_d, gate_d = (numbers[:, None, k * 8 : k * 8 + 8] for k in range(6))

    def norm(tokens: Tensor) -> Tensor:
        centred = tokens - tokens.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    query, key, value = block.query_key_value(norm(x) + scale_a * norm(x) + shift_a).split(8, -1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        weights = (query[..., head] @ key[..., head].transpose(1, 2) / 2).softmax(-1)
        heads.append(weights @ value[..., head])
    after = x + gate_a * block.output(torch.cat(heads, -1))
    expected = after + gate_d * block.dense(norm(after) + scale_d * norm(after) + shift_d)
    torch.testing.assert_close(block(x, embedded), expected, rtol=1e-4, atol=1e-5)
