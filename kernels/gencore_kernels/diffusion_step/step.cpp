// For float32 on the CPU: a diffusion step, in which every tensor is read once and the result written once, and the
// order statistics that a dynamic threshold needs.
//
//     o = uncond + guidance (out - uncond);  x0 = clamp(kx x + ko o, +-radius) / scale;  y = p0 x0 + px x + po o + sigma z
//
// A coefficient of exactly 0 leaves its term out, whatever it would multiply. Without uncond, o = out.

#include "../vectors.hpp"

#include <cmath>
#include <utility>

namespace {

constexpr int64_t BLOCK = 32768;  // magnitudes counted at a time: no lane's count overflows

struct Row {  // table.py's StepRow, and what x0 is divided by after its clamp
  float kx, ko, p0, px, po, sigma, radius, guidance, scale;
};

struct Coefficient {
  Numbers number;
  bool present;
  explicit Coefficient(float value) : number(all(value)), present(value != 0) {}
  Numbers operator()(Numbers value) const { return present ? number * value : Numbers{}; }
};

template <bool guided, bool estimate>
void write(const float* x, const float* out, const float* uncond, const float* noise, float* y, Row row, int64_t n) {
  const Coefficient kx(row.kx), ko(row.ko), p0(row.p0), px(row.px), po(row.po), sigma(row.sigma);
  const Numbers lowest = all(-row.radius), highest = all(row.radius), shrink = all(1 / row.scale);
  const auto write_lanes = [&](int64_t i, int64_t count) __attribute__((always_inline)) {
    const Numbers sample = load(x + i, count);
    Numbers o = load(out + i, count);
    if constexpr (guided) {
      const Numbers u = load(uncond + i, count);
      o = u + row.guidance * (o - u);
    }
    Numbers result = kx(sample) + ko(o);
    if constexpr (!estimate) {
      const Numbers x0 = shrink * clamp(result, lowest, highest);
      result = p0(x0) + (px(sample) + po(o) + sigma(load(noise + i, count)));
    }
    store(y + i, result, count);
  };
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) write_lanes(i, LANES);
  if (i < n) write_lanes(i, n - i);
}

// Elements begin to end of tensors (batch, n).
template <bool guided, bool estimate>
void write_range(const float* x, const float* out, const float* uncond, const float* noise, float* y, const Row* rows,
                 int64_t n, int64_t begin, int64_t end) {
  while (begin < end) {
    const int64_t sample = begin / n, i = begin, count = std::min(end, (sample + 1) * n) - i;
    write<guided, estimate>(x + i, out + i, guided ? uncond + i : uncond, estimate ? noise : noise + i, y + i,
                            rows[sample], count);
    begin += count;
  }
}

// |x| as its bits, which are ordered as it is; NaN comes last.
Integers magnitude_bits(Numbers x) { return (Integers)magnitude(x); }
constexpr int32_t INFINITE = 0x7f800000;

// Calls `visit` with the magnitudes of x (n), those of NaN in places that are left over.
template <typename Visit>
void visit_magnitudes(const float* x, int64_t n, Visit visit) {
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) visit(magnitude_bits(load(x + i)));
  if (i == n) return;
  float rest[LANES];
  std::fill_n(rest, LANES, NAN);
  std::copy(x + i, x + n, rest);
  visit(magnitude_bits(load(rest)));
}

int64_t count_below(const float* x, int64_t n, int32_t limit) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += BLOCK) {
    Integers found{};
    visit_magnitudes(x + i, std::min(BLOCK, n - i), [&](Integers value) { found -= value < limit; });
    for (int64_t lane = 0; lane < LANES; ++lane) count += found[lane];
  }
  return count;
}

int32_t smallest_from(const float* x, int64_t n, int32_t limit) {
  Integers smallest = all(INFINITE);
  visit_magnitudes(x, n, [&](Integers value) {
    const Integers candidate = value < limit ? smallest : value;
    smallest = candidate < smallest ? candidate : smallest;
  });
  int32_t lanes[LANES];
  store(lanes, smallest);
  return *std::min_element(lanes, lanes + LANES);
}

// The order statistics `below` and `below + 1` of |x| (n), as bits. Bisects what a magnitude can be, until [from, to) has
// one value of x or is one value.
std::pair<int32_t, int32_t> select(const float* x, int64_t n, int64_t below) {
  int32_t from = 0, to = INFINITE + 1;
  int64_t before = 0, reached = count_below(x, n, to);
  if (reached < n) return {to, to};
  while (to - from > 1 && reached - before > 1) {
    const int32_t middle = from + (to - from) / 2;
    const int64_t count = count_below(x, n, middle);
    (count > below ? to : from) = middle;
    (count > below ? reached : before) = count;
  }
  const int32_t low = smallest_from(x, n, from);
  return {low, reached > below + 1 ? low : smallest_from(x, n, to)};
}

}  // namespace

// y: the next sample, elements begin to end. Tensors (batch, n), contiguous; rows (batch); uncond may be null.
KERNEL diffusion_step(const float* x, const float* out, const float* uncond, const float* noise, float* y,
                      const Row* rows, int64_t n, int64_t begin, int64_t end) {
  (uncond ? write_range<true, false> : write_range<false, false>)(x, out, uncond, noise, y, rows, n, begin, end);
}

// y: x0 before its clamp; noise is not read.
KERNEL diffusion_estimate(const float* x, const float* out, const float* uncond, const float* noise, float* y,
                          const Row* rows, int64_t n, int64_t begin, int64_t end) {
  (uncond ? write_range<true, true> : write_range<false, true>)(x, out, uncond, noise, y, rows, n, begin, end);
}

// low and high (batch): the order statistics `below` and `below + 1`, from 0, of |x| (batch, n), of samples begin to end.
// Both NaN where x has one.
KERNEL order_statistics(const float* x, float* low, float* high, int64_t below, int64_t n, int64_t begin, int64_t end) {
  for (int64_t b = begin; b < end; ++b) {
    const auto found = select(x + b * n, n, below);
    std::memcpy(low + b, &found.first, sizeof(float));
    std::memcpy(high + b, &found.second, sizeof(float));
  }
}
