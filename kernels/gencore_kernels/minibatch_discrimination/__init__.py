"""Minibatch discrimination (Salimans et al. 2016, arXiv:1606.03498, section 3.2), fused and streamed."""

from gencore_kernels.minibatch_discrimination.op import minibatch_discrimination

__all__ = ["minibatch_discrimination"]
