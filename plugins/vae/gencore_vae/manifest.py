"""What the family `vae` offers. Imports no torch: heavy modules are named, not imported."""

from __future__ import annotations

from gencore.spec import Family, Paper, SystemSpec

_AUTOENCODER = ("encoder", "generator", "sampler")
_TINY = {"data_shape": (1, 8, 8), "latent_dim": 3, "hidden": (16,), "batch_size": 8}
_TINY_CONV = {"data_shape": (1, 8, 8), "latent_dim": 3, "width": 4, "batch_size": 8}

family = Family(
    name="vae",
    summary="Variational autoencoders and their bounds",
    extra="vae",
    systems=(
        SystemSpec(
            name="vae",
            family="vae",
            summary="Gaussian decoder of fixed or learned diagonal covariance, reparametrised Gaussian posterior",
            paper=Paper(
                title="Auto-Encoding Variational Bayes", authors="Kingma & Welling", year=2014, arxiv="1312.6114"
            ),
            model="gencore_vae.vae:VAE",
            recipe="gencore_vae.vae:vae",
            roles=_AUTOENCODER,
            claims=("bound", "compiles"),
            tiny=_TINY,
        ),
        SystemSpec(
            name="bernoulli-vae",
            family="vae",
            summary="A VAE of binary images, binarised anew at every step or once",
            paper=Paper(
                title="Auto-Encoding Variational Bayes", authors="Kingma & Welling", year=2014, arxiv="1312.6114"
            ),
            model="gencore_vae.vae:VAE",
            recipe="gencore_vae.bernoulli_vae:bernoulli_vae",
            roles=_AUTOENCODER,
            claims=("bound", "compiles"),
            tiny=_TINY,
        ),
        SystemSpec(
            name="conv-vae",
            family="vae",
            summary="A VAE on strided convolutions; Gaussian or Bernoulli decoder",
            paper=Paper(
                title="Auto-Encoding Variational Bayes", authors="Kingma & Welling", year=2014, arxiv="1312.6114"
            ),
            model="gencore_vae.vae:VAE",
            recipe="gencore_vae.conv_vae:conv_vae",
            roles=_AUTOENCODER,
            claims=("bound", "compiles"),
            tiny=_TINY_CONV,
        ),
        SystemSpec(
            name="beta-vae",
            family="vae",
            summary="The KL weighted by beta, so that single latents follow single factors",
            paper=Paper(
                title="beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework",
                authors="Higgins et al.",
                year=2017,
            ),
            model="gencore_vae.vae:VAE",
            recipe="gencore_vae.beta_vae:beta_vae",
            roles=_AUTOENCODER,
            claims=("bound", "compiles"),
            tiny=_TINY,
        ),
        SystemSpec(
            name="iwae",
            family="vae",
            summary="Trained on the importance-weighted bound of k samples",
            paper=Paper(
                title="Importance Weighted Autoencoders",
                authors="Burda, Grosse & Salakhutdinov",
                year=2016,
                arxiv="1509.00519",
            ),
            model="gencore_vae.vae:VAE",
            recipe="gencore_vae.iwae:iwae",
            roles=_AUTOENCODER,
            claims=("bound", "compiles"),
            tiny=_TINY,
        ),
        SystemSpec(
            name="iaf-vae",
            family="vae",
            summary="The posterior is an inverse autoregressive flow",
            paper=Paper(
                title="Improving Variational Inference with Inverse Autoregressive Flow",
                authors="Kingma et al.",
                year=2016,
                arxiv="1606.04934",
            ),
            model="gencore_vae.iaf_vae:IAFVAE",
            recipe="gencore_vae.iaf_vae:iaf_vae",
            roles=_AUTOENCODER,
            claims=("bound", "compiles"),
            tiny={**_TINY, "flow_hidden": (8,), "context_dim": 2},
        ),
        SystemSpec(
            name="gumbel-softmax-vae",
            family="vae",
            summary="Categorical latents by Gumbel-softmax, straight-through or Concrete",
            paper=Paper(
                title="Categorical Reparameterization with Gumbel-Softmax",
                authors="Jang, Gu & Poole",
                year=2017,
                arxiv="1611.01144",
            ),
            model="gencore_vae.gumbel_vae:CategoricalVAE",
            recipe="gencore_vae.gumbel_vae:gumbel_vae",
            roles=_AUTOENCODER,
            claims=("bound", "compiles"),
            tiny={**_TINY, "num_categories": 4},
        ),
        SystemSpec(
            name="pixel-vae",
            family="vae",
            summary="A VAE whose decoder is autoregressive over the pixels",
            paper=Paper(
                title="PixelVAE: A Latent Variable Model for Natural Images",
                authors="Gulrajani et al.",
                year=2017,
                arxiv="1611.05013",
            ),
            model="gencore_vae.pixel_vae:PixelVAE",
            recipe="gencore_vae.pixel_vae:pixel_vae",
            roles=_AUTOENCODER,
            claims=("bound", "compiles"),
            tiny={**_TINY, "feature_maps": 2, "pixel_width": 4},
        ),
        SystemSpec(
            name="aae",
            family="vae",
            summary="A critic makes the distribution of the codes equal to the prior",
            paper=Paper(title="Adversarial Autoencoders", authors="Makhzani et al.", year=2015, arxiv="1511.05644"),
            model="gencore_vae.aae:AAE",
            recipe="gencore_vae.aae:aae",
            roles=_AUTOENCODER,
            claims=("compiles",),
            tiny={**_TINY, "critic_hidden": (8,)},
        ),
        SystemSpec(
            name="vae-gan",
            family="vae",
            summary="A critic's features replace the pixels in a VAE's likelihood",
            paper=Paper(
                title="Autoencoding beyond pixels using a learned similarity metric",
                authors="Larsen et al.",
                year=2016,
                arxiv="1512.09300",
            ),
            model="gencore_vae.vae_gan:VAEGAN",
            recipe="gencore_vae.vae_gan:vae_gan",
            roles=("encoder", "generator", "critic", "sampler"),
            claims=("compiles",),
            tiny=_TINY_CONV,
        ),
        SystemSpec(
            name="semi-supervised-vae",
            family="vae",
            summary="M2: a class and a normal latent, from a few labelled and many unlabelled images",
            paper=Paper(
                title="Semi-supervised Learning with Deep Generative Models",
                authors="Kingma, Rezende, Mohamed & Welling",
                year=2014,
                arxiv="1406.5298",
            ),
            model="gencore_vae.semi_supervised_vae:SemiSupervisedVAE",
            recipe="gencore_vae.semi_supervised_vae:semi_supervised_vae",
            roles=("encoder", "generator", "critic", "sampler"),
            claims=("bound", "compiles", "conditional"),
            tiny={**_TINY, "num_labels": 10},
        ),
        SystemSpec(
            name="specified-factors-vae",
            family="vae",
            summary="What the label says in one half of the code, the rest in the other; exchanged between images",
            paper=Paper(
                title="Disentangling factors of variation in deep representations using adversarial training",
                authors="Mathieu et al.",
                year=2016,
                arxiv="1611.03383",
            ),
            model="gencore_vae.specified_factors_vae:SpecifiedFactorsVAE",
            recipe="gencore_vae.specified_factors_vae:specified_factors_vae",
            roles=("encoder", "generator", "critic"),
            claims=("compiles",),
            tiny={**_TINY, "specified_dim": 3},
        ),
        SystemSpec(
            name="unit",
            family="vae",
            summary="Two VAEs that share the layers next to their code translate images between unpaired domains",
            paper=Paper(
                title="Unsupervised Image-to-Image Translation Networks",
                authors="Liu, Breuel & Kautz",
                year=2017,
                arxiv="1703.00848",
            ),
            model="gencore_vae.unit:UNIT",
            recipe="gencore_vae.unit:unit",
            roles=("encoder", "generator", "critic", "sampler"),
            claims=("compiles",),
            tiny={"data_shape": (1, 8, 8), "width": 4, "own_width": 2, "batch_size": 8},
        ),
        SystemSpec(
            name="naive-monte-carlo",
            family="vae",
            summary="A decoder trained without an encoder: the counter-example that needs the bound",
            paper=Paper(
                title="Auto-Encoding Variational Bayes", authors="Kingma & Welling", year=2014, arxiv="1312.6114"
            ),
            model="gencore_vae.naive_monte_carlo:PriorDecoder",
            recipe="gencore_vae.naive_monte_carlo:naive_monte_carlo",
            roles=("generator", "sampler"),
            claims=("bound", "compiles"),
            tiny=_TINY,
        ),
    ),
)
