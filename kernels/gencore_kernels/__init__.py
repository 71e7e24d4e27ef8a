"""Fused hot paths of generative models: exact, tested without a GPU, useful on their own.

Every operation is one documented function that picks an implementation by `backend`; `explain` says which and why.
Under torch.autocast every operation does what it does without it: inputs keep their dtype, sums are taken in float32.
Importing this package imports torch, never triton. A sub-package and its function share one name; the function is what
`gencore_kernels.<name>` is, and `from gencore_kernels.<name> import ...` reaches into the sub-package.
"""

from gencore_kernels.bias_activation import bias_activation
from gencore_kernels.diffusion_step import (
    StepRow,
    ddpm_table,
    diffusion_step,
    euler_table,
    flow_table,
    philox_normal,
    quantile_abs,
    stack_rows,
    step_table,
)
from gencore_kernels.dispatch import (
    Backend,
    BackendUnavailableError,
    Explanation,
    explain,
    registered_operations,
    use_backend,
)
from gencore_kernels.minibatch_discrimination import minibatch_discrimination
from gencore_kernels.minibatch_stddev import minibatch_stddev
from gencore_kernels.nearest_code import NearestCode, PreparedCodebook, nearest_code, prepare_codebook
from gencore_kernels.upfirdn2d import downsample2d, setup_filter, upfirdn2d, upsample2d

__all__ = [
    "Backend",
    "BackendUnavailableError",
    "Explanation",
    "NearestCode",
    "PreparedCodebook",
    "StepRow",
    "bias_activation",
    "ddpm_table",
    "diffusion_step",
    "downsample2d",
    "euler_table",
    "explain",
    "flow_table",
    "minibatch_discrimination",
    "minibatch_stddev",
    "nearest_code",
    "philox_normal",
    "prepare_codebook",
    "quantile_abs",
    "registered_operations",
    "setup_filter",
    "stack_rows",
    "step_table",
    "upfirdn2d",
    "upsample2d",
    "use_backend",
]
