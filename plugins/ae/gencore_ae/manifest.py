"""What the family `ae` offers. Imports no torch: heavy modules are named, not imported."""

from __future__ import annotations

from gencore.spec import Family, Paper, SystemSpec

_ROLES = ("encoder", "generator")
_DENSE = "gencore_ae.networks:DenseAutoencoder"
_EXACT = ("compiles", "exact-data-parallel")
_TINY = {"data_shape": (1, 8, 8), "code_dim": 4, "batch_size": 8}

family = Family(
    name="ae",
    summary="Autoencoders: deterministic codes",
    extra="ae",
    systems=(
        SystemSpec(
            name="linear-autoencoder",
            family="ae",
            summary="One linear layer each way: the principal subspace",
            paper=Paper(
                title="Neural Networks and Principal Component Analysis: Learning from Examples Without Local Minima",
                authors="Baldi & Hornik",
                year=1989,
            ),
            model="gencore_ae.linear:LinearAutoencoder",
            recipe="gencore_ae.linear:linear_autoencoder",
            roles=_ROLES,
            claims=_EXACT,
            tiny=_TINY,
        ),
        SystemSpec(
            name="deep-autoencoder",
            family="ae",
            summary="Multi-layer perceptrons with a narrow code; squared or Bernoulli error",
            paper=Paper(
                title="Reducing the Dimensionality of Data with Neural Networks",
                authors="Hinton & Salakhutdinov",
                year=2006,
            ),
            model=_DENSE,
            recipe="gencore_ae.deep:deep_autoencoder",
            roles=_ROLES,
            claims=_EXACT,
            tiny={**_TINY, "hidden": (16,)},
        ),
        SystemSpec(
            name="conv-autoencoder",
            family="ae",
            summary="Convolutions down, transposed convolutions up",
            paper=Paper(
                title="Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction",
                authors="Masci et al.",
                year=2011,
            ),
            model="gencore_ae.conv:ConvAutoencoder",
            recipe="gencore_ae.conv:conv_autoencoder",
            roles=_ROLES,
            claims=_EXACT,
            tiny={**_TINY, "width": 4},
        ),
        SystemSpec(
            name="overcomplete-autoencoder",
            family="ae",
            summary="A code larger than the data, held back by a regulariser",
            paper=Paper(title="Deep Learning, chapter 14", authors="Goodfellow, Bengio & Courville", year=2016),
            model=_DENSE,
            recipe="gencore_ae.overcomplete:overcomplete_autoencoder",
            roles=_ROLES,
            claims=("compiles",),
            tiny={**_TINY, "code_dim": 64},
        ),
        SystemSpec(
            name="sparse-autoencoder",
            family="ae",
            summary="An L1 penalty on the code, a dictionary of unit columns",
            paper=Paper(
                title="Emergence of Simple-Cell Receptive Field Properties by Learning a Sparse Code for Natural "
                "Images",
                authors="Olshausen & Field",
                year=1996,
            ),
            model=_DENSE,
            recipe="gencore_ae.sparse:sparse_autoencoder",
            roles=_ROLES,
            claims=_EXACT,
            tiny={**_TINY, "code_dim": 16},
        ),
        SystemSpec(
            name="target-sparse-autoencoder",
            family="ae",
            summary="Sigmoid units held to a mean activation rho",
            paper=Paper(
                title="Sparse Deep Belief Net Model for Visual Area V2", authors="Lee, Ekanadham & Ng", year=2007
            ),
            model=_DENSE,
            recipe="gencore_ae.target_sparse:target_sparse_autoencoder",
            roles=_ROLES,
            claims=("compiles",),
            tiny={**_TINY, "code_dim": 16},
        ),
        SystemSpec(
            name="denoising-autoencoder",
            family="ae",
            summary="Rebuilds clean data from corrupted data; knows the score",
            paper=Paper(
                title="Extracting and Composing Robust Features with Denoising Autoencoders",
                authors="Vincent et al.",
                year=2008,
            ),
            model=_DENSE,
            recipe="gencore_ae.denoising:denoising_autoencoder",
            roles=_ROLES,
            claims=("compiles",),
            tiny={**_TINY, "hidden": (16,)},
        ),
        SystemSpec(
            name="stacked-denoising-autoencoder",
            family="ae",
            summary="Denoising layers trained one after the other, then fine-tuned with few labels",
            paper=Paper(
                title="Stacked Denoising Autoencoders: Learning Useful Representations in a Deep Network with a Local "
                "Denoising Criterion",
                authors="Vincent, Larochelle, Lajoie, Bengio & Manzagol",
                year=2010,
            ),
            model="gencore_ae.classifier:AutoencoderClassifier",
            recipe="gencore_ae.stacked_denoising:stacked_denoising_autoencoder",
            roles=(*_ROLES, "critic"),
            tiny={"data_shape": (1, 8, 8), "batch_size": 8, "widths": (16, 8)},
        ),
        SystemSpec(
            name="contractive-autoencoder",
            family="ae",
            summary="Penalises the encoder's Jacobian; tied weights",
            paper=Paper(
                title="Contractive Auto-Encoders: Explicit Invariance During Feature Extraction",
                authors="Rifai et al.",
                year=2011,
            ),
            model="gencore_ae.contractive:ContractiveAutoencoder",
            recipe="gencore_ae.contractive:contractive_autoencoder",
            roles=_ROLES,
            claims=_EXACT,
            tiny={**_TINY, "code_dim": 16},
        ),
        SystemSpec(
            name="document-autoencoder",
            family="ae",
            summary="Word probabilities of documents to codes of two numbers",
            paper=Paper(
                title="Reducing the Dimensionality of Data with Neural Networks",
                authors="Hinton & Salakhutdinov",
                year=2006,
            ),
            model="gencore_ae.documents:DocumentAutoencoder",
            recipe="gencore_ae.documents:document_autoencoder",
            roles=_ROLES,
            claims=("compiles",),
            tiny={"hidden": (8,), "batch_size": 8},
        ),
        SystemSpec(
            name="autoencoder-classifier",
            family="ae",
            summary="A linear classifier on codes, with few labels: two-stage, fine-tuned or joint",
            paper=Paper(
                title="Semi-Supervised Learning of Compact Document Representations with Deep Networks",
                authors="Ranzato & Szummer",
                year=2008,
            ),
            model="gencore_ae.classifier:AutoencoderClassifier",
            recipe="gencore_ae.classifier:autoencoder_classifier",
            roles=(*_ROLES, "critic"),
            claims=_EXACT,
            tiny={**_TINY, "hidden": (16,)},
        ),
        SystemSpec(
            name="transfer-autoencoder",
            family="ae",
            summary="Pre-trained on some classes, fine-tuned on a few examples of the others",
            paper=Paper(
                title="How Transferable Are Features in Deep Neural Networks?",
                authors="Yosinski et al.",
                year=2014,
                arxiv="1411.1792",
            ),
            model=_DENSE,
            recipe="gencore_ae.transfer:transfer_autoencoder",
            roles=_ROLES,
            claims=("compiles",),
            tiny={**_TINY, "hidden": (16,)},
        ),
        SystemSpec(
            name="deep-embedded-clustering",
            family="ae",
            summary="Codes and cluster centres that follow their own surest assignments (DEC)",
            paper=Paper(
                title="Unsupervised Deep Embedding for Clustering Analysis",
                authors="Xie, Girshick & Farhadi",
                year=2016,
                arxiv="1511.06335",
            ),
            model="gencore_ae.deep_clustering:ClusteringAutoencoder",
            recipe="gencore_ae.deep_clustering:deep_embedded_clustering",
            roles=(*_ROLES, "critic"),
            claims=_EXACT,
            tiny={**_TINY, "hidden": (16,), "num_clusters": 3, "refresh": 2},
        ),
    ),
)
