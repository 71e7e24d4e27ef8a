"""Resampling of images with an FIR filter (Karras et al. 2020, arXiv:1912.04958, arXiv:2006.06676), fused."""

from gencore_kernels.upfirdn2d.filters import setup_filter
from gencore_kernels.upfirdn2d.op import downsample2d, upfirdn2d, upsample2d

__all__ = ["downsample2d", "setup_filter", "upfirdn2d", "upsample2d"]
