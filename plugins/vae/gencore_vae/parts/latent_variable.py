"""What all models p(x, z) = p(z) p(x | z) of this family share: weights, bound, sampling.

With a proposal q(z | x), and z_1 ... z_k drawn from it,
    log w_i = log p(x | z_i) + log p(z_i) - log q(z_i | x)
    L_k = E log (1/k) sum_i w_i        (Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, equation 8)
L_1 is the evidence lower bound (Kingma & Welling 2014, arXiv:1312.6114, equation 2), L_k <= L_{k+1} <= log p(x), and
E mean_i w_i = p(x) exactly.

Legend: N examples, k samples of each; latent samples are (k, N, *latent_shape).
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from einops import rearrange, repeat
from torch import Tensor

from gencore import Model, Noise, Sampler
from gencore.config import check
from gencore.data import check_batch
from gencore.nn.distributions import Drawable
from gencore.nn.likelihood import Scale, bits_per_dim, dequantised, gaussian_log_prob, log_mean_exp
from gencore.noise import NoiseSource

EVALUATION_ROWS = 4096
"""Decoded at once in `bound`: a bound of k = 5000 samples must not need 5000 times the memory."""


class Terms(NamedTuple):
    """The two terms of the evidence lower bound, (N,) nats each: L_1 = log_likelihood - kl."""

    log_likelihood: Tensor
    kl: Tensor


class LatentVariableModel(Model, abc.ABC):
    """Base. The prior is a standard normal of `latent_shape` unless a subclass says otherwise."""

    @abc.abstractmethod
    def proposal(self, x: Tensor) -> Drawable:
        """q(z | x), from which the bound draws."""

    @abc.abstractmethod
    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Drawable:
        """z (N, *latent_shape) -> p(x | z), batch shape (N,), event `config.data_shape`."""

    @property
    @abc.abstractmethod
    def latent_shape(self) -> tuple[int, ...]:
        """The shape of one example's z."""

    @property
    @abc.abstractmethod
    def likelihood_scale(self) -> Scale:
        """What `bound` is the likelihood of; takes part in gencore.nn.likelihood.bits_per_dim."""

    def check_data(self, x: Tensor) -> None:
        """Raise GencoreError or NonFiniteError unless x is fit for a likelihood."""
        check_batch({"x": x}, self.config.data_shape)  # type: ignore[attr-defined]

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """One z for each stream of noise, (N, *latent_shape)."""
        return noise.normal(*self.latent_shape)

    def prior_log_prob(self, z: Tensor) -> Tensor:
        """z (..., *latent_shape) -> (...) nats."""
        zero = torch.zeros((), device=z.device)
        return gaussian_log_prob(z, zero, zero, len(self.latent_shape))

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z) of x (N, ...) under each of z (k, N, *latent_shape), (k, N) nats."""
        k = len(z)
        distribution = self.generate(rearrange(z, "k n ... -> (k n) ..."))
        repeated = x if k == 1 else repeat(x, "n ... -> (k n) ...", k=k)
        return rearrange(distribution.log_prob(repeated), "(k n) -> k n", k=k)

    def log_weights(self, x: Tensor, proposal: Drawable, noise: NoiseSource, k: int) -> Tensor:
        """log w of k samples of each example, (k, N) nats, differentiable."""
        z, log_q = proposal.draw_with_log_prob(noise, k)
        return self.log_likelihood(x, z) + self.prior_log_prob(z) - log_q

    def terms(self, x: Tensor, noise: NoiseSource) -> Terms:
        """The bound's two terms from one sample of each example, differentiable."""
        z, log_q = self.proposal(x).draw_with_log_prob(noise)
        return Terms(self.log_likelihood(x, z)[0], (log_q - self.prior_log_prob(z))[0])

    @torch.no_grad()
    def bound(self, x: Tensor, k: int = 1, *, seed: int = 0) -> Tensor:
        """An unbiased estimate of L_k <= log p(x) for x (N, *data_shape): (N,) nats; k = 5000 is the usual NLL.

        The noise of example i depends on (seed, i) alone; torch's global random state stays as it is.
        Raises GencoreError for data that the likelihood is not of, and for k < 1.
        """
        check(k >= 1, "k", k, "at least 1")
        self.check_data(x)
        return self._estimate(x, k, Noise(seed, 0, len(x), device=x.device))

    @torch.no_grad()
    def code_length(self, x: Tensor, k: int = 1, *, seed: int = 0) -> Tensor:
        """Bits per dimension that the model needs for x (N, *data_shape) as stored, at most: (N,), from L_k.

        Where p(x | z) is a density, x is dequantised uniformly within the bins of `likelihood_scale` first; the density
        at x itself would be no code length. Raises GencoreError as `bound`, and for x on finer levels than the bins.
        """
        check(k >= 1, "k", k, "at least 1")
        self.check_data(x)
        noise = Noise(seed, 0, len(x), device=x.device)
        nats = self._estimate(dequantised(x, self.likelihood_scale, noise), k, noise)
        return bits_per_dim(nats, x[0].numel(), self.likelihood_scale)

    def _estimate(self, x: Tensor, k: int, noise: Noise) -> Tensor:
        """L_k of x as it is, (N,) nats."""
        proposal = self.proposal(x)
        rows = max(1, EVALUATION_ROWS // len(x))
        chunks = [self.log_weights(x, proposal, noise, min(rows, k - first)) for first in range(0, k, rows)]
        return log_mean_exp(torch.cat(chunks))

    def default_sampler(self) -> Sampler:
        """z from the prior, then the mean of p(x | z)."""
        return PriorThenDecoder()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PriorThenDecoder:
    """Ancestral sampling, z ~ p(z), then x. "mean" takes the mean of p(x | z), which is what pictures usually show;
    "sample" draws from it, and is a sample of the model."""

    output: Literal["mean", "sample"] = "mean"

    def sample(
        self,
        model: Any,
        noise: Noise,
        *,
        condition: Tensor | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """One example for each stream of noise."""
        distribution = model.generate(model.draw_prior(noise).to(noise.dtype), condition=condition)
        x = distribution.mean if self.output == "mean" else distribution.draw(noise)[0]
        if callback:
            callback(1, 1)
        return x
