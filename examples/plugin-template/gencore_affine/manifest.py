"""What this plugin offers. It imports no torch: `gencore list` reads it."""

from gencore.spec import Family, Paper, SystemSpec

family = Family(
    name="affine",
    summary="Generation by an affine map of noise",
    systems=(
        SystemSpec(
            name="affine-gaussian",
            family="affine",
            summary="Probabilistic principal components, learned by maximum likelihood",
            paper=Paper(title="Probabilistic Principal Component Analysis", authors="Tipping & Bishop", year=1999),
            model="gencore_affine.affine_gaussian:AffineGaussian",
            recipe="gencore_affine.affine_gaussian:affine_gaussian",
            roles=("encoder", "generator", "sampler"),
            claims=("log-prob", "exact-data-parallel"),
            tiny={"data_shape": (1, 8, 8), "latent_dim": 3, "batch_size": 8},
        ),
    ),
)
