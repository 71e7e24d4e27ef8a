"""Nearest code of a codebook: exact argmin of squared distances without an N x K matrix."""

from gencore_kernels.nearest_code.op import NearestCode, nearest_code
from gencore_kernels.nearest_code.prepare import PreparedCodebook, prepare_codebook

__all__ = ["NearestCode", "PreparedCodebook", "nearest_code", "prepare_codebook"]
