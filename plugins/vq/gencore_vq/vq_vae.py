"""VQ-VAE (van den Oord, Vinyals & Kavukcuoglu 2017, "Neural Discrete Representation Learning", arXiv:1711.00937).

    k(x) = argmin_j ||z_e(x) - e_j||,  z_q(x) = e_k                                                  (equations 1, 2)
    loss = ||x - D(z_q)||^2 + ||sg[z_e] - e||^2 + beta ||z_e - sg[e]||^2                              (equation 3)
with means over all numbers, beta = 0.25, the decoder's gradient copied to the encoder. Under update="ema" the second
term is replaced by moving averages of the latents (appendix A.1), summed over processes, and codes that nobody uses
begin anew at a latent of the batch. Then an autoregressive prior learns the codes (section 3.3), and sampling is
prior, then decoder.

The same model with other codebooks: gencore_vq.grouped_vq_vae, residual_vq_vae, cosine_vq_vae.

Deviations: the prior is a causal transformer, prior="gated-pixelcnn" takes the paper's kind (gencore_vq.parts.prior);
small networks, down-sampling by 4.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Adam, AdamW, Loss, Model, ModelConfig, Objective, Paper, Phase, Recipe, Sampler, Stage, SystemSpec
from gencore.conditions import ClassLabel, Condition
from gencore.config import check
from gencore.distributed import from_first_process, sum_over_processes
from gencore.errors import GencoreError, NonFiniteError
from gencore_vq.parts.codebook import Codebook, StraightThrough, perplexity
from gencore_vq.parts.prior import AncestralSampler, CodePrior, CodePriorObjective, DensityPrior
from gencore_vq.parts.residual import ResidualCodebook

SYSTEM = SystemSpec(
    name="vq-vae",
    summary="Discrete latents by nearest code, EMA codebook with restart, autoregressive prior",
    paper=Paper(
        title="Neural Discrete Representation Learning",
        authors="van den Oord, Vinyals & Kavukcuoglu",
        year=2017,
        arxiv="1711.00937",
    ),
    model="VQVAE",
    recipe="vq_vae",
    roles=("encoder", "generator", "sampler"),
    traits=("reconstruct",),
    claims=("compiles", "exact-data-parallel", "conditional"),
    tiny={
        "data_shape": (1, 8, 8),
        "num_codes": 16,
        "code_dim": 4,
        "width": 8,
        "prior_width": 8,
        "prior_layers": 1,
        "batch_size": 8,
    },
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SingleBook:
    """One book. `unit_length`: latents and codes lie on the sphere."""

    unit_length: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GroupedBooks:
    """`groups` books that share the channels out."""

    groups: int = 4

    def __post_init__(self) -> None:
        check(self.groups > 0, "groups", self.groups, "at least 1")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ResidualBooks:
    """`books` books in a row, each on what the ones before left. `book_dropout`: trained for any number of them."""

    books: int = 4
    book_dropout: bool = True

    def __post_init__(self) -> None:
        check(self.books > 0, "books", self.books, "at least 1")


def _nested_books(old: dict[str, Any]) -> dict[str, Any]:
    """The fields of version 1 (quantizer, books, book_dropout, unit_length) as a config of the quantizer."""
    kind, books = old.pop("quantizer", "single"), old.pop("books", 1)
    dropout, unit_length = old.pop("book_dropout", False), old.pop("unit_length", False)
    nested: dict[str, dict[str, Any]] = {
        "single": {"unit_length": unit_length},
        "grouped": {"groups": books},
        "residual": {"books": books, "book_dropout": dropout},
    }
    return {**old, "quantizer": nested[kind]}


def _codes_as_greys(old: dict[str, Any]) -> dict[str, Any]:
    """The fields of version 2, whose densities of pictures took code k as grey level k."""
    return {**old, "prior_embedding": 0}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VQVAEConfig(ModelConfig):
    """Images whose sides are multiples of 4; a code, or one code a book, for each 4 x 4 pixels.

    `num_codes`: in each book. `code_dim`: channels of a code's vector. `update`: how the codebook learns. `prior`:
    "transformer", or a system that is a density of pictures, such as gated-pixelcnn; to such a one `prior_embedding`
    is the size of the vector, learned, that a code enters as, 0 for code k as grey level k.
    """

    version: ClassVar[int] = 3
    migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
        1: _nested_books,
        2: _codes_as_greys,
    }

    data_shape: tuple[int, int, int] = (1, 32, 32)
    num_codes: int = 64
    code_dim: int = 16
    width: int = 32
    residual_blocks: int = 2
    update: Literal["ema", "gradient"] = "ema"
    prior: str = "transformer"
    prior_width: int = 80
    prior_layers: int = 4
    prior_embedding: int = 16
    num_classes: int | None = None
    quantizer: SingleBook | GroupedBooks | ResidualBooks = SingleBook()

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
        for name in ("residual_blocks", "prior_embedding"):
            check(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        check(self.num_classes is None or self.num_classes > 0, "num_classes", self.num_classes, "null or at least 1")
        whole = not isinstance(self.quantizer, GroupedBooks) or self.code_dim % self.quantizer.groups == 0
        check(whole, "code_dim", self.code_dim, f"a multiple of the number of groups ({self.quantizer})")
        learns = not isinstance(self.quantizer, ResidualBooks) or self.update == "ema"
        check(learns, "update", self.update, '"ema" for residual books')

    @property
    def books(self) -> int | None:
        """The number of books that give a place a code each; None for a single one."""
        if isinstance(self.quantizer, SingleBook):
            return None
        return self.quantizer.groups if isinstance(self.quantizer, GroupedBooks) else self.quantizer.books

    @property
    def code_shape(self) -> tuple[int, ...]:
        """The codes of one image: rows and columns, after the books where there are several."""
        grid = self.data_shape[1] // 4, self.data_shape[2] // 4
        return grid if self.books is None else (self.books, *grid)


class ResidualBlock(nn.Module):
    """x + conv1x1(relu(conv3x3(relu(x)))), as in section 4.1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        return x + self.layers(x)


class UnitLength(nn.Module):
    """Each place's vector divided by its length."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, D, *places) -> the same shape."""
        return F.normalize(x, dim=1)


def make_codebook(config: VQVAEConfig) -> Codebook | ResidualCodebook:
    """The codebook that the config asks for."""
    kind = config.quantizer
    if isinstance(kind, ResidualBooks):
        return ResidualCodebook(config.num_codes, config.code_dim, books=kind.books, dropout=kind.book_dropout)
    if isinstance(kind, GroupedBooks):
        return Codebook(config.num_codes, config.code_dim, config.update, groups=kind.groups)
    return Codebook(config.num_codes, config.code_dim, config.update, unit_length=kind.unit_length)


def make_prior(config: VQVAEConfig) -> CodePrior | DensityPrior:
    """The prior that the config asks for. Raises GencoreError for a system that is no density of pictures."""
    sizes: dict[str, Any] = {"width": config.prior_width, "layers": config.prior_layers}
    if config.prior == "transformer":
        length, books = math.prod(config.code_shape), config.books or 1
        return CodePrior(
            num_codes=config.num_codes, length=length, num_classes=config.num_classes, books=books, **sizes
        )
    if config.num_classes is not None:
        sizes["num_classes"] = config.num_classes
    if config.prior_embedding:
        sizes["embedding"] = config.prior_embedding
    return DensityPrior(config.prior, config.code_shape, config.num_codes, **sizes)


class VQVAE(Model):
    """Encoder, codebook, decoder, and the prior over codes."""

    config_class = VQVAEConfig
    config: VQVAEConfig
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
            *([UnitLength()] if config.quantizer == SingleBook(unit_length=True) else []),
        )
        self.codebook = make_codebook(config)
        self.decoder = nn.Sequential(
            nn.Conv2d(config.code_dim, width, 3, 1, 1),
            *blocks[config.residual_blocks :],
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(width, channels, 4, 2, 1),
        )
        self.prior = make_prior(config)

    def encode(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Images (N, *data_shape) -> codes (N, [books,] H / 4, W / 4) int64. Raises GencoreError for other shapes,
        NonFiniteError on NaN latents."""
        check_data(x, self.config.data_shape)
        return self.codebook(finite(self.encoder(x))).codes

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Codes (N, [books,] H / 4, W / 4) -> images (N, *data_shape), about [-1, 1].

        A residual model also takes the codes of its first books only. Raises GencoreError for codes that do not fit.
        """
        shape = self.config.code_shape
        kind = self.config.quantizer
        if isinstance(kind, ResidualBooks) and z.ndim == 4:
            shape = (min(max(z.shape[1], 1), kind.books), *shape[1:])
        check_codes(z, shape, self.config.num_codes)
        return self.decode(self.codebook.lookup(z))

    def decode(self, vectors: Tensor, label: Tensor | None = None) -> Tensor:
        """Vectors (N, code_dim, H / 4, W / 4) -> images. The label is the prior's affair."""
        return self.decoder(vectors)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encode, then generate."""
        return self.generate(self.encode(x))

    def default_sampler(self) -> Sampler:
        """The prior, then the decoder."""
        return AncestralSampler()

    @property
    def condition(self) -> Condition | None:
        """A class, where the model has classes."""
        return ClassLabel(count=self.config.num_classes) if self.config.num_classes else None

    def check_label(self, label: Tensor | None, count: int) -> Tensor | None:
        """The labels (count,) that the prior takes. Raises GencoreError for missing, unwanted or unknown ones."""
        return check_labels(label, count, self.config.num_classes, "This model's prior takes a label with every image")


def check_labels(label: Tensor | None, count: int, classes: int | None, need: str) -> Tensor | None:
    """The labels (count,), None where there are no classes. Raises GencoreError (`need` says what for) for missing or
    unknown ones."""
    if classes is None:
        return None
    if label is None:
        raise GencoreError(f"{need}, from 0 to {classes - 1}; there is none. Give the data a label, or condition=...")
    if label.shape != (count,) or label.is_floating_point() or label.min() < 0 or label.max() >= classes:
        raise GencoreError(f"{need}: expected ({count},) integers from 0 to {classes - 1}; received {label}.")
    return label


def check_data(x: Tensor, shape: tuple[int, ...]) -> None:
    """Raise GencoreError unless x is floating point (N, *shape)."""
    if tuple(x.shape[1:]) != tuple(shape) or not x.is_floating_point():
        raise GencoreError(
            f"The model got a tensor {tuple(x.shape)} of {x.dtype}; expected floating point "
            f"(N, {', '.join(map(str, shape))}) in [-1, 1]: x / 127.5 - 1 from 0 ... 255."
        )


def finite(latents: Tensor) -> Tensor:
    """The latents (N, ...). Raises NonFiniteError if one is NaN or infinite: it has no nearest code."""
    if not torch.compiler.is_exporting() and not latents.isfinite().all():
        bad = int((~latents.flatten(1).isfinite().all(1)).sum())
        raise NonFiniteError(
            f"The latents of {bad} of {len(latents)} examples hold NaN or infinity, which has no nearest code: look at "
            "the data (gencore.data.check_batch) and at the encoder's weights."
        )
    return latents


def check_codes(codes: Tensor, shape: tuple[int, ...], num_codes: int) -> None:
    """Raise GencoreError unless `codes` are (N, *shape) integers from 0 to num_codes - 1."""
    if codes.is_floating_point() or codes.shape[1:] != shape:
        wanted = ", ".join(map(str, shape))
        raise GencoreError(f"Codes are {tuple(codes.shape)} {codes.dtype}; expected (N, {wanted}) integers.")
    if torch.compiler.is_exporting():  # a graph has no values to look at
        return
    low, high = (int(bound) for bound in torch.aminmax(codes))
    if low < 0 or high >= num_codes:
        raise GencoreError(f"Codes lie from {low} to {high}; this codebook has codes 0 to {num_codes - 1}.")


class Seen(NamedTuple):
    """What a step's loss hands over: counts and sums of the look-up, its rows, and the latents (N, D, *places)."""

    counts: Tensor
    sums: Tensor
    rows: Tensor
    latents: Tensor


class VectorQuantization(Objective):
    """Phase "autoencoder": equation 3. `restart_below`: average count under which a code begins anew; 0 never.

    `kmeans_iterations`: the codebook begins at the centres of this many steps of k-means on the first batch, after its
    step; 0: at random. A residual codebook's third term pulls the latents to the sum of the books that were decoded.

    Logs `reconstruction`, and `perplexity`: how many codes are in use, 1 to all; higher is better: 1 is a collapse.
    """

    begun: Tensor

    def __init__(self, *, commitment: float, decay: float, restart_below: float, kmeans_iterations: int = 0) -> None:
        super().__init__()
        check(commitment >= 0, "commitment", commitment, "0 or more")
        check(0 <= decay < 1, "decay", decay, "a number in [0, 1)")
        check(restart_below >= 0, "restart_below", restart_below, "0 or more")
        check(kmeans_iterations >= 0, "kmeans_iterations", kmeans_iterations, "0 or more")
        self.commitment, self.decay, self.restart_below = commitment, decay, restart_below
        self.kmeans_iterations = kmeans_iterations
        if kmeans_iterations:
            self.register_buffer("begun", torch.zeros((), dtype=torch.int64))

    def autoencoder(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """Reconstruction, commitment, and the codebook's own term where it learns by gradient."""
        x = batch["x"]
        latents = model.encoder(x)
        quantized = model.codebook(latents)
        rebuilt = model.decode(StraightThrough.apply(latents, quantized.vectors.detach()), batch.get("label"))
        reconstruction = F.mse_loss(rebuilt, x)
        total = reconstruction + self.commitment * F.mse_loss(latents, quantized.vectors.detach())
        if model.codebook.update == "gradient":
            total = total + F.mse_loss(quantized.vectors, latents.detach())
        metrics = {"reconstruction": reconstruction, "perplexity": perplexity(quantized.counts).mean()}
        return Loss(total, metrics, seen=Seen(quantized.counts, quantized.sums, quantized.rows, latents.detach()))

    def after_step(self, model: Any, phase: str, seen: Sequence[Seen]) -> None:
        """Move the averages by what all processes saw in this step; restart dead codes. After the first step, instead,
        k-means puts the codes where the latents are."""
        if self.kmeans_iterations and not self.begun:
            model.codebook.begin(seen[0].latents, iterations=self.kmeans_iterations)
            self.begun.fill_(1)
            return
        if model.codebook.update == "gradient":
            return
        counts = torch.stack([step.counts for step in seen]).sum(0)
        sums = torch.stack([step.sums for step in seen]).sum(0)
        rows = seen[0].rows
        model.codebook.follow(sum_over_processes(counts), sum_over_processes(sums), decay=self.decay)
        if self.restart_below:
            chosen = rows[..., torch.randint(rows.shape[-2], (counts.shape[-1],), device=rows.device), :]
            model.codebook.restart(from_first_process(chosen), below=self.restart_below)


def two_stages(
    name: str,
    config: VQVAEConfig,
    objective: VectorQuantization,
    *,
    steps: int,
    prior_steps: int | None,
    batch_size: int,
    learning_rate: float,
) -> Recipe:
    """`steps` of the autoencoder, then `prior_steps` (as many if None) of the prior over its codes."""
    parts = ("encoder", "decoder", "codebook") if config.update == "gradient" else ("encoder", "decoder")
    return Recipe(
        name=name,
        model=VQVAE,
        config=config,
        stages=(
            Stage(
                name="autoencoder",
                objective=objective,
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


def vq_vae(
    *,
    config: VQVAEConfig = VQVAEConfig(data_shape=(1, 8, 8)),
    steps: int = 2000,
    prior_steps: int | None = None,
    batch_size: int = 64,
    commitment: float = 0.25,
    decay: float = 0.99,
    restart_below: float = 0.5,
    kmeans_iterations: int = 0,
    learning_rate: float = 1e-3,
) -> Recipe:
    """Two stages: `steps` of the autoencoder, then `prior_steps` (as many if None) of the prior over its codes.

    `kmeans_iterations`: steps of k-means on the first batch from which the codebook begins; 0: at random, as published.
    """
    objective = VectorQuantization(
        commitment=commitment, decay=decay, restart_below=restart_below, kmeans_iterations=kmeans_iterations
    )
    return two_stages(
        "vq-vae",
        config,
        objective,
        steps=steps,
        prior_steps=prior_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
    )
