from __future__ import annotations

import pytest
import torch

from gencore.data.toys.cipher import PAD, STOP, SWAP, cipher, sources, translate


def test_a_pair_by_hand() -> None:
    source = torch.tensor([[3, 3, 4, 14, STOP, PAD], [5, STOP, PAD, PAD, PAD, PAD]])
    assert translate(source).tolist() == [[10, 7, 4, 4, STOP, PAD], [9, STOP, PAD, PAD, PAD, PAD]]


def test_the_swap_is_a_permutation_that_leaves_the_marks() -> None:
    assert sorted(SWAP) == list(range(15))
    assert SWAP[:3] == (0, 1, 2)


def test_sources_are_letters_then_stop_then_padding() -> None:
    source = sources(torch.arange(3000))
    length = (source == STOP).long().argmax(1)
    assert ((source == STOP).sum(1) == 1).all()
    assert set(length.tolist()) == {4, 5, 6, 7, 8}
    place = torch.arange(9)
    assert ((source >= 3) == (place < length[:, None])).all()
    assert ((source == PAD) == (place > length[:, None])).all()
    letters = source[source >= 3].bincount(minlength=15)[3:]
    assert letters.min() > 0.85 * letters.float().mean()


def test_x_is_the_target_one_hot() -> None:
    source = cipher(20, longest=6)
    assert source.shape == (7, 15)
    assert torch.equal(source.x.argmax(2), source.further["target"])
    assert torch.equal(source.x.sum(2), torch.ones(20, 7))
    assert torch.equal(translate(source.further["tokens"]), source.further["target"])
    assert source.conditions[0].text(torch.tensor([3, 14, STOP])) == "a l <stop>"


def test_lengths_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="shortest is 5 and longest 4"):
        cipher(5, shortest=5, longest=4)
