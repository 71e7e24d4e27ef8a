"""StyleGAN2 (Karras, Laine, Aittala, Hellsten, Lehtinen & Aila 2020, "Analyzing and Improving the Image Quality of
StyleGAN", arXiv:1912.04958). Mapping, mixing, truncation and the game are those of gencore_gan.architectures.stylegan.

    synthesis    modulated and demodulated convolutions from a learned constant; noise and bias outside of the style
                                                                                 (section 2.2, equations 1 to 3)
    networks     the generator sums images of all sizes, the critic is residual                 (section 4.1, figure 7)
    path length  E_w,y (||J_w^T y||_2 - a)^2, J_w = dg(w)/dw, y ~ N(0, I), a the running average of the norm; y is
                 divided by the root of the number of pixels                             (section 3.2, equation 4)
    lazy         R1 at every 16th step of the critic, the path length's term at every 4th of the generator, times 16
                 and 4, so that their weights mean what they would at every step                   (section 3.1)
    augmentation an option (Karras et al. 2020, arXiv:2006.06676): gencore_gan.parts.augmentation on all that the critic
                 sees, with a probability that follows r_t = E sign D(x)                 (equation 1 and section 3)
Over several styles w_l, ||J_w^T y||^2 is the mean over l of that of w_l, as in the paper's code. A regularised step
has the game's loss too, in one gradient: Adam sees both, as the paper wants, and its rates need no correction.

Deviations: `a` is a plain mean until it has seen 100 batches, where the paper lets it rise from 0; path lengths are
those of unmixed styles; the last layers of the critic are those of ProGAN; an average of decay 0.99, and channels,
rate and R1 for small images and trainings of thousands of steps. The paper has no fixed R1: 10 at 1024 pixels,
less for smaller images. r_t moves the probability after every step, where the paper waits for four.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gencore import EMA, Adam, Loss, Model, Paper, Phase, Recipe, Stage, SystemSpec
from gencore.adversarial.penalties import R1
from gencore.config import check
from gencore.distributed import process_count, sum_over_processes
from gencore.noise import GlobalNoise
from gencore_gan.architectures.stylegan import StyleAdversarial, StyleGAN, StyleGANConfig
from gencore_gan.parts.augmentation import adapted, augmented
from gencore_gan.parts.modulated_networks import SkipSynthesis, noise_sides, residual_critic
from gencore_gan.parts.styles import for_layers, mapping_network

SYSTEM = SystemSpec(
    name="stylegan2",
    summary="Styles scale the weights, not the maps; a skip generator and a residual critic; regularised path lengths",
    paper=Paper(
        title="Analyzing and Improving the Image Quality of StyleGAN",
        authors="Karras, Laine, Aittala, Hellsten, Lehtinen & Aila",
        year=2020,
        arxiv="1912.04958",
    ),
    model="StyleGAN2",
    recipe="stylegan2",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "style_dim": 8, "mapping_layers": 2, "width": 4, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StyleGAN2Config(StyleGANConfig):
    """As StyleGAN's: square images of 4, 8, ..., 1024 pixels. The paper's at 1024: latent_dim=512, style_dim=512,
    mapping_layers=8, width=32."""

    @property
    def sides(self) -> tuple[int, ...]:
        """The size of each layer's noise image."""
        return noise_sides(len(self.channels))


class StyleGAN2(StyleGAN):
    """Mapping, synthesis, a critic, and the average of w. `styles` is from Z to W, `synthesise` from W to images."""

    config_class = StyleGAN2Config
    config: StyleGAN2Config
    synthesis: Any  # of another class than StyleGAN's

    def __init__(self, config: StyleGAN2Config) -> None:
        Model.__init__(self, config)  # StyleGAN's methods, not its networks
        self.mapping = mapping_network(config.latent_dim, config.style_dim, config.mapping_layers)
        self.synthesis = SkipSynthesis(config.channels, config.data_shape[0], config.style_dim)
        self.critic = residual_critic(config.channels, config.data_shape[0])
        self.register_buffer("style_average", torch.zeros(config.style_dim))

    def styles(self, z: Tensor) -> Tensor:
        """z (N, latent_dim or more, of which the rest is noise) -> w for each layer, (N, L, style_dim)."""
        return for_layers(self.mapping(z[:, : self.config.latent_dim]), 2 * len(self.config.channels))


def path_lengths(images: Tensor, styles: Tensor) -> Tensor:
    """||J_w^T y|| (N,) of images (N, C, H, W) made of styles (N, L, D), for one y each, differentiable again."""
    y = torch.randn_like(images) / (images.shape[2] * images.shape[3]) ** 0.5
    (slopes,) = torch.autograd.grad((images * y).sum(), styles, create_graph=True)
    return slopes.square().sum(2).mean(1).sqrt()


class Augmented:
    """The model as its critic sees with probability p of a change; `signs`: E sign D of each batch that was judged."""

    condition = None

    def __init__(self, model: Any, p: Tensor) -> None:
        self.model, self.p, self.signs = model, p, list[Tensor]()
        self.config, self.draw_prior = model.config, model.draw_prior
        self.styles, self.synthesise = model.styles, model.synthesise

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Images (N, *data_shape) -> (N,) logits of changed images."""
        judged: Tensor = self.model.judge(augmented(x, self.p))
        self.signs.append(judged.detach().float().sign().mean())
        return judged


class LazyStyleAdversarial(StyleAdversarial):
    """StyleGAN's game. Every `r1_every`-th step of the critic has R1, every `path_every`-th of the generator the path
    length's term; weights of 0 leave them out. `augmentation_target` 0 leaves augmentation out.

    Logs `path_length`: how far pictures move for a step in style; neither way is better: it should keep to its own
    average. With augmentation, `overfitting`: mean sign of the critic's scores of data; neither way is better: it
    should stay near its target. `augmentation`: the chance of a change; neither way is better: much of it says that
    there are few data.
    """

    def __init__(
        self,
        *,
        r1: float,
        r1_every: int,
        path_length: float,
        path_every: int,
        mixing: float,
        augmentation_target: float = 0.0,
        augmentation_images: int = 500_000,
    ) -> None:
        check(0 <= augmentation_target < 1, "augmentation_target", augmentation_target, "a number in [0, 1)")
        check(augmentation_images >= 1, "augmentation_images", augmentation_images, "at least 1")
        for name, value in (("r1_every", r1_every), ("path_every", path_every)):
            check(value >= 1, name, value, "at least 1")
        check(path_length >= 0, "path_length", path_length, "0 or more")
        super().__init__(r1=r1, mixing=mixing)
        self.penalties = ()  # StyleGAN's R1 is at every step
        self.r1, self.r1_every, self.path_length, self.path_every = r1, r1_every, path_length, path_every
        self.double_backward = (("critic",) if r1 else ()) + (("synthesis",) if path_length else ())
        self.augmentation_target, self.augmentation_images = augmentation_target, augmentation_images
        self.critic_steps: Tensor
        self.generator_steps: Tensor
        self.path_average: Tensor
        self.path_batches: Tensor
        for name in ("critic_steps", "generator_steps", "path_batches"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        self.augmentation: Tensor
        self.register_buffer("path_average", torch.zeros(()))
        self.register_buffer("augmentation", torch.zeros(()))

    def critic(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The game's loss, in turn with R1 times `r1_every`."""
        view = Augmented(model, self.augmentation) if self.augmentation_target else model
        loss = super().critic(view, batch)
        if self.r1 and not self.critic_steps % self.r1_every:
            term = R1(weight=self.r1 * self.r1_every)(view.judge, batch["x"], batch["x"])
            loss = Loss(loss.total + term.total, {**loss.metrics, **term.metrics})
        if not self.augmentation_target:
            return loss
        overfitting = view.signs[0]
        metrics = {**loss.metrics, "overfitting": overfitting, "augmentation": self.augmentation.clone()}
        images = torch.full_like(overfitting, len(batch["x"]))
        return Loss(loss.total, metrics, (overfitting * images, images))

    def generator(self, model: Any, batch: Mapping[str, Tensor]) -> Loss:
        """The game's loss, in turn with the path length's term, on half as many pictures, times `path_every`."""
        game = super().generator(Augmented(model, self.augmentation) if self.augmentation_target else model, batch)
        seen = {"style": game.seen}
        if not self.path_length or self.generator_steps % self.path_every:
            return game._replace(seen=seen)
        lengths = self.lengths(model, batch["x"][: (len(batch["x"]) + 1) // 2])
        mean = lengths.detach().mean()
        spread = (lengths - self.moved(mean)).square().mean()
        total = game.total + self.path_every * self.path_length * spread
        return Loss(total, {**game.metrics, "path_length": mean}, {**seen, "path": mean})

    def lengths(self, model: Any, x: Tensor) -> Tensor:
        """Path lengths (N,) of as many new pictures as x has."""
        z = model.draw_prior(GlobalNoise.like(x))
        styles = model.styles(z)
        if not styles.requires_grad:
            styles.requires_grad_()  # a frozen mapping network
        return path_lengths(model.synthesise(styles, z).float(), styles)

    def moved(self, mean: Tensor) -> Tensor:
        """The average of path lengths with one more batch's mean: the mean of all up to 100, then of decay 0.99."""
        return torch.lerp(self.path_average, mean, 1 / (1 + self.path_batches).clamp(max=100))

    def after_step(self, model: Any, phase: str, seen: Sequence[Any]) -> None:
        """Count the step, and move the averages of w and of path lengths, or the augmentation, over all processes."""
        if phase == "critic":
            self.critic_steps += 1
            if self.augmentation_target:
                signs, images = sum_over_processes(torch.stack([torch.stack(one) for one in seen]).sum(0))
                share = images.item() / self.augmentation_images
                self.augmentation.copy_(adapted(self.augmentation, signs / images, self.augmentation_target, share))
            return
        super().after_step(model, phase, [one["style"] for one in seen])
        self.generator_steps += 1
        if "path" in seen[0]:
            mean = torch.stack([one["path"] for one in seen]).mean()
            self.path_average.copy_(self.moved(sum_over_processes(mean) / process_count()))
            self.path_batches += 1


def stylegan2(
    *,
    config: StyleGAN2Config = StyleGAN2Config(),
    steps: int = 2000,
    batch_size: int = 16,
    r1: float = 1.0,
    r1_every: int = 16,
    path_length: float = 2.0,
    path_every: int = 4,
    mixing: float = 0.9,
    learning_rate: float = 2e-3,
    ema_decay: float = 0.99,
    augmentation_target: float = 0.0,
    augmentation_images: int = 500_000,
) -> Recipe:
    """`r1`, `path_length`: weights of the regularisers, as at every step. `r1_every`, `path_every`: in how many steps
    they are seen once. `mixing`: the probability that a picture has two codes. `augmentation_target`: the r_t to hold,
    for few data (the paper's is 0.6); 0 is no augmentation. `augmentation_images`: in how many images its probability
    may go from 0 to 1."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.0, 0.99))
    generator = ("mapping", "synthesis")
    phases = (
        Phase(name="critic", parts=("critic",), optimizer=optimizer),
        Phase(name="generator", parts=generator, optimizer=optimizer),
    )
    objective = LazyStyleAdversarial(
        r1=r1,
        r1_every=r1_every,
        path_length=path_length,
        path_every=path_every,
        mixing=mixing,
        augmentation_target=augmentation_target,
        augmentation_images=augmentation_images,
    )
    return Recipe(
        name="stylegan2",
        model=StyleGAN2,
        config=config,
        stages=(Stage(objective=objective, phases=phases, steps=steps),),
        batch_size=batch_size,
        ema=(EMA(decay=ema_decay, parts=generator),) if ema_decay else (),
    )
