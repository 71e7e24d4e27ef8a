"""The minibatch standard deviation layer (Karras et al. 2018, arXiv:1710.10196, section 3), fused."""

from gencore_kernels.minibatch_stddev.op import minibatch_stddev

__all__ = ["minibatch_stddev"]
