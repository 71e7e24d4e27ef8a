"""Data: sources, fetched in whole batches; views of them; batches by number; images at the border.

A batch is a dict with the keys x, label and index: gencore.data.source. The names below resolve on first use, so that
importing this package imports neither torch nor Pillow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gencore.data.augmentation import augmented as augmented
    from gencore.data.augmentation import degraded as degraded
    from gencore.data.batches import Batches as Batches
    from gencore.data.fingerprints import fingerprint as fingerprint
    from gencore.data.names import list_data as list_data
    from gencore.data.opening import open_source as open_source
    from gencore.data.source import Batch as Batch
    from gencore.data.source import Source as Source
    from gencore.data.source import check_batch as check_batch
    from gencore.data.source import conditions_of as conditions_of
    from gencore.data.sources.arrays import arrays as arrays
    from gencore.data.sources.bundled import digits as digits
    from gencore.data.sources.dataset import from_dataset as from_dataset
    from gencore.data.sources.folder import image_folder as image_folder
    from gencore.data.sources.memory import InMemory as InMemory
    from gencore.data.sources.mnist import mnist as mnist
    from gencore.data.sources.mnist import mnist_from_hub as mnist_from_hub
    from gencore.data.sources.synthetic import gaussian as gaussian
    from gencore.data.sources.synthetic import ring as ring
    from gencore.data.views import inverted as inverted
    from gencore.data.views import resized as resized
    from gencore.data.views import subset as subset
    from gencore.data.views import weighted as weighted
    from gencore.data.views_of_two import labelled_and_unlabelled as labelled_and_unlabelled
    from gencore.data.views_of_two import paired as paired
    from gencore.data.views_of_two import unpaired as unpaired

_HOME = {
    "arrays": "sources.arrays",
    "augmented": "augmentation",
    "degraded": "augmentation",
    "conditions_of": "source",
    "fingerprint": "fingerprints",
    "Batches": "batches",
    "from_dataset": "sources.dataset",
    "digits": "sources.bundled",
    "image_folder": "sources.folder",
    "mnist": "sources.mnist",
    "mnist_from_hub": "sources.mnist",
    "list_data": "names",
    "open_source": "opening",
    "Batch": "source",
    "InMemory": "sources.memory",
    "Source": "source",
    "check_batch": "source",
    "gaussian": "sources.synthetic",
    "ring": "sources.synthetic",
    "inverted": "views",
    "labelled_and_unlabelled": "views_of_two",
    "resized": "views",
    "subset": "views",
    "unpaired": "views_of_two",
    "paired": "views_of_two",
    "weighted": "views",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; its public names are {', '.join(__all__)}"
        )
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
