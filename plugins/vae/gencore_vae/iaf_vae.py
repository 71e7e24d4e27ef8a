"""IAF (Kingma et al. 2016, "Improving Variational Inference with Inverse Autoregressive Flow", arXiv:1606.04934).

    z_0 = mean(x) + std(x) eps                                                       (Algorithm 1)
    [m_t, s_t] = MADE_t(z_{t-1}, h(x)),  sigma_t = sigmoid(s_t)
    z_t = sigma_t z_{t-1} + (1 - sigma_t) m_t                                        (equations 13, 14)
    log q(z_T | x) = -sum_i [eps_i^2 / 2 + log(2 pi) / 2 + log std_i + sum_t log sigma_{t,i}]     (equation 11)
m_{t,i} and s_{t,i} see only z_{t-1} before place i, so the Jacobian is triangular; the order is reversed between steps.
s_t starts near 2, so a step starts near the identity (section 4: "forget gate bias"). MADE: Germain et al. 2015,
arXiv:1502.03509.

Deviations: no ResNet VAE, one layer of latents; Bernoulli or Gaussian decoder as the config says.
"""

from __future__ import annotations

import dataclasses
import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Paper, Recipe, SystemSpec
from gencore.config import check
from gencore.nn.distributions import DiagonalGaussian, Drawable
from gencore.noise import NoiseSource
from gencore_vae.parts.binary import Binarization
from gencore_vae.parts.latent_variable import LatentVariableModel, Terms
from gencore_vae.parts.networks import VAEConfig, make_encoder
from gencore_vae.vae import VAE, VariationalBound, one_player

SYSTEM = SystemSpec(
    name="iaf-vae",
    summary="The posterior is an inverse autoregressive flow",
    paper=Paper(
        title="Improving Variational Inference with Inverse Autoregressive Flow",
        authors="Kingma et al.",
        year=2016,
        arxiv="1606.04934",
    ),
    model="IAFVAE",
    recipe="iaf_vae",
    roles=("encoder", "generator", "sampler"),
    traits=("reconstruct", "bound"),
    claims=("compiles",),
    tiny={
        "data_shape": (1, 8, 8),
        "latent_dim": 3,
        "hidden": (16,),
        "batch_size": 8,
        "flow_hidden": (8,),
        "context_dim": 2,
    },
)

GATE_BIAS = 2.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IAFVAEConfig(VAEConfig):
    """`flow_steps` steps, each a MADE with hidden layers `flow_hidden` (() for linear) that also sees `context_dim`
    numbers of the encoder."""

    flow_steps: int = 2
    flow_hidden: tuple[int, ...] = (64,)
    context_dim: int = 16

    def __post_init__(self) -> None:
        VAEConfig.__post_init__(self)
        check(self.flow_steps >= 1, "flow_steps", self.flow_steps, "at least 1")
        check(min(self.flow_hidden, default=1) > 0, "flow_hidden", self.flow_hidden, "positive widths")
        check(self.context_dim >= 0, "context_dim", self.context_dim, "0 or more")


class MaskedLinear(nn.Linear):
    """A linear layer whose output j sees input i only where mask[j, i] is 1."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return F.linear(x, self.weight * self.mask, self.bias)


class MADE(nn.Module):
    """z (..., D), context (N, C) -> m and s, both (..., D): place i sees z before i, and the context.

    A unit of degree d sees units of degree d and less. Input i, from 0, has degree i + 1 and output i has i; hidden
    units cycle through 0 ... D - 1, those of degree 0 carrying the context to the first place.
    """

    def __init__(self, dim: int, hidden: tuple[int, ...], context_dim: int) -> None:
        super().__init__()
        inputs = torch.arange(1, dim + 1)
        hidden_degrees = [torch.arange(width) % dim for width in hidden]
        outputs = inputs.repeat(2) - 1
        degrees = [inputs, *hidden_degrees, outputs]
        masks = [(after[:, None] >= before[None]).float() for before, after in itertools.pairwise(degrees)]
        layers = [MaskedLinear(mask) for mask in masks]
        self.layers = nn.ModuleList(layers)
        self.context = nn.Linear(context_dim, len(degrees[1])) if context_dim else None
        with torch.no_grad():
            layers[-1].weight.mul_(0.1)
            layers[-1].bias[dim:].fill_(GATE_BIAS)

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """The shift m and the gate's logit s."""
        x = self.layers[0](z)
        if self.context is not None:
            x = x + self.context(context)
        for layer in list(self.layers)[1:]:
            x = layer(F.elu(x))
        shift, gate = x.chunk(2, -1)
        return shift, gate


class InverseAutoregressiveFlow(nn.Module):
    """The steps, one after the other, with the order of the places reversed between them."""

    def __init__(self, config: IAFVAEConfig) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            MADE(config.latent_dim, config.flow_hidden, config.context_dim) for _ in range(config.flow_steps)
        )

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """z_0 (..., D), context (N, C) -> z_T (..., D) and log |det dz_T / dz_0| (...)."""
        log_det = torch.zeros_like(z[..., 0])
        for number, step in enumerate(self.steps):
            if number:
                z = z.flip(-1)
            shift, gate = step(z, context)
            sigma = gate.sigmoid()
            z = sigma * z + (1 - sigma) * shift
            log_det = log_det + F.logsigmoid(gate).sum(-1)
        return z, log_det


class FlowPosterior(Drawable):
    """q(z_T | x). `log_prob` of a z that it did not draw would need the flow's inverse, which is sequential: it is not
    offered. `mean` is the flow's value at the base's mean, the true mean only of a linear flow."""

    has_rsample = True

    def __init__(self, base: DiagonalGaussian, flow: nn.Module, context: Tensor) -> None:
        super().__init__(base.mean)
        self.base, self.flow, self.context = base, flow, context

    @property
    def mean(self) -> Tensor:
        """(N, D)."""
        return self.flow(self.base.mean, self.context)[0]

    def draw(self, noise: NoiseSource, k: int = 1) -> Tensor:
        """(k, N, D)."""
        return self.draw_with_log_prob(noise, k)[0]

    def draw_with_log_prob(self, noise: NoiseSource, k: int = 1) -> tuple[Tensor, Tensor]:
        """Equation 11 for the samples drawn."""
        z, log_q = self.base.draw_with_log_prob(noise, k)
        z, log_det = self.flow(z, self.context)
        return z, log_q - log_det


class IAFVAE(VAE):
    """A VAE whose posterior is an inverse autoregressive flow."""

    config_class = IAFVAEConfig
    config: IAFVAEConfig
    regions = ("encoder", "flow", "decoder")

    def __init__(self, config: IAFVAEConfig) -> None:
        super().__init__(config)
        self.encoder = make_encoder(config, 2 * config.latent_dim + config.context_dim)
        self.flow = InverseAutoregressiveFlow(config)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> FlowPosterior:
        """x (N, *data_shape) -> q(z_T | x), event (latent_dim,)."""
        size = self.config.latent_dim
        mean, log_variance, context = self.encoder(x).split((size, size, self.config.context_dim), 1)
        return FlowPosterior(DiagonalGaussian(mean, log_variance), self.flow, context)

    def terms(self, x: Tensor, noise: NoiseSource) -> Terms:
        """The KL has no closed form: it is estimated by log q - log p of the sample."""
        return LatentVariableModel.terms(self, x, noise)


def iaf_vae(
    *,
    config: IAFVAEConfig = IAFVAEConfig(data_shape=(1, 8, 8), likelihood="bernoulli"),
    steps: int = 4000,
    batch_size: int = 64,
    free_bits: float = 0.0,
    learning_rate: float = 1e-3,
) -> Recipe:
    """`free_bits`: nats of KL an example that cost nothing, a guard against unused latents."""
    binarization: Binarization = "dynamic" if config.likelihood == "bernoulli" else "none"
    objective = VariationalBound(free_bits=free_bits, binarization=binarization)
    return Recipe(
        name="iaf-vae",
        model=IAFVAE,
        config=config,
        stages=one_player(objective, steps=steps, learning_rate=learning_rate, parts=("encoder", "flow", "decoder")),
        batch_size=batch_size,
    )
