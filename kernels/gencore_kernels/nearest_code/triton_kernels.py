"""Triton kernels of the certified look-up: one pass in 16 bits, a bound per row, and better arithmetic for open rows.

Notation as in torch_path: X = (x - m) s, C = (c - m) s with a power of two s that puts max |C| into [2^13, 2^14), and
f_k = ||C_k||^2 + b_k s^2 - 2 X.C_k. Tier 0 takes C in fp16 and each row of X in fp16 under its own power of two; tier 1
takes both as fp16 high + low parts (three products); tier 2 takes direct differences in float64. Every tier but the
last has a bound E on |score - f| and settles only rows whose runner-up stays behind by more than it.

Legend: N rows, D dimensions (DP padded to a power of two), K codes (KP padded), BN / BK / BD block sizes, U tiles
between two reductions. Program axis 0 walks rows, axis 1 heads, axis 2 splits of the codebook.

Compiled for sm_80 and sm_90 and run in the interpreter; never timed on a GPU. The interpreter's products are exact
float32, so ACCUMULATION, the error of one addition in a tensor core, is an assumption (2^-22, four times float32's
unit) that a device test checks (tests/kernels/nearest_code/test_certificate.py, marked gpu).
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import triton
import triton.language as tl

ACCUMULATION = tl.constexpr(2.0**-22)
UNIT = tl.constexpr(2.0**-23)
FLOAT64_UNIT = tl.constexpr(2.0**-51)
NO_CODE = tl.constexpr(2147483647)


@triton.jit
def _two_smallest(best, column, second, other_best, other_column, other_second):
    behind = tl.minimum(tl.maximum(best, other_best), tl.minimum(second, other_second))
    closer = other_best < best
    return tl.where(closer, other_best, best), tl.where(closer, other_column, column), behind


@triton.jit
def _load_rows(x, rows, valid, stride_n, stride_d, D: tl.constexpr, DP: tl.constexpr):
    dims = tl.arange(0, DP)
    place = rows[:, None].to(tl.int64) * stride_n + dims[None, :].to(tl.int64) * stride_d
    return tl.load(x + place, mask=valid[:, None] & (dims < D)[None, :], other=0.0).to(tl.float32)


@triton.jit
def _centre_and_scale(raw, valid, centre, scale, D: tl.constexpr, DP: tl.constexpr):
    """(X, 2^a, 2^-a) with max |2^a X| of each row in [2^13, 2^14), exponents clamped so that both powers are normal."""
    dims = tl.arange(0, DP)
    middle = tl.load(centre + dims, mask=dims < D, other=0.0)
    X = tl.where(valid[:, None] & (dims < D)[None, :], (raw - middle[None, :]) * scale, 0.0)
    largest = tl.max(tl.abs(X), axis=1)
    exponent = (largest.to(tl.int32, bitcast=True) >> 23) & 255
    exponent = tl.minimum(tl.maximum(exponent, 30), 220)
    up = ((254 + 13 - exponent) << 23).to(tl.float32, bitcast=True)
    down = ((exponent - 13) << 23).to(tl.float32, bitcast=True)
    return X, up, down


@triton.jit
def _slack(norm, largest_norm, largest_offset, terms: tl.constexpr):
    """What every tier adds to its bound: rounding of `terms` additions, of the centring, and of float64 distances."""
    spread = norm + largest_norm
    added = terms * ACCUMULATION * (norm * largest_norm + largest_offset)
    return added + terms * FLOAT64_UNIT * (spread * spread + largest_offset)


@triton.jit
def prepare_rows(
    x, centre, limits, rows16, factor, bound, square, N, stride_h, stride_n, stride_d,
    D: tl.constexpr, DP: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Tier 0's operand [H, N, DP] in fp16, its factor -2 * 2^-a, the bound E and ||X||^2, all [H, N]."""
    head = tl.program_id(1).to(tl.int64)
    rows = tl.program_id(0) * BN + tl.arange(0, BN)
    valid = rows < N
    scale = tl.load(limits + head * 8)
    raw = _load_rows(x + head * stride_h, rows, valid, stride_n, stride_d, D, DP)
    X, up, down = _centre_and_scale(raw, valid, centre + head * D, scale, D, DP)
    high = (X * up[:, None]).to(tl.float16)
    lost = X - high.to(tl.float32) * down[:, None]
    squared = tl.sum(X * X, axis=1)
    norm = tl.sqrt(squared)
    largest_norm = tl.load(limits + head * 8 + 1)
    largest_loss = tl.load(limits + head * 8 + 2)
    largest_offset = tl.load(limits + head * 8 + 5)
    E = 2.002 * (tl.sqrt(tl.sum(lost * lost, axis=1)) * largest_norm + norm * largest_loss)
    E += _slack(norm, largest_norm, largest_offset, DP + 8)
    out = head * N + rows
    dims = tl.arange(0, DP)
    tl.store(rows16 + out[:, None] * DP + dims[None, :], high, mask=valid[:, None])
    tl.store(factor + out, -2.0 * down, mask=valid)
    tl.store(bound + out, E, mask=valid)
    tl.store(square + out, squared, mask=valid)


@triton.jit
def score_groups(
    rows16, codes16, offsets, factor, group, best, second, N, KP, span,
    DP: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, U: tl.constexpr,
):  # fmt: skip
    """Tier 0. Codes that share a column of U consecutive tiles form a group, so that a score costs one minimum.

    Writes for each row and split the first code of the best group, its smallest score and the smallest score of any
    other group: [S, H, N]. A split covers `span` codes, a multiple of BK * U.
    """
    head = tl.program_id(1).to(tl.int64)
    split = tl.program_id(2)
    rows = tl.program_id(0) * BN + tl.arange(0, BN)
    valid = rows < N
    dims = tl.arange(0, DP)
    columns = tl.arange(0, BK)
    place = head * N + rows
    x16 = tl.load(rows16 + place[:, None] * DP + dims[None, :], mask=valid[:, None], other=0.0)
    scale = tl.load(factor + place, mask=valid, other=1.0)
    codes = codes16 + head * KP * DP
    shift = offsets + head * KP
    nowhere = tl.full((BN, BK), float("inf"), tl.float32)
    column = tl.broadcast_to(columns[None, :], (BN, BK))
    best_score = tl.full((BN,), float("inf"), tl.float32)
    second_score = best_score
    best_group = tl.zeros((BN,), tl.int32)
    smallest = nowhere
    first = split * span
    for k in tl.range(first, tl.minimum(first + span, KP), BK):
        tile = tl.load(codes + (k + columns)[None, :] * DP + dims[:, None])
        product = tl.dot(x16, tile)
        score = product * scale[:, None] + tl.load(shift + k + columns)[None, :]
        smallest = tl.minimum(smallest, score)
        if (k & (BK * U - 1)) == BK * (U - 1):
            tile_best, tile_column, tile_second = tl.reduce((smallest, column, nowhere), 1, _two_smallest)
            closer = tile_best < best_score
            second_score = tl.minimum(tl.maximum(best_score, tile_best), tl.minimum(second_score, tile_second))
            best_score = tl.where(closer, tile_best, best_score)
            best_group = tl.where(closer, tile_column + (k - BK * (U - 1)), best_group)
            smallest = nowhere
    out = (split * tl.num_programs(1) + head) * N + rows
    tl.store(group + out, best_group, mask=valid)
    tl.store(best + out, best_score, mask=valid)
    tl.store(second + out, second_score, mask=valid)


@triton.jit
def _append(rows, chosen, listed, count):
    """Puts the chosen rows at the end of a list on the device. Their order depends on timing; no result does."""
    place = tl.atomic_add(count + tl.zeros_like(rows), tl.full(rows.shape, 1, tl.int32), mask=chosen, sem="relaxed")
    tl.store(listed + place, rows, mask=chosen)


@triton.jit
def settle_groups(
    x, codebook, bias, offsets, limits, group, best, second, bound, square, index, distance, listed, count,
    N, K, KP, stride_h, stride_n, stride_d,
    D: tl.constexpr, DP: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, U: tl.constexpr, S: tl.constexpr,
    HAS_BIAS: tl.constexpr, CERTIFIED: tl.constexpr,
):  # fmt: skip
    """Merges the splits, compares the U codes of the best group by direct differences, and lists the open rows."""
    head = tl.program_id(1).to(tl.int64)
    rows = tl.program_id(0) * BN + tl.arange(0, BN)
    valid = rows < N
    dims = tl.arange(0, DP)
    out = head * N + rows
    first = tl.load(group + out, mask=valid, other=0)
    leader = tl.load(best + out, mask=valid, other=float("inf"))
    outside = tl.load(second + out, mask=valid, other=float("inf"))
    for s in tl.static_range(1, S):
        there = tl.num_programs(1).to(tl.int64) * s * N + out
        score = tl.load(best + there, mask=valid, other=float("inf"))
        closer = score < leader
        runner_up = tl.load(second + there, mask=valid, other=float("inf"))
        outside = tl.minimum(tl.maximum(leader, score), tl.minimum(outside, runner_up))
        first = tl.where(closer, tl.load(group + there, mask=valid, other=0), first)
        leader = tl.where(closer, score, leader)
    scale = tl.load(limits + head * 8)
    raw = _load_rows(x + head * stride_h, rows, valid, stride_n, stride_d, D, DP)
    tolerance = (D + 8) * UNIT
    upper = tl.full((BN,), float("inf"), tl.float32)
    inside = upper
    chosen_lower = upper
    chosen_distance = upper
    chosen = first
    for u in tl.range(0, U, num_stages=1):  # unrolled, 8 candidates spill
        code = first + u * BK
        usable = (code < K) & (tl.load(offsets + head * KP + code) < float("inf"))
        entries = tl.load(
            codebook + (head * K + tl.where(usable, code, 0))[:, None] * D + dims[None, :],
            mask=usable[:, None] & (dims < D)[None, :],
            other=0.0,
        ).to(tl.float32)
        difference = (raw - entries) * scale
        squared = tl.sum(difference * difference, axis=1)
        rounding = tolerance * squared
        objective = squared
        if HAS_BIAS:
            shift = tl.load(bias + head * K + code, mask=usable, other=0.0).to(tl.float32) * scale * scale
            objective += shift
            rounding += tolerance * tl.abs(shift)
        lower = tl.where(usable, objective - rounding, float("inf"))
        highest = tl.where(usable, objective + rounding, float("inf"))
        closer = highest < upper
        inside = tl.minimum(inside, tl.where(closer, chosen_lower, lower))
        chosen_lower = tl.where(closer, lower, chosen_lower)
        chosen_distance = tl.where(closer, squared, chosen_distance)
        chosen = tl.where(closer, code, chosen)
        upper = tl.where(closer, highest, upper)
    if CERTIFIED:
        E = tl.load(bound + out, mask=valid, other=0.0)
        squared_norm = tl.load(square + out, mask=valid, other=0.0)
        settled = (outside - E + squared_norm * (1.0 - tolerance) > upper) & (inside > upper)
    else:
        settled = (leader < float("inf")) & (leader > float("-inf")) & (upper < float("inf"))
    tl.store(index + out, chosen.to(tl.int64), mask=valid)
    tl.store(distance + out, chosen_distance / scale / scale, mask=valid)
    _append(rows, valid & ~settled, listed + head * N, count + head * 2)


@triton.jit
def rescore_split(
    x, centre, codes_high, codes_low, offsets, limits, codebook, index, distance, listed, count, still_listed,
    N, K, KP, stride_h, stride_n, stride_d,
    D: tl.constexpr, DP: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Tier 1: the listed rows again with high and low halves, three products a score; lists what is still open.

    The length of the list is read on the device: a fixed number of programs share it, and the host never waits.
    """
    head = tl.program_id(1).to(tl.int64)
    dims = tl.arange(0, DP)
    columns = tl.arange(0, BK)
    column = tl.broadcast_to(columns[None, :], (BN, BK))
    nowhere = tl.full((BN, BK), float("inf"), tl.float32)
    scale = tl.load(limits + head * 8)
    largest_norm = tl.load(limits + head * 8 + 1)
    largest_loss = tl.load(limits + head * 8 + 3)
    largest_low = tl.load(limits + head * 8 + 4)
    largest_offset = tl.load(limits + head * 8 + 5)
    num_open = tl.load(count + head * 2)
    for start in tl.range(tl.program_id(0) * BN, num_open, tl.num_programs(0) * BN):
        place = start + tl.arange(0, BN)
        valid = place < num_open
        rows = tl.load(listed + head * N + place, mask=valid, other=0)
        raw = _load_rows(x + head * stride_h, rows, valid, stride_n, stride_d, D, DP)
        X, up, down = _centre_and_scale(raw, valid, centre + head * D, scale, D, DP)
        scaled = X * up[:, None]
        high = scaled.to(tl.float16)
        low = (scaled - high.to(tl.float32)).to(tl.float16)
        lost = (scaled - high.to(tl.float32) - low.to(tl.float32)) * down[:, None]
        low_norm = tl.sqrt(tl.sum(low.to(tl.float32) * low.to(tl.float32), axis=1)) * down
        norm = tl.sqrt(tl.sum(X * X, axis=1))
        E = 2.002 * (tl.sqrt(tl.sum(lost * lost, axis=1)) * largest_norm + norm * largest_loss + low_norm * largest_low)
        E += _slack(norm, largest_norm, largest_offset, DP + 12)  # the products with a low half are summed first
        factor = -2.0 * down
        best = tl.full((BN,), float("inf"), tl.float32)
        second = best
        chosen = tl.zeros((BN,), tl.int32)
        for k in tl.range(0, KP, BK):
            there = (head * KP + k + columns)[None, :] * DP + dims[:, None]
            tile_high = tl.load(codes_high + there)
            tile_low = tl.load(codes_low + there)
            product = tl.dot(low, tile_high)
            product = tl.dot(high, tile_low, product)
            product = tl.dot(high, tile_high, product)
            score = product * factor[:, None] + tl.load(offsets + head * KP + k + columns)[None, :]
            tile_best, tile_column, tile_second = tl.reduce((score, column, nowhere), 1, _two_smallest)
            closer = tile_best < best
            second = tl.minimum(tl.maximum(best, tile_best), tl.minimum(second, tile_second))
            best = tl.where(closer, tile_best, best)
            chosen = tl.where(closer, tile_column + k, chosen)
        settled = valid & (second - best > 2.0 * E) & (chosen < K)
        entries = tl.load(
            codebook + (head * K + tl.where(settled, chosen, 0))[:, None] * D + dims[None, :],
            mask=settled[:, None] & (dims < D)[None, :],
            other=0.0,
        ).to(tl.float32)
        raw = _load_rows(x + head * stride_h, rows, valid, stride_n, stride_d, D, DP)
        difference = (raw - entries) * scale
        squared = tl.sum(tl.where((dims < D)[None, :], difference * difference, 0.0), axis=1)
        tl.store(index + head * N + rows, chosen.to(tl.int64), mask=settled)
        tl.store(distance + head * N + rows, squared / scale / scale, mask=settled)
        _append(rows, valid & ~settled, still_listed + head * N, count + head * 2 + 1)


@triton.jit
def rescan_float64(
    x, codebook, bias, offsets, index, distance, listed, count, which, N, K, KP, stride_h, stride_n, stride_d,
    D: tl.constexpr, BD: tl.constexpr, BK: tl.constexpr, HAS_BIAS: tl.constexpr,
):  # fmt: skip
    """Tier 2: direct differences in float64, one listed row at a time, the lowest index on ties.

    A row that no code has a distance to (not finite, or no usable code) gets index 0 and distance NaN.
    """
    head = tl.program_id(1).to(tl.int64)
    codes = tl.arange(0, BK)
    num_open = tl.load(count + head * 2 + which)
    for place in tl.range(tl.program_id(0), num_open, tl.num_programs(0)):
        row = tl.load(listed + head * N + place).to(tl.int64)
        best = tl.full((BK,), float("inf"), tl.float64)
        best_distance = best
        chosen = tl.full((BK,), NO_CODE, tl.int32)
        for k in tl.range(0, K, BK):
            code = k + codes
            usable = (code < K) & (tl.load(offsets + head * KP + code, mask=code < K, other=0.0) < float("inf"))
            squared = tl.zeros((BK,), tl.float64)
            for d in tl.range(0, D, BD):
                dims = d + tl.arange(0, BD)
                place_in_row = row * stride_n + dims.to(tl.int64) * stride_d
                value = tl.load(x + head * stride_h + place_in_row, mask=dims < D, other=0.0)
                entries = tl.load(
                    codebook + (head * K + code)[:, None] * D + dims[None, :],
                    mask=usable[:, None] & (dims < D)[None, :],
                    other=0.0,
                )
                difference = value.to(tl.float64)[None, :] - entries.to(tl.float64)
                squared += tl.sum(tl.where((dims < D)[None, :], difference * difference, 0.0), axis=1)
            objective = squared
            if HAS_BIAS:
                objective += tl.load(bias + head * K + code, mask=usable, other=0.0).to(tl.float64)
            closer = usable & (objective < best)
            chosen = tl.where(closer, code, chosen)
            best_distance = tl.where(closer, squared, best_distance)
            best = tl.where(closer, objective, best)
        winner = tl.min(tl.where(best == tl.min(best, axis=0), chosen, NO_CODE), axis=0)
        squared_best = tl.min(tl.where(chosen == winner, best_distance, float("inf")), axis=0)
        undefined = winner == NO_CODE
        tl.store(index + head * N + row, tl.where(undefined, 0, winner).to(tl.int64))
        tl.store(distance + head * N + row, tl.where(undefined, float("nan"), squared_best).to(tl.float32))
