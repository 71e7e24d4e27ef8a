"""Uses of a representation, over any model that has the role: walks, maps, clusters, anomalies, factors, labelling.

The names below resolve on first use, so that importing this package imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gencore.latent.anomaly import anomaly_scores as anomaly_scores
    from gencore.latent.anomaly import auroc as auroc
    from gencore.latent.clustering import cluster_accuracy as cluster_accuracy
    from gencore.latent.clustering import k_means as k_means
    from gencore.latent.clustering import normalised_mutual_information as normalised_mutual_information
    from gencore.latent.codes import Codes as Codes
    from gencore.latent.codes import GaussianCodes as GaussianCodes
    from gencore.latent.codes import decode as decode
    from gencore.latent.codes import encode_all as encode_all
    from gencore.latent.codes import reconstruct as reconstruct
    from gencore.latent.disentanglement import factor_vae_score as factor_vae_score
    from gencore.latent.disentanglement import mutual_information_gap as mutual_information_gap
    from gencore.latent.maps import latent_map as latent_map
    from gencore.latent.maps import pca as pca
    from gencore.latent.maps import scatter as scatter
    from gencore.latent.selection import select_by_margin as select_by_margin
    from gencore.latent.selection import select_cluster_centres as select_cluster_centres
    from gencore.latent.selection import select_k_centre as select_k_centre
    from gencore.latent.selection import select_random as select_random
    from gencore.latent.walks import code_plane as code_plane
    from gencore.latent.walks import combine as combine
    from gencore.latent.walks import lerp as lerp
    from gencore.latent.walks import slerp as slerp
    from gencore.latent.walks import traverse as traverse
    from gencore.latent.walks import walk as walk

_HOME = {
    "anomaly_scores": "anomaly",
    "auroc": "anomaly",
    "cluster_accuracy": "clustering",
    "k_means": "clustering",
    "normalised_mutual_information": "clustering",
    "Codes": "codes",
    "GaussianCodes": "codes",
    "decode": "codes",
    "encode_all": "codes",
    "reconstruct": "codes",
    "factor_vae_score": "disentanglement",
    "mutual_information_gap": "disentanglement",
    "latent_map": "maps",
    "pca": "maps",
    "scatter": "maps",
    "select_by_margin": "selection",
    "select_cluster_centres": "selection",
    "select_k_centre": "selection",
    "select_random": "selection",
    "code_plane": "walks",
    "combine": "walks",
    "lerp": "walks",
    "slerp": "walks",
    "traverse": "walks",
    "walk": "walks",
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
