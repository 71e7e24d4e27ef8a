"""Distributions whose samples are a function of a noise source: torch's global streams in training, `Noise` elsewhere.

All numbers behind the batch axes are one event: `log_prob` sums over them and is in nats per example.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from gencore.nn.likelihood import gaussian_log_prob, kl_to_standard_normal
from gencore.noise import GlobalNoise, NoiseSource


class Drawable(Distribution):
    """Base: batch shape (N,), the rest the event. `draw` is differentiable where `has_rsample`."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (torch declares it so)

    def __init__(self, parameter: Tensor) -> None:
        super().__init__(parameter.shape[:1], parameter.shape[1:], validate_args=False)

    def draw(self, noise: NoiseSource, k: int = 1) -> Tensor:
        """k samples for each of the N examples, (k, N, *event); `noise` has count N."""
        raise NotImplementedError

    def draw_with_log_prob(self, noise: NoiseSource, k: int = 1) -> tuple[Tensor, Tensor]:
        """Samples (k, N, *event) and their log_prob (k, N)."""
        z = self.draw(noise, k)
        return z, self.log_prob(z)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """torch's interface: (*sample_shape, N, *event), from the global streams, without gradient."""
        with torch.no_grad():
            return self._from_global_streams(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """As `sample`, with the pathwise gradient."""
        if not self.has_rsample:
            raise NotImplementedError(f"{type(self).__name__} has no pathwise gradient.")
        return self._from_global_streams(sample_shape)

    def _from_global_streams(self, sample_shape: Any) -> Tensor:
        shape = torch.Size(sample_shape)
        source = GlobalNoise(self.batch_shape[0], self.mean.device)
        return self.draw(source, shape.numel()).view(*shape, *self.batch_shape, *self.event_shape)


def _events(values: Tensor, event_dims: int) -> Tensor:
    """The sum over the last `event_dims` axes."""
    return values.flatten(-event_dims).sum(-1)


class DiagonalGaussian(Drawable):
    """N(mean, diag exp(log_variance)): mean (N, *event), log_variance the same or one number without axes."""

    has_rsample = True

    def __init__(self, mean: Tensor, log_variance: Tensor) -> None:
        super().__init__(mean)
        self._mean, self.log_variance = mean, log_variance

    @property
    def mean(self) -> Tensor:
        """(N, *event)."""
        return self._mean

    @property
    def variance(self) -> Tensor:
        """(N, *event)."""
        return self.log_variance.exp().expand_as(self._mean)

    def draw(self, noise: NoiseSource, k: int = 1) -> Tensor:
        """mean + std * normal."""
        normal = noise.normal(k, *self.event_shape).transpose(0, 1)  # a tenth of einops' time, in every training step
        return self._mean + torch.exp(0.5 * self.log_variance) * normal

    def log_prob(self, value: Tensor) -> Tensor:
        """value (..., N, *event) -> (..., N) nats."""
        return gaussian_log_prob(value, self._mean, self.log_variance, len(self.event_shape))

    def kl_to_standard_normal(self) -> Tensor:
        """KL(self || N(0, I)), (N,) nats, in closed form."""
        return _events(kl_to_standard_normal(self._mean, self.log_variance), len(self.event_shape))


class SignedBernoulli(Drawable):
    """Independent values of -1 or 1, P(1) = sigmoid(logits); logits (N, *event). `mean` is in [-1, 1]."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits)
        self.logits = logits

    @property
    def mean(self) -> Tensor:
        """P(1) - P(-1) = tanh(logits / 2), (N, *event)."""
        return torch.tanh(0.5 * self.logits)

    def draw(self, noise: NoiseSource, k: int = 1) -> Tensor:
        """1 where a uniform number is below P(1)."""
        uniform = rearrange(noise.uniform(k, *self.event_shape), "n k ... -> k n ...")
        return (uniform < self.logits.sigmoid()).to(self.logits.dtype) * 2 - 1

    def log_prob(self, value: Tensor) -> Tensor:
        """value (..., N, *event), -1 or 1 -> (..., N) nats.

        log sigmoid(value * logits). Numbers in between give the linear interpolation of the two, a cross-entropy and
        not a likelihood.
        """
        share = 0.5 * (value + 1)
        terms = share * self.logits - F.softplus(self.logits)
        return _events(terms, len(self.event_shape))


class OneHot(Drawable):
    """Independent one-hot vectors over the last axis; logits (N, *places, K)."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits)
        self.log_probabilities = logits.log_softmax(-1)

    @property
    def mean(self) -> Tensor:
        """The probabilities, (N, *places, K)."""
        return self.log_probabilities.exp()

    def gumbel(self, noise: NoiseSource, k: int = 1) -> Tensor:
        """log-probabilities + standard Gumbel noise, (k, N, *places, K): its argmax is a sample."""
        uniform = noise.uniform(k, *self.event_shape)
        uniform = uniform.to(torch.promote_types(uniform.dtype, torch.float32))  # narrow ones reach 0 and 1
        uniform = uniform.clamp(torch.finfo(torch.float32).tiny, 1 - 2**-24)
        return self.log_probabilities + rearrange(-(-uniform.log()).log(), "n k ... -> k n ...")

    def draw(self, noise: NoiseSource, k: int = 1) -> Tensor:
        """The Gumbel-max trick, one-hot, of at least float32."""
        perturbed = self.gumbel(noise, k)
        return F.one_hot(perturbed.argmax(-1), perturbed.shape[-1]).to(perturbed.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """One-hot value (..., N, *places, K) -> (..., N) nats."""
        return _events(value * self.log_probabilities, len(self.event_shape))

    def kl_to_uniform(self) -> Tensor:
        """KL(self || uniform), (N,) nats: log K - entropy at each place."""
        places = self.log_probabilities.shape[1:-1].numel()
        entropy = _events(torch.special.entr(self.mean), len(self.event_shape))
        return places * math.log(self.event_shape[-1]) - entropy
