// A diffusion step for float32 on the CPU: every tensor is read once and the result written once.
//
//     o = uncond + guidance (out - uncond);  x0 = clamp(kx x + ko o, +-radius) / scale;  y = p0 x0 + px x + po o + sigma z
//
// A coefficient of exactly 0 leaves its term out, whatever it would multiply. Without uncond, o = out.

#include <ATen/Parallel.h>
#include <ATen/cpu/vec/vec.h>

namespace {

using Numbers = at::vec::Vectorized<float>;
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
