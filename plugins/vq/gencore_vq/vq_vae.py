"""VQ-VAE (van den Oord, Vinyals & Kavukcuoglu 2017, "Neural Discrete Representation Learning", arXiv:1711.00937).

    k(x) = argmin_j ||z_e(x) - e_j||,  z_q(x) = e_k                                                  (equations 1, 2)
    loss = ||x - D(z_q)||^2 + ||sg[z_e] - e||^2 + beta ||z_e - sg[e]||^2                              (equation 3)
with means over all numbers, beta = 0.25, the decoder's gradient copied to the encoder. Under update="ema" the second
term is replaced by moving averages of the latents (appendix A.1), summed over processes, and codes that nobody uses
begin anew at a latent of the batch. Then an autoregressive prior learns the codes (section 3.3), and sampling is
prior, then decoder.

Deviations: the prior is a causal transformer (gencore_vq.prior); small networks, down-sampling by 4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Adam, AdamW, Loss, Model, ModelConfig, Objective, Phase, Recipe, Sampler, Stage
from gencore.config import check
from gencore.distributed import from_first_process, sum_over_processes
from gencore.errors import GencoreError
from gencore_vq.codebook import Codebook, Quantized, StraightThrough, perplexity
from gencore_vq.prior import AncestralSampler, CodePrior, CodePriorObjective


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VQVAEConfig(ModelConfig):
    """Images whose sides are multiples of 4; a code for each 4 x 4 pixels."""

    data_shape: tuple[int, int, int] = (1, 32, 32)
    num_codes: int = 64
    code_dim: int = 16
    width: int = 32
    residual_blocks: int = 2
    update: Literal["ema", "gradient"] = "ema"
    prior_width: int = 80
    prior_layers: int = 4
    num_classes: int | None = None

    def __post_init__(self) -> None:
        sides = self.data_shape[1:]
        check(
            min(self.data_shape) > 0 and all(side % 4 == 0 for side in sides),
            "data_shape",
            self.data_shape,
            "(channels, height, width) with sides that are multiples of 4: resize the images (--image-size 32)",
        )
        for name in ("num_codes", "code_dim", "width", "prior_width", "prior_layers"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")
        check(self.residual_blocks >= 0, "residual_blocks", self.residual_blocks, "0 or more")
        check(self.num_classes is None or self.num_classes > 0, "num_classes", self.num_classes, "null or at least 1")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of codes."""
        return self.data_shape[1] // 4, self.data_shape[2] // 4


class ResidualBlock(nn.Module):
    """x + conv1x1(relu(conv3x3(relu(x)))), as in section 4.1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        return x + self.layers(x)


class VQVAE(Model):
    """Encoder, codebook, decoder, and the prior over codes."""

    config_class = VQVAEConfig
    regions = ("encoder", "decoder")

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__(config)
        channels, width = config.data_shape[0], config.width
        blocks = [ResidualBlock(width) for _ in range(2 * config.residual_blocks)]
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 4, 2, 1),
            *blocks[: config.residual_blocks],
            nn.Conv2d(width, config.code_dim, 1),
        )
        self.codebook = Codebook(config.num_codes, config.code_dim, config.update)
        self.decoder = nn.Sequential(
            nn.Conv2d(config.code_dim, width, 3, 1, 1),
            *blocks[config.residual_blocks :],
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(width, channels, 4, 2, 1),
        )
        self.prior = CodePrior(
            num_codes=config.num_codes,
            length=config.grid[0] * config.grid[1],
            width=config.prior_width,
            layers=config.prior_layers,
            num_classes=config.num_classes,
        )

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Images (N, *data_shape) -> codes (N, H / 4, W / 4) int64."""
        return self.codebook(self.encoder(x)).codes

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Codes (N, H / 4, W / 4) -> images (N, *data_shape), about [-1, 1]."""
        return self.decoder(self.codebook.lookup(z))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encode, then generate."""
        return self.generate(self.encode(x))

    def default_sampler(self) -> Sampler:
        """The prior, then the decoder."""
        return AncestralSampler()

    def check_label(self, label: Tensor | None, count: int) -> Tensor | None:
        """The labels (count,) that the prior takes. Raises GencoreError for missing, unwanted or unknown ones."""
        classes = self.config.num_classes
        if classes is None:
            return None
        if label is None:
            raise GencoreError(
                f"This model's prior takes a label of 0 ... {classes - 1} with every image; there is none."
            )
        if label.shape != (count,) or label.is_floating_point() or label.min() < 0 or label.max() >= classes:
            raise GencoreError(f"Labels must be ({count},) integers from 0 to {classes - 1}; received {label}.")
        return label


class VectorQuantization(Objective):
    """Phase "autoencoder": equation 3. `restart_below`: average count under which a code begins anew; 0 never."""

    def __init__(self, *, commitment: float, decay: float, restart_below: float) -> None:
        super().__init__()
        self.commitment, self.decay, self.restart_below = commitment, decay, restart_below
        self._seen: list[tuple[Tensor, Quantized]] = []

    def loss(self, model: Any, phase: str, batch: Mapping[str, Tensor]) -> Loss:
        """Reconstruction, commitment, and the codebook's own term where it learns by gradient."""
        x = batch["x"]
        latents = model.encoder(x)
        quantized = model.codebook(latents)
        rebuilt = model.decoder(StraightThrough.apply(latents, quantized.vectors.detach()))
        reconstruction = F.mse_loss(rebuilt, x)
        total = reconstruction + self.commitment * F.mse_loss(latents, quantized.vectors.detach())
        if model.config.update == "gradient":
            total = total + F.mse_loss(quantized.vectors, latents.detach())
        else:
            self._seen.append((latents.detach(), quantized))
        return Loss(total, {"reconstruction": reconstruction, "perplexity": perplexity(quantized.counts)})

    def after_step(self, model: Any, phase: str) -> None:
        """Move the averages by what all processes saw in this step; restart dead codes."""
        if model.config.update == "gradient":
            return
        counts = torch.stack([quantized.counts for _, quantized in self._seen]).sum(0)
        sums = torch.stack([quantized.sums for _, quantized in self._seen]).sum(0)
        latents = rearrange(self._seen[0][0], "n d h w -> (n h w) d")
        self._seen.clear()
        model.codebook.follow(sum_over_processes(counts), sum_over_processes(sums), decay=self.decay)
        if self.restart_below:
            chosen = latents[torch.randint(len(latents), (len(counts),), device=latents.device)]
            model.codebook.restart(from_first_process(chosen), below=self.restart_below)


def vq_vae(
    *,
    data_shape: tuple[int, int, int] = (1, 8, 8),
    num_classes: int | None = None,
    steps: int = 2000,
    prior_steps: int | None = None,
    batch_size: int = 64,
    num_codes: int = 64,
    code_dim: int = 16,
    width: int = 32,
    update: Literal["ema", "gradient"] = "ema",
    commitment: float = 0.25,
    decay: float = 0.99,
    restart_below: float = 0.5,
    prior_width: int = 80,
    prior_layers: int = 4,
    learning_rate: float = 1e-3,
) -> Recipe:
    """Two stages: `steps` of the autoencoder, then `prior_steps` (as many if None) of the prior over its codes."""
    parts = ("encoder", "decoder", "codebook") if update == "gradient" else ("encoder", "decoder")
    return Recipe(
        name="vq-vae",
        model=VQVAE,
        config=VQVAEConfig(
            data_shape=data_shape,
            num_codes=num_codes,
            code_dim=code_dim,
            width=width,
            update=update,
            prior_width=prior_width,
            prior_layers=prior_layers,
            num_classes=num_classes,
        ),
        stages=(
            Stage(
                name="autoencoder",
                objective=VectorQuantization(commitment=commitment, decay=decay, restart_below=restart_below),
                phases=(Phase(name="autoencoder", parts=parts, optimizer=Adam(learning_rate=learning_rate)),),
                steps=steps,
            ),
            Stage(
                name="prior",
                objective=CodePriorObjective(),
                phases=(Phase(name="prior", parts=("prior",), optimizer=AdamW(learning_rate=learning_rate)),),
                steps=steps if prior_steps is None else prior_steps,
                frozen=("encoder", "decoder", "codebook"),
            ),
        ),
        batch_size=batch_size,
    )
