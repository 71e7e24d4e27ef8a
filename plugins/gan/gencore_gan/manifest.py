"""What the family `gan` offers. Imports no torch: heavy modules are named, not imported."""

from __future__ import annotations

from gencore.spec import Family, Paper, SystemSpec

_ROLES = ("generator", "critic", "sampler")
_TINY = {"data_shape": (1, 8, 8), "latent_dim": 8, "width": 8, "batch_size": 8}

family = Family(
    name="gan",
    summary="Generative adversarial networks: a generator against a critic",
    extra="gan",
    systems=(
        SystemSpec(
            name="gan",
            family="gan",
            summary="The two-player game on fully connected networks; minimax or non-saturating",
            paper=Paper(title="Generative Adversarial Nets", authors="Goodfellow et al.", year=2014, arxiv="1406.2661"),
            model="gencore_gan.networks:DenseGAN",
            recipe="gencore_gan.gan:gan",
            roles=_ROLES,
            claims=("compiles", "twice-differentiable"),
            tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "hidden": (32,), "batch_size": 8},
        ),
        SystemSpec(
            name="dcgan",
            family="gan",
            summary="All-convolutional networks with batch normalisation",
            paper=Paper(
                title="Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
                authors="Radford, Metz & Chintala",
                year=2016,
                arxiv="1511.06434",
            ),
            model="gencore_gan.networks:ConvGAN",
            recipe="gencore_gan.dcgan:dcgan",
            roles=_ROLES,
            claims=("compiles",),
            tiny=_TINY,
        ),
        SystemSpec(
            name="wgan",
            family="gan",
            summary="Wasserstein distance, critic's weights clipped",
            paper=Paper(title="Wasserstein GAN", authors="Arjovsky, Chintala & Bottou", year=2017, arxiv="1701.07875"),
            model="gencore_gan.networks:ConvGAN",
            recipe="gencore_gan.wgan:wgan",
            roles=_ROLES,
            claims=("compiles",),
            tiny=_TINY,
        ),
        SystemSpec(
            name="wgan-gp",
            family="gan",
            summary="Wasserstein distance, critic held 1-Lipschitz by a gradient penalty",
            paper=Paper(
                title="Improved Training of Wasserstein GANs",
                authors="Gulrajani et al.",
                year=2017,
                arxiv="1704.00028",
            ),
            model="gencore_gan.networks:ConvGAN",
            recipe="gencore_gan.wgan_gp:wgan_gp",
            roles=_ROLES,
            claims=("compiles", "twice-differentiable"),
            tiny=_TINY,
        ),
        SystemSpec(
            name="lsgan",
            family="gan",
            summary="Least-squares losses instead of the sigmoid's",
            paper=Paper(
                title="Least Squares Generative Adversarial Networks",
                authors="Mao et al.",
                year=2017,
                arxiv="1611.04076",
            ),
            model="gencore_gan.networks:ConvGAN",
            recipe="gencore_gan.lsgan:lsgan",
            roles=_ROLES,
            claims=("compiles",),
            tiny=_TINY,
        ),
        SystemSpec(
            name="improved-gan",
            family="gan",
            summary="A critic that sees its whole batch; one-sided smoothing, feature matching",
            paper=Paper(
                title="Improved Techniques for Training GANs",
                authors="Salimans et al.",
                year=2016,
                arxiv="1606.03498",
            ),
            model="gencore_gan.networks:ConvGAN",
            recipe="gencore_gan.improved_gan:improved_gan",
            roles=_ROLES,
            claims=("compiles", "twice-differentiable"),
            tiny={"data_shape": (1, 8, 8), "width": 8, "batch_size": 8},
        ),
    ),
)
