"""The kernels and configurations of `nearest_code` for the ahead-of-time gate and the warm-up."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gencore_kernels.aot import KernelCase
from gencore_kernels.nearest_code import triton_kernels as kernels
from gencore_kernels.nearest_code import triton_path, triton_statistics

# Dimensions of the padded table, and two that are no power of two: their masks cost registers.
DIMS = (8, 64, 96, 256, 512)
_FLOAT, _HALF, _INT, _LONG = "*fp32", "*fp16", "*i32", "*i64"
_STRIDES = {"stride_h": "i32", "stride_n": "i32"}
_SIZES = {"N": "i32", "K": "i32", "KP": "i32"}
_FOUND = {"index": _LONG, "distance": _FLOAT, "listed": _INT, "count": _INT}
_CODES = {"codebook": _FLOAT, "bias": _FLOAT, "offsets": _FLOAT, "limits": _FLOAT, "centre": _FLOAT}


def _score_cases() -> Iterator[KernelCase]:
    signature = {
        "rows16": _HALF, "codes16": _HALF, "offsets": _FLOAT, "factor": _FLOAT, "group": _INT, "best": _FLOAT,
        "second": _FLOAT, "N": "i32", "KP": "i32", "span": "i32",
    }  # fmt: skip
    for (kind, padded), config in triton_path.CONFIGS.items():
        yield KernelCase(
            name=f"nearest_code/score_groups D{padded} {config.rows}x{config.codes} U{config.group_tiles}",
            kernel=kernels.score_groups,
            signature=signature,
            constants={"DP": padded, "BN": config.rows, "BK": config.codes, "U": config.group_tiles},
            num_warps=config.num_warps,
            num_stages=config.num_stages,
            divisible_by_16=("KP", "span"),
            tensor_core="HGMMA" if kind == 90 else "HMMA",
            work=config.rows * config.codes / (32 * config.num_warps),
            architectures=(kind,),
        )


def _row_cases(dim: int) -> Iterator[KernelCase]:
    padded = triton_path.padded_dim(dim)
    block = triton_path.settle_rows(padded)
    shape = {"D": dim, "DP": padded, "stride_d": 1}
    aligned = ("stride_n", "stride_h", "KP") if dim % 16 == 0 else ("KP",)
    prepared = {"rows16": _HALF, "factor": _FLOAT, "bound": _FLOAT, "square": _FLOAT}
    yield KernelCase(
        name=f"nearest_code/prepare_rows D{dim}",
        kernel=kernels.prepare_rows,
        signature={"x": _FLOAT, "centre": _FLOAT, "limits": _FLOAT, **prepared, "N": "i32", **_STRIDES},
        constants={**shape, "BN": block},
        divisible_by_16=aligned[:-1],
    )
    yield KernelCase(
        name=f"nearest_code/rescan_float64 D{dim}",
        kernel=kernels.rescan_float64,
        signature={"x": _FLOAT, **_CODES, **_FOUND, "which": "i32", **_SIZES, **_STRIDES},
        constants={
            "D": dim, "stride_d": 1, "BD": min(triton_path.RESCAN_DIMS, padded), "BK": triton_path.RESCAN_CODES,
            "HAS_BIAS": False,
        },
        divisible_by_16=aligned,
    )  # fmt: skip
    yield from _configured_cases(dim, padded, block, shape, aligned)


def _configured_cases(
    dim: int, padded: int, block: int, shape: dict[str, int], aligned: tuple[str, ...]
) -> Iterator[KernelCase]:
    scores = {"group": _INT, "best": _FLOAT, "second": _FLOAT, "bound": _FLOAT, "square": _FLOAT}
    halves = {"codes_high": _HALF, "codes_low": _HALF, "still_listed": _INT}
    for kind in (80, 90):
        config = triton_path.CONFIGS[kind, padded]
        for splits, has_bias in ((1, False), (8, True)) if dim == 64 else ((1, False),):
            yield KernelCase(
                name=f"nearest_code/settle_groups D{dim} U{config.group_tiles} S{splits}{' bias' if has_bias else ''}",
                kernel=kernels.settle_groups,
                signature={"x": _FLOAT, **_CODES, **scores, **_FOUND, **_SIZES, **_STRIDES},
                constants={
                    **shape, "BN": block, "BK": config.codes, "U": config.group_tiles, "S": splits,
                    "HAS_BIAS": has_bias, "CERTIFIED": True,
                },
                num_warps=triton_path.settle_warps(padded),
                divisible_by_16=aligned,
                architectures=(kind,),
            )  # fmt: skip
        if not config.rescore_rows:
            continue
        yield KernelCase(
            name=f"nearest_code/rescore_split D{dim} {config.rescore_rows}x{config.rescore_codes}",
            kernel=kernels.rescore_split,
            signature={"x": _FLOAT, **_CODES, **halves, **_FOUND, **_SIZES, **_STRIDES},
            constants={**shape, "BN": config.rescore_rows, "BK": config.rescore_codes},
            num_warps=triton_path.rescore_warps(padded),
            num_stages=2,
            divisible_by_16=aligned,
            tensor_core="HGMMA" if kind == 90 and config.rescore_rows >= 64 else "HMMA",
            work=config.rescore_rows * config.rescore_codes / (32 * triton_path.rescore_warps(padded)),
            architectures=(kind,),
        )


def _statistics_cases() -> Iterator[KernelCase]:
    for dim in (64, 256):
        shape = {"D": dim, "DP": dim, "stride_d": 1}
        yield KernelCase(
            name=f"nearest_code/add_rows D{dim}",
            kernel=triton_statistics.add_rows,
            signature={"x": _FLOAT, "segment": _LONG, "sums": _FLOAT, "N": "i32", **_STRIDES},
            constants={**shape, "BN": triton_statistics.rows_per_block(dim)},
            divisible_by_16=("stride_n", "stride_h"),
        )
        yield KernelCase(
            name=f"nearest_code/sum_sorted D{dim}",
            kernel=triton_statistics.sum_sorted,
            signature={"x": _FLOAT, "order": _LONG, "ends": _LONG, "sums": _FLOAT, "N": "i32", **_STRIDES},
            constants={**shape, "BN": triton_statistics.SORTED_ROWS},
            divisible_by_16=("stride_n", "stride_h"),
        )


def aot_cases() -> Iterator[KernelCase]:
    """Every kernel, each configuration of the table for its own architecture."""
    yield from _score_cases()
    for dim in DIMS:
        yield from _row_cases(dim)
    yield from _statistics_cases()


def warm_up(device: torch.device) -> Iterator[str]:
    """Compiles for the dimensions of the table; another D, a bias or other dtypes compile at their first call."""
    from gencore_kernels.nearest_code import nearest_code

    for _, dim in sorted({key for key in triton_path.CONFIGS if key[0] == 80}):
        x, codebook = torch.randn(64, dim, device=device), torch.randn(1024, dim, device=device)
        nearest_code(x, codebook, returns=("distance", "counts", "sums"), backend="triton")
        yield f"nearest_code float32 D={dim}"
