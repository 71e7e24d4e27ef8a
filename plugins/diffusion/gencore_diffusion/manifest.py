"""What the family `diffusion` offers. Imports no torch: heavy modules are named, not imported."""

from __future__ import annotations

from gencore.spec import Family, Paper, SystemSpec

_CLAIMS = ("compiles", "conditional")
_TINY = {"data_shape": (1, 8, 8), "width": 8, "batch_size": 8}

family = Family(
    name="diffusion",
    summary="Denoising models and their samplers",
    extra="diffusion",
    systems=(
        SystemSpec(
            name="ddpm",
            family="diffusion",
            summary="Discrete noise levels; predicts eps, x0 or v; classifier-free guidance",
            paper=Paper(
                title="Denoising Diffusion Probabilistic Models",
                authors="Ho, Jain & Abbeel",
                year=2020,
                arxiv="2006.11239",
            ),
            model="gencore_diffusion.ddpm:DDPM",
            recipe="gencore_diffusion.ddpm:ddpm",
            roles=("sampler",),
            claims=_CLAIMS,
            tiny={**_TINY, "num_timesteps": 20},
        ),
        SystemSpec(
            name="ncsn",
            family="diffusion",
            summary="A score network at geometric noise levels, annealed Langevin dynamics",
            paper=Paper(
                title="Generative Modeling by Estimating Gradients of the Data Distribution",
                authors="Song & Ermon",
                year=2019,
                arxiv="1907.05600",
            ),
            model="gencore_diffusion.ncsn:NCSN",
            recipe="gencore_diffusion.ncsn:ncsn",
            roles=("sampler",),
            claims=_CLAIMS,
            tiny={**_TINY, "num_levels": 4},
        ),
        SystemSpec(
            name="edm",
            family="diffusion",
            summary="A preconditioned denoiser at log-normal noise levels, Heun's sampler",
            paper=Paper(
                title="Elucidating the Design Space of Diffusion-Based Generative Models",
                authors="Karras, Aittala, Aila & Laine",
                year=2022,
                arxiv="2206.00364",
            ),
            model="gencore_diffusion.edm:EDM",
            recipe="gencore_diffusion.edm:edm",
            roles=("sampler",),
            claims=_CLAIMS,
            tiny={**_TINY},
        ),
        SystemSpec(
            name="noisy-classifier",
            family="diffusion",
            summary="p(y | x; sigma) of noisy data, to steer an unconditional model (classifier guidance)",
            paper=Paper(
                title="Diffusion Models Beat GANs on Image Synthesis",
                authors="Dhariwal & Nichol",
                year=2021,
                arxiv="2105.05233",
            ),
            model="gencore_diffusion.noisy_classifier:NoisyClassifier",
            recipe="gencore_diffusion.noisy_classifier:noisy_classifier",
            roles=("critic",),
            claims=("compiles",),
            tiny={**_TINY},
        ),
    ),
)
