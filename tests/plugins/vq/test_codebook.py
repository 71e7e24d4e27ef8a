"""The codebook against the paper's equations, to the bit where they are exact."""

from __future__ import annotations

import pytest
import torch
from einops import rearrange
from torch.nn import functional as F

import gencore
from gencore_vq.parts.codebook import Codebook, StraightThrough, perplexity, smoothed
from gencore_vq.vq_vae import VectorQuantization


def codebook(num_codes: int = 8, dim: int = 3, update: str = "ema") -> Codebook:
    torch.manual_seed(0)
    made = Codebook(num_codes, dim, update)
    made.vectors.data.copy_(torch.randn(num_codes, dim))
    return made


def test_nearest_code_and_ties() -> None:
    book = codebook()
    book.vectors[5] = book.vectors[2]
    latents = torch.randn(2, 3, 4, 5)
    quantized = book(latents)
    flat = rearrange(latents, "n d h w -> (n h w) d")
    best = torch.cdist(flat.double(), book.vectors.double()).argmin(1)
    assert torch.equal(quantized.codes.flatten(), best)
    exact = book(rearrange(book.vectors, "k d -> k d 1 1"))
    assert exact.codes.flatten().tolist() == [0, 1, 2, 3, 4, 2, 6, 7]
    assert torch.equal(quantized.counts, best.bincount(minlength=8).float())
    sums = torch.zeros(8, 3).index_add(0, best, flat)
    torch.testing.assert_close(quantized.sums, sums)


def test_straight_through_gradient_is_the_decoders_to_the_bit() -> None:
    """With beta = 0, d loss / d z_e = d loss / d z_q."""
    model = gencore.create("vq-vae", data_shape=[1, 8, 8], width=8)
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    latents = model.encoder(x).detach().requires_grad_()
    vectors = model.codebook(latents).vectors.detach()
    through = torch.autograd.grad(F.mse_loss(model.decoder(StraightThrough.apply(latents, vectors)), x), latents)[0]
    direct = vectors.clone().requires_grad_()
    expected = torch.autograd.grad(F.mse_loss(model.decoder(direct), x), direct)[0]
    assert torch.equal(through, expected)


def test_commitment_gradient() -> None:
    """With beta, d loss / d z_e grows by 2 beta (z_e - e) over the number of elements."""
    model = gencore.create("vq-vae", data_shape=[1, 8, 8], width=8)
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    gradients = []
    for beta in (0.0, 0.25):
        latents = model.encoder(x)
        latents.retain_grad()
        handle = model.encoder.register_forward_hook(lambda *_, latents=latents: latents)
        objective = VectorQuantization(commitment=beta, decay=0.99, restart_below=0)
        objective.loss(model, "autoencoder", {"x": x}).total.backward()
        handle.remove()
        gradients.append(latents.grad)
    with torch.no_grad():
        latents = model.encoder(x)
        expected = 2 * 0.25 * (latents - model.codebook(latents).vectors) / latents.numel()
    torch.testing.assert_close(gradients[1] - gradients[0], expected, atol=1e-8, rtol=1e-4)


def test_codebook_learns_by_gradient_from_its_own_term_only() -> None:
    """d loss / d e_j = 2 sum over the latents of code j of (e_j - z_e), over the number of elements."""
    model = gencore.create("vq-vae", data_shape=[1, 8, 8], width=8, update="gradient")
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    VectorQuantization(commitment=0.25, decay=0.99, restart_below=0).loss(
        model, "autoencoder", {"x": x}
    ).total.backward()
    with torch.no_grad():
        latents = model.encoder(x)
        found = model.codebook(latents)
        expected = 2 * (found.counts[:, None] * model.codebook.vectors - found.sums) / latents.numel()
    torch.testing.assert_close(model.codebook.vectors.grad, expected, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize(("restart_below", "moved"), [(0.5, 3), (0.0, 0)])
def test_a_step_restarts_dead_codes_at_latents_of_the_batch(restart_below: float, moved: int) -> None:
    """Three codes far away with a count of 0; without restart they stay there."""
    model = gencore.create("vq-vae", data_shape=[1, 8, 8], width=8, num_codes=8)
    objective = VectorQuantization(commitment=0.25, decay=0.99, restart_below=restart_below)
    with torch.no_grad():
        model.codebook.vectors[:3] = 50
        model.codebook.sums[:3] = 50 * 1e-5
        model.codebook.counts[:3] = 1e-5
        x = torch.rand(4, 1, 8, 8) * 2 - 1
        seen = objective.loss(model, "autoencoder", {"x": x}).seen
        objective.after_step(model, "autoencoder", [seen])
        rows = model.codebook.rows(model.encoder(x))
    at_latents = (torch.cdist(model.codebook.vectors[:3], rows).min(1).values < 1e-5).sum().item()
    assert at_latents == moved


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_reconstruction_sends_no_gradient_to_the_codebook(update: str) -> None:
    model = gencore.create("vq-vae", data_shape=[1, 8, 8], width=8, update=update)
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    latents = model.encoder(x)
    quantized = model.codebook(latents)
    rebuilt = model.decoder(StraightThrough.apply(latents, quantized.vectors))
    F.mse_loss(rebuilt, x).backward()
    assert model.codebook.vectors.grad is None


def test_average_without_memory_is_one_step_of_k_means() -> None:
    book = codebook()
    latents = torch.randn(16, 3, 4, 4)
    quantized = book(latents)
    book.follow(quantized.counts, quantized.sums, decay=0.0)
    flat, codes = rearrange(latents, "n d h w -> (n h w) d"), quantized.codes.flatten()
    for code in range(8):
        torch.testing.assert_close(book.vectors[code], flat[codes == code].mean(0), atol=1e-5, rtol=1e-4)


def test_average_remembers() -> None:
    book = codebook(2, 1)
    book.sums.fill_(3.0)
    book.follow(torch.tensor([4.0, 0.0]), torch.tensor([[8.0], [0.0]]), decay=0.5)
    torch.testing.assert_close(book.counts, torch.tensor([2.5, 0.5]))
    torch.testing.assert_close(book.vectors, torch.tensor([[5.5 / 2.5], [1.5 / 0.5]]), atol=1e-3, rtol=1e-3)


def test_restart_replaces_dead_codes_only() -> None:
    book = codebook(4, 3)
    book.counts.copy_(torch.tensor([5.0, 0.1, 0.6, 0.0]))
    before, candidates = book.vectors.clone(), torch.full((4, 3), 9.0)
    assert book.restart(candidates, below=0.5).item() == 2
    assert torch.equal(book.vectors[[0, 2]], before[[0, 2]])
    assert torch.equal(book.vectors[[1, 3]], candidates[[1, 3]])
    assert torch.equal(book.counts, torch.tensor([5.0, 1.0, 0.6, 1.0]))
    assert torch.equal(book.sums[1], candidates[1])


def test_evaluation_leaves_the_codebook_alone() -> None:
    model = gencore.create("vq-vae", data_shape=[1, 8, 8], width=8).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.reconstruct(torch.rand(4, 1, 8, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_smoothing_and_perplexity() -> None:
    counts = torch.tensor([0.0, 2.0, 6.0])
    assert smoothed(counts).sum().item() == pytest.approx(8.0)
    assert smoothed(counts)[0] > 0
    assert perplexity(torch.ones(64)).item() == pytest.approx(64)
    assert perplexity(torch.tensor([5.0, 0, 0])).item() == pytest.approx(1)
    assert perplexity(torch.zeros(4)).item() == pytest.approx(1)
