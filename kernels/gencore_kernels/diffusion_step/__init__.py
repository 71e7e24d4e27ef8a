"""One step of any one-step diffusion or flow sampler, as a row of eight numbers and one pass over memory."""

from gencore_kernels.diffusion_step.op import diffusion_step, quantile_abs
from gencore_kernels.diffusion_step.table import StepRow, ddpm_table, euler_table, flow_table, stack_rows, step_table
from gencore_kernels.philox import philox_normal

__all__ = [
    "StepRow",
    "ddpm_table",
    "diffusion_step",
    "euler_table",
    "flow_table",
    "philox_normal",
    "quantile_abs",
    "stack_rows",
    "step_table",
]
