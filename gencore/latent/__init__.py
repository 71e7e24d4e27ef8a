"""Uses of a representation, over any model that has the role: walks, maps, clusters, anomalies, factors, labelling."""

from __future__ import annotations

from gencore.latent.anomaly import anomaly_scores, auroc
from gencore.latent.clustering import cluster_accuracy, k_means, normalised_mutual_information
from gencore.latent.codes import Codes, GaussianCodes, decode, encode_all, reconstruct
from gencore.latent.disentanglement import factor_vae_score, mutual_information_gap
from gencore.latent.editing import axis, edit
from gencore.latent.inversion import Inversion, Likeness, Search, invert
from gencore.latent.maps import latent_map, pca, pixels_of, scatter, thumbnails
from gencore.latent.selection import select_by_margin, select_cluster_centres, select_k_centre, select_random
from gencore.latent.walks import code_plane, combine, lerp, slerp, traverse, under_each, walk

__all__ = [
    "Codes",
    "GaussianCodes",
    "Inversion",
    "Likeness",
    "Search",
    "anomaly_scores",
    "auroc",
    "axis",
    "cluster_accuracy",
    "code_plane",
    "combine",
    "decode",
    "edit",
    "encode_all",
    "factor_vae_score",
    "invert",
    "k_means",
    "latent_map",
    "lerp",
    "mutual_information_gap",
    "normalised_mutual_information",
    "pca",
    "pixels_of",
    "reconstruct",
    "scatter",
    "select_by_margin",
    "select_cluster_centres",
    "select_k_centre",
    "select_random",
    "slerp",
    "thumbnails",
    "traverse",
    "under_each",
    "walk",
]
