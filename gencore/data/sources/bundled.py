"""The UCI handwritten digits, 1,797 grey images of 8 x 8 with 10 classes: real data inside the package.

E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (the part that scikit-learn ships as
load_digits, in its order). Licences and attribution: digits.NOTICE.txt beside this file.
"""

from __future__ import annotations

from importlib import resources

import numpy as np
import torch

from gencore.data.images import resize_images
from gencore.data.options import Split, check_split
from gencore.data.sources.memory import InMemory
from gencore.data.streams import Use, permutation

NUM_TRAIN = 1400


def digits(split: Split = "train", image_size: int | None = None) -> InMemory:
    """The digits as a source of shape (1, 8, 8), or (1, image_size, image_size); pixel v of 0 ... 16 is v / 8 - 1.

    "train" is 1,400 and "test" 397 examples: the first and the rest of a fixed permutation (the writers are not mixed
    in the file's order), each kept in the file's order. "all" is the file.
    """
    check_split(split)
    with resources.files("gencore.data").joinpath("digits.npz").open("rb") as file, np.load(file) as stored:
        pixels, classes = torch.from_numpy(stored["x"]), torch.from_numpy(stored["label"])
    shuffled = permutation(len(pixels), seed=0, number=0, use=Use.SPLIT)
    parts = {"train": shuffled[:NUM_TRAIN], "test": shuffled[NUM_TRAIN:], "all": shuffled}
    chosen = parts[split].sort().values
    x = pixels[chosen, None].float() / 8 - 1
    if image_size is not None:
        x = resize_images(x, image_size)
    return InMemory(x=x, label=classes[chosen].long(), num_classes=10, name=f"digits ({split})")
