// For float32 on the CPU: a diffusion step, in which every tensor is read once and the result written once, and the
// order statistics that a dynamic threshold needs.
//
//     o = uncond + guidance (out - uncond);  x0 = clamp(kx x + ko o, +-radius) / scale;  y = p0 x0 + px x + po o + sigma z
//
// A coefficient of exactly 0 leaves its term out, whatever it would multiply. Without uncond, o = out.

#include <ATen/Parallel.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <utility>

namespace {

using Numbers = at::vec::Vectorized<float>;
using Integers = at::vec::Vectorized<int32_t>;
constexpr int64_t LANES = Numbers::size();
static_assert(LANES == Integers::size());
constexpr int64_t GRAIN = 32768;  // elements below which another thread costs more than it saves

struct Row {  // table.py's StepRow, and what x0 is divided by after its clamp
  float kx, ko, p0, px, po, sigma, radius, guidance, scale;
};

struct Coefficient {
  Numbers number;
  bool present;
  explicit Coefficient(float value) : number(value), present(value != 0) {}
  Numbers operator()(Numbers value) const { return present ? number * value : Numbers(0.0f); }
};

template <bool guided, bool estimate>
void write(const float* x, const float* out, const float* uncond, const float* noise, float* y, Row row, int64_t n) {
  const Coefficient kx(row.kx), ko(row.ko), p0(row.p0), px(row.px), po(row.po), sigma(row.sigma);
  const Numbers lowest(-row.radius), highest(row.radius), guidance(row.guidance), shrink(1 / row.scale);
  for (int64_t i = 0; i < n; i += Numbers::size()) {
    const int64_t count = std::min<int64_t>(Numbers::size(), n - i);
    const Numbers sample = Numbers::loadu(x + i, count);
    Numbers o = Numbers::loadu(out + i, count);
    if constexpr (guided) {
      const Numbers u = Numbers::loadu(uncond + i, count);
      o = u + guidance * (o - u);
    }
    Numbers result = kx(sample) + ko(o);
    if constexpr (!estimate) {
      const Numbers x0 = shrink * at::vec::clamp(result, lowest, highest);
      result = p0(x0) + (px(sample) + po(o) + sigma(Numbers::loadu(noise + i, count)));
    }
    result.store(y + i, count);
  }
}

template <bool guided, bool estimate>
void write_batch(const float* x, const float* out, const float* uncond, const float* noise, float* y, const Row* rows,
                 int64_t batch, int64_t n) {
  at::parallel_for(0, batch, std::max<int64_t>(1, GRAIN / n), [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      at::parallel_for(b * n, (b + 1) * n, GRAIN, [&](int64_t i, int64_t end) {
        write<guided, estimate>(x + i, out + i, guided ? uncond + i : uncond, estimate ? noise : noise + i, y + i,
                                rows[b], end - i);
      });
    }
  });
}

// |x| as its bits, which are ordered as it is; NaN comes last.
Integers magnitudes(Numbers x) { return at::vec::cast<int32_t>(x) & Integers(0x7fffffff); }
constexpr int32_t INFINITE = 0x7f800000;

// Calls `visit` with the magnitudes of x (n), those of NaN in places that are left over.
template <typename Visit>
void visit_magnitudes(const float* x, int64_t n, Visit visit) {
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) visit(magnitudes(Numbers::loadu(x + i)));
  if (i == n) return;
  float rest[LANES];
  std::fill_n(rest, LANES, NAN);
  std::copy(x + i, x + n, rest);
  visit(magnitudes(Numbers::loadu(rest)));
}

int64_t count_below(const float* x, int64_t n, int32_t limit) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += GRAIN) {
    Integers found(0);
    visit_magnitudes(x + i, std::min(GRAIN, n - i), [&](Integers value) { found = found - (value < Integers(limit)); });
    int32_t lanes[LANES];
    found.store(lanes);
    count = std::accumulate(lanes, lanes + LANES, count);
  }
  return count;
}

int32_t smallest_from(const float* x, int64_t n, int32_t limit) {
  Integers smallest(INFINITE);
  visit_magnitudes(x, n, [&](Integers value) {
    smallest = at::vec::minimum(smallest, Integers::blendv(value, smallest, value < Integers(limit)));
  });
  int32_t lanes[LANES];
  smallest.store(lanes);
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

// y: the next sample. Tensors (batch, n), contiguous; rows (batch); uncond may be null.
extern "C" C10_EXPORT void step(const float* x, const float* out, const float* uncond, const float* noise, float* y,
                                const Row* rows, int64_t batch, int64_t n) {
  (uncond ? write_batch<true, false> : write_batch<false, false>)(x, out, uncond, noise, y, rows, batch, n);
}

// y: x0 before its clamp; noise is not read.
extern "C" C10_EXPORT void estimate(const float* x, const float* out, const float* uncond, const float* noise, float* y,
                                    const Row* rows, int64_t batch, int64_t n) {
  (uncond ? write_batch<true, true> : write_batch<false, true>)(x, out, uncond, noise, y, rows, batch, n);
}

// low and high (batch): the order statistics `below` and `below + 1`, from 0, of |x| (batch, n). Both NaN where x has one.
extern "C" C10_EXPORT void order_statistics(const float* x, float* low, float* high, int64_t below, int64_t batch,
                                            int64_t n) {
  at::parallel_for(0, batch, std::max<int64_t>(1, GRAIN / n), [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      const auto found = select(x + b * n, n, below);
      std::memcpy(low + b, &found.first, sizeof(float));
      std::memcpy(high + b, &found.second, sizeof(float));
    }
  });
}
