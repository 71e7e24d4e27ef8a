"""A toy translation: the target is the source reversed, every letter replaced by another, fixed one.

Letters are tokens 3 ... 14 of a sentence that ends with STOP and is filled with PAD.

key      shape, dtype
x        (N, longest + 1, 15) float32 in {0, 1}, the target, one-hot over the tokens
tokens   (N, longest + 1) int64, the source
target   (N, longest + 1) int64, the target
"""

from __future__ import annotations

import torch
from torch import Tensor

from gencore.conditions import Tokens
from gencore.data.toys import draws
from gencore.data.toys.rendered import Rendered, first_indices
from gencore.errors import GencoreError

PAD, START, STOP, FIRST = 0, 1, 2, 3
LETTERS = "abcdefghijkl"
NUM_TOKENS = FIRST + len(LETTERS)
WORDS = ("<start>", "<stop>", *LETTERS)
SWAP = (PAD, START, STOP, 4, 7, 9, 11, 14, 3, 8, 6, 5, 12, 13, 10)

_LENGTH, _LETTERS = 0, 1


def sources(index: Tensor, *, shortest: int = 4, longest: int = 8, seed: int = 0) -> Tensor:
    """The sources of `index`, (N,) int64: (N, longest + 1) int64, letters, STOP, PAD."""
    length = shortest + draws.integers(seed, index, _LENGTH, longest - shortest + 1)[:, None]
    letters = FIRST + (draws.uniforms(seed, index, _LETTERS, longest + 1) * len(LETTERS)).long()
    place = torch.arange(longest + 1)
    return torch.where(place < length, letters, torch.where(place == length, STOP, PAD))


def translate(source: Tensor) -> Tensor:
    """The targets of sources (N, L) int64: the letters before STOP, reversed and swapped."""
    length = (source >= FIRST).sum(1, keepdim=True)
    place = torch.arange(source.shape[1])
    backwards = source.gather(1, (length - 1 - place).clamp_min(0))
    return torch.where(place < length, torch.tensor(SWAP)[backwards], source)


def cipher(
    num_examples: int = 5000, *, shortest: int = 4, longest: int = 8, seed: int = 0, split: str = "train"
) -> Rendered:
    """Pairs of `shortest` to `longest` letters. Raises GencoreError for bad values."""
    index, seed = first_indices(num_examples), draws.split_seed(seed, split)
    if not 1 <= shortest <= longest:
        raise GencoreError(f"shortest is {shortest} and longest {longest}; expected 1 <= shortest <= longest.")
    source = sources(index, shortest=shortest, longest=longest, seed=seed)
    target = translate(source)
    return Rendered(
        x=torch.nn.functional.one_hot(target, NUM_TOKENS).float(),
        further={"tokens": source, "target": target},
        conditions=(Tokens(length=longest + 1, words=WORDS),),
        name=f"cipher ({split})",
    )
