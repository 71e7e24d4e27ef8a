// For float32 on the CPU: torch_path.py's sums over pairs, in blocks of pairs that stay in the first-level cache.
//
// With d_ij = sum_c |m_ic - m_jc| and k_ij = exp(-d_ij), of one feature:
//
//     forward   o_i = sum_j k_ij                 backward   gM_ic = sum_j (g_i + g_j) k_ij sign(m_jc - m_ic)

#include <ATen/Parallel.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace {

using Numbers = at::vec::Vectorized<float>;
constexpr int64_t LANES = Numbers::size();
constexpr int64_t VECTORS = 4;  // of samples i: as many chains of additions
constexpr int64_t OWN = VECTORS * LANES;
constexpr int64_t OTHERS = 64;  // samples j of a block
static_assert(OTHERS % OWN == 0);
constexpr int64_t GRAIN = 32768;  // terms below which another thread costs more than it saves

using Row = std::array<Numbers, VECTORS>;  // one number for each of OWN samples

struct Feature {
  const float* m;  // (channels, samples)
  int64_t channels, samples;
};

// Some samples of a feature, zeros past its last: values (channels, OWN).
struct Own {
  int64_t first, count;
  std::vector<float> values;

  Own(Feature feature, int64_t first)
      : first(first), count(std::min(OWN, feature.samples - first)), values(feature.channels * OWN) {
    for (int64_t c = 0; c < feature.channels; ++c)
      std::copy_n(feature.m + c * feature.samples + first, count, values.begin() + c * OWN);
  }
};

// Calls visit(feature, its number, own) for all own samples of all features of m (features, channels, samples).
template <typename Visit>
void each_own(const float* m, int64_t features, int64_t channels, int64_t samples, Visit visit) {
  const int64_t blocks = (samples + OWN - 1) / OWN, terms = std::max<int64_t>(1, OWN * samples * channels);
  at::parallel_for(0, features * blocks, std::max<int64_t>(1, GRAIN / terms), [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t number = block / blocks;
      const Feature feature{m + number * channels * samples, channels, samples};
      visit(feature, number, Own(feature, block % blocks * OWN));
    }
  });
}

// Adds term(a row of `rows`, its place) to sums (OWN), for `count` rows one after another.
template <typename Term>
[[gnu::always_inline]] inline void add_rows(const float* rows, int64_t count, float* sums, Term term) {
  Row total;
  total.fill(Numbers(0.0f));
  for (int64_t j = 0; j < count; ++j)
    for (int64_t v = 0; v < VECTORS; ++v)
      total[v] = total[v] + term(Numbers::loadu(rows + j * OWN + v * LANES), j, v * LANES);
  for (int64_t v = 0; v < VECTORS; ++v) (Numbers::loadu(sums + v * LANES) + total[v]).store(sums + v * LANES);
}

// k (count, OWN): of samples j from `first` on with the own samples.
void closeness(Feature feature, const Own& own, int64_t first, int64_t count, float* k) {
  for (int64_t j = 0; j < count; ++j) {
    Row distance;
    distance.fill(Numbers(0.0f));
    for (int64_t c = 0; c < feature.channels; ++c) {
      const Numbers other(feature.m[c * feature.samples + first + j]);
      for (int64_t v = 0; v < VECTORS; ++v)
        distance[v] = distance[v] + (other - Numbers::loadu(own.values.data() + c * OWN + v * LANES)).abs();
    }
    for (int64_t v = 0; v < VECTORS; ++v) {
      const Numbers near = distance[v].neg().exp_u20();  // a number where the distance is NaN
      Numbers::blendv(near, distance[v], distance[v].isnan()).store(k + j * OWN + v * LANES);
    }
  }
}

// +1, 0 or -1 as `number` is above, at or below 0.
Numbers sign(Numbers number) {
  return ((number & Numbers(-0.0f)) | Numbers(1.0f)) & (number != Numbers(0.0f));
}

}  // namespace

// m (features, channels, samples) -> sums (features, samples); i = j is left out unless include_self.
extern "C" C10_EXPORT void forward(const float* m, float* sums, int64_t include_self, int64_t features, int64_t channels,
                                   int64_t samples) {
  each_own(m, features, channels, samples, [&](Feature feature, int64_t number, const Own& own) {
    std::array<float, OTHERS * OWN> k;
    std::array<float, OWN> total{};
    for (int64_t j = 0; j < samples; j += OTHERS) {
      const int64_t count = std::min(OTHERS, samples - j);
      closeness(feature, own, j, count, k.data());
      if (!include_self && own.first / OTHERS == j / OTHERS)
        for (int64_t i = 0; i < own.count; ++i) k[(own.first - j + i) * OWN + i] = 0.0f;
      add_rows(k.data(), count, total.data(), [](Numbers row, int64_t, int64_t) { return row; });
    }
    std::copy_n(total.begin(), own.count, sums + number * samples + own.first);
  });
}

// m (features, channels, samples), g (features, samples) -> grad_m (features, channels, samples).
extern "C" C10_EXPORT void backward(const float* m, const float* g, float* grad_m, int64_t features, int64_t channels,
                                    int64_t samples) {
  each_own(m, features, channels, samples, [&](Feature feature, int64_t number, const Own& own) {
    std::array<float, OTHERS * OWN> weight;
    std::vector<float> sums(channels * OWN);
    const float* feature_g = g + number * samples;
    std::array<float, OWN> own_g{};
    std::copy_n(feature_g + own.first, own.count, own_g.begin());
    for (int64_t j = 0; j < samples; j += OTHERS) {
      const int64_t count = std::min(OTHERS, samples - j);
      closeness(feature, own, j, count, weight.data());
      for (int64_t row = 0; row < count; ++row)
        for (int64_t i = 0; i < OWN; i += LANES) {
          float* place = weight.data() + row * OWN + i;
          (Numbers::loadu(place) * (Numbers::loadu(own_g.data() + i) + Numbers(feature_g[j + row]))).store(place);
        }
      for (int64_t c = 0; c < channels; ++c) {
        const float *others = feature.m + c * samples + j, *mine = own.values.data() + c * OWN;
        add_rows(weight.data(), count, sums.data() + c * OWN, [&](Numbers row, int64_t place, int64_t i) {
          return sign(Numbers(others[place]) - Numbers::loadu(mine + i)) * row;
        });
      }
    }
    for (int64_t c = 0; c < channels; ++c)
      std::copy_n(sums.begin() + c * OWN, own.count, grad_m + (number * channels + c) * samples + own.first);
  });
}
