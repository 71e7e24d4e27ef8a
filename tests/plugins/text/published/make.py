"""Made gpt2.safetensors and bert.safetensors: small models of transformers with random weights, under its own names,
and their logits for some tokens. Run by hand where transformers is installed; recorded with version 5.24.0.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 12}


def record(model: torch.nn.Module, name: str) -> None:
    """Weights, tokens and logits in one file."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        tokens = torch.randint(23, (3, 12), generator=generator)
        logits = model.eval()(tokens).logits
    weights = {key: value.clone().contiguous() for key, value in model.state_dict().items()}
    folder = Path(__file__).parent
    save_file({**weights, "expected.tokens": tokens, "expected.logits": logits}, folder / f"{name}.safetensors")


if __name__ == "__main__":
    torch.manual_seed(0)
    record(GPT2LMHeadModel(GPT2Config(vocab_size=23, n_positions=12, n_embd=16, n_layer=2, n_head=2)), "gpt2")
    record(BertForMaskedLM(BertConfig(vocab_size=23, intermediate_size=64, **SIZES)), "bert")
