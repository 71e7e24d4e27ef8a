"""A language model writes: with cached keys and values, without, and the same weights in transformers' GPT-2.

Each takes the likeliest token, and the case first checks that all write the same ones.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from gencore_text.causal_language_model import from_gpt2
from gencore_text.parts.ancestral import AncestralSampler

TESTS = "tests/plugins/text/test_causal_language_model.py"
VOCABULARY, HEADS = 512, 4
CASES = {"4 texts of 64 tokens, 4 layers of 128": (64, 128, 4), "1 text of 128 tokens, 4 layers of 256": (128, 256, 1)}


@pytest.mark.parametrize("case", CASES)
def test_writing(race: Any, case: str) -> None:
    """`gencore` keeps keys and values; "naive" does not; transformers' `generate` keeps them."""
    length, width, count = CASES[case]
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=length, n_embd=width, n_layer=4, n_head=HEADS,
        bos_token_id=VOCABULARY - 1, eos_token_id=None, pad_token_id=VOCABULARY - 1,
    )  # fmt: skip
    theirs = transformers.GPT2LMHeadModel(config).eval()
    ours = from_gpt2(theirs.state_dict(), heads=HEADS).eval()
    begin = torch.full((count, 1), VOCABULARY - 1)

    def write(*, cached: bool) -> Tensor:
        return ours.sample(count, seed=0, sampler=AncestralSampler(temperature=0, cached=cached)).argmax(2)

    def generate() -> Tensor:
        with torch.inference_mode():
            written: Tensor = theirs.generate(begin, max_new_tokens=length, do_sample=False)
        return written[:, 1:]

    expected = write(cached=False)
    race(
        "writing, causal-language-model",
        case,
        {"gencore": lambda: write(cached=True), "naive": lambda: write(cached=False), "transformers": generate},
        error=lambda written: (written != expected).float().mean(),
        error_unit="share of other tokens",
        tests=TESTS,
    )
