"""Data: sources, fetched in whole batches; views of them; batches by number; images at the border.

A batch is a dict with the keys x, label and index: gencore.data.source. The names below resolve on first use, so that
importing this package imports neither torch nor Pillow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gencore.data.array_source import arrays as arrays
    from gencore.data.batches import Batches as Batches
    from gencore.data.bundled import digits as digits
    from gencore.data.dataset import from_dataset as from_dataset
    from gencore.data.folder import image_folder as image_folder
    from gencore.data.mnist_files import mnist as mnist
    from gencore.data.mnist_files import mnist_from_hub as mnist_from_hub
    from gencore.data.opening import open_source as open_source
    from gencore.data.source import Batch as Batch
    from gencore.data.source import InMemory as InMemory
    from gencore.data.source import Source as Source
    from gencore.data.source import check_batch as check_batch
    from gencore.data.synthetic import gaussian as gaussian
    from gencore.data.synthetic import ring as ring
    from gencore.data.views import inverted as inverted
    from gencore.data.views import labelled_and_unlabelled as labelled_and_unlabelled
    from gencore.data.views import resized as resized
    from gencore.data.views import subset as subset
    from gencore.data.views import unpaired as unpaired
    from gencore.data.views import weighted as weighted

_HOME = {
    "arrays": "array_source",
    "Batches": "batches",
    "from_dataset": "dataset",
    "digits": "bundled",
    "image_folder": "folder",
    "mnist": "mnist_files",
    "mnist_from_hub": "mnist_files",
    "open_source": "opening",
    "Batch": "source",
    "InMemory": "source",
    "Source": "source",
    "check_batch": "source",
    "gaussian": "synthetic",
    "ring": "synthetic",
    "inverted": "views",
    "labelled_and_unlabelled": "views",
    "resized": "views",
    "subset": "views",
    "unpaired": "views",
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
