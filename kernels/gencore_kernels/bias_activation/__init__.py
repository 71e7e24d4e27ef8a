"""Bias, activation, gain and clamp in one pass (the layers of Karras et al. 2020, arXiv:1912.04958)."""

from gencore_kernels.bias_activation.op import bias_activation

__all__ = ["bias_activation"]
