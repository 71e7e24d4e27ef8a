"""GPT-2's and BERT's own weight files: the logits of transformers, which were recorded (published/make.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import gencore
from gencore.errors import GencoreError
from gencore_text.causal_language_model import GPT2_SMALL, CausalLanguageModel, from_gpt2
from gencore_text.masked_language_model import MaskedLanguageModel, MaskedLanguageModelConfig, from_bert

HERE = Path(__file__).parent / "published"


def recorded(name: str) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Weights, tokens, logits."""
    tensors = load_file(HERE / f"{name}.safetensors")
    tokens, logits = (tensors.pop(f"expected.{key}") for key in ("tokens", "logits"))
    return tensors, tokens, logits


def test_gpt2_small_has_its_parameters() -> None:
    with torch.device("meta"):
        model = CausalLanguageModel(GPT2_SMALL)
    assert sum(parameter.numel() for parameter in model.parameters()) == 124_439_808


def test_bert_base_has_its_parameters() -> None:
    """transformers' BertForMaskedLM has 109,514,298; its two segment vectors of 768 are part of the positions here."""
    config = MaskedLanguageModelConfig(data_shape=(512, 30522), width=768, layers=12, heads=12, mask_token=103)
    with torch.device("meta"):
        model = MaskedLanguageModel(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == 109_514_298 - 2 * 768


def test_gpt2_logits(tmp_path: Path) -> None:
    """From a file, and from its tensors without the prefix and the tied copy, as the Hub's gpt2 has them."""
    weights, tokens, logits = recorded("gpt2")
    save_file(weights, tmp_path / "model.safetensors")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in weights.items() if name != "lm_head.weight"}
    for given in (tmp_path / "model.safetensors", bare):
        with torch.no_grad():
            torch.testing.assert_close(from_gpt2(given, heads=2).logits(tokens), logits, atol=1e-4, rtol=1e-4)


def test_bert_logits() -> None:
    weights, tokens, logits = recorded("bert")
    with torch.no_grad():
        torch.testing.assert_close(
            from_bert(weights, heads=2, mask_token=3).logits(tokens), logits, atol=1e-4, rtol=1e-4
        )


def test_opened_models_are_saved_as_others(tmp_path: Path) -> None:
    weights, tokens, _ = recorded("gpt2")
    model = from_gpt2(weights, heads=2)
    model.save_pretrained(tmp_path)
    again = CausalLanguageModel.from_pretrained(tmp_path)
    assert torch.equal(again.eval().logits(tokens), model.logits(tokens))
    assert isinstance(gencore.from_pretrained(tmp_path), CausalLanguageModel)


def test_broken_weights_are_refused() -> None:
    weights, _, _ = recorded("gpt2")
    for name in ("transformer.wte.weight", "transformer.h.1.mlp.c_fc.bias", "transformer.ln_f.weight"):
        with pytest.raises(GencoreError, match=f"lack '{name.removeprefix('transformer.')}'"):
            from_gpt2({key: value for key, value in weights.items() if key != name}, heads=2)
    key = "transformer.h.0.mlp.c_fc.weight"
    with pytest.raises(GencoreError, match="do not fit"):
        from_gpt2({**weights, key: weights[key].T.contiguous()}, heads=2)
    with pytest.raises(GencoreError, match="no layers|layers \\[\\]"):
        from_gpt2({k: v for k, v in weights.items() if ".h." not in k})
    with pytest.raises(GencoreError, match="heads is 3"):
        from_gpt2(weights, heads=3)
    with pytest.raises(GencoreError, match="mask_token is 103"):
        from_bert(recorded("bert")[0], heads=2)
