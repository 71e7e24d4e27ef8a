"""For all tests: one torch thread a process, and Triton's interpreter instead of a GPU.

The interpreter must be switched on before anything imports triton, and torch's compiler does.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
if os.environ.get("GENCORE_TEST_GPU") != "1":
    os.environ["TRITON_INTERPRET"] = "1"

import torch

torch.set_num_threads(1)
