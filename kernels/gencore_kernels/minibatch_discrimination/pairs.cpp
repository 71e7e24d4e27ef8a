// For float32 on the CPU: torch_path.py's sums over pairs, in blocks of pairs that stay in the first-level cache.
//
// With d_ij = sum_c |m_ic - m_jc| and k_ij = exp(-d_ij), of one feature:
//
//     forward   o_i = sum_j k_ij                 backward   gM_ic = sum_j (g_i + g_j) k_ij sign(m_jc - m_ic)

#include "../vectors.hpp"

#include <array>
#include <vector>

namespace {

constexpr int64_t VECTORS = 4;  // of samples i: as many chains of additions
constexpr int64_t OWN = VECTORS * LANES;
constexpr int64_t OTHERS = 64;  // samples j of a block
static_assert(OTHERS % OWN == 0);

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

// Calls visit(feature, its number, own) for all own samples of features begin to end of m (features, channels, samples).
template <typename Visit>
void each_own(const float* m, int64_t channels, int64_t samples, int64_t begin, int64_t end, Visit visit) {
  for (int64_t number = begin; number < end; ++number) {
    const Feature feature{m + number * channels * samples, channels, samples};
    for (int64_t first = 0; first < samples; first += OWN) visit(feature, number, Own(feature, first));
  }
}

// Adds term(a row of `rows`, its place) to sums (OWN), for `count` rows one after another.
template <typename Term>
[[gnu::always_inline]] inline void add_rows(const float* rows, int64_t count, float* sums, Term term) {
  Row total;
  total.fill(Numbers{});
  for (int64_t j = 0; j < count; ++j)
    for (int64_t v = 0; v < VECTORS; ++v)
      total[v] += term(load(rows + j * OWN + v * LANES), j, v * LANES);
  for (int64_t v = 0; v < VECTORS; ++v) store(sums + v * LANES, load(sums + v * LANES) + total[v]);
}

// exp(-distance) for a distance of at least 0, to 3 units in the last place; 0 where it is below 2^-126, NaN for NaN.
// 2^k (1 + r + r^2 p(r)): adding `round` leaves the whole number k in the last bits.
Numbers exp_of_minus(Numbers distance) {
  const Numbers round = all(12582912.0f), x = larger(all(-88.03f), -distance);
  const Numbers shifted = multiply_add(x, all(1.44269504f), round), k = shifted - round;
  const Numbers r = multiply_add(k, all(2.12194440e-4f), multiply_add(k, all(-0.693359375f), x));
  Numbers p = multiply_add(r, all(0.00831250101f), all(0.0418903306f));
  p = multiply_add(r, p, all(0.166671157f));
  p = multiply_add(r, p, all(0.499992311f));
  p = multiply_add(r * r, p, r) + 1.0f;
  return p * (Numbers)(((Integers)shifted + 127) << 23);
}

// k (count, OWN): of samples j from `first` on with the own samples.
void closeness(Feature feature, const Own& own, int64_t first, int64_t count, float* k) {
  for (int64_t j = 0; j < count; ++j) {
    Row distance;
    distance.fill(Numbers{});
    for (int64_t c = 0; c < feature.channels; ++c) {
      const float other = feature.m[c * feature.samples + first + j];
      for (int64_t v = 0; v < VECTORS; ++v)
        distance[v] += magnitude(other - load(own.values.data() + c * OWN + v * LANES));
    }
    for (int64_t v = 0; v < VECTORS; ++v) store(k + j * OWN + v * LANES, exp_of_minus(distance[v]));
  }
}

// +1, 0 or -1 as `number` is above, at or below 0.
Numbers sign(Numbers number) {
  const Integers one = ((Integers)number & INT32_MIN) | (Integers)all(1.0f);
  return (Numbers)(one & (number != 0.0f));
}

}  // namespace

// m (features, channels, samples) -> sums (features, samples), of features begin to end; i = j is left out unless
// include_self.
KERNEL discrimination(const float* m, float* sums, int64_t include_self, int64_t channels, int64_t samples, int64_t begin,
                      int64_t end) {
  each_own(m, channels, samples, begin, end, [&](Feature feature, int64_t number, const Own& own) {
    alignas(Numbers) std::array<float, OTHERS * OWN> k;
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

// m (features, channels, samples), g (features, samples) -> grad_m (features, channels, samples), of features begin to
// end.
KERNEL discrimination_backward(const float* m, const float* g, float* grad_m, int64_t channels, int64_t samples,
                               int64_t begin, int64_t end) {
  each_own(m, channels, samples, begin, end, [&](Feature feature, int64_t number, const Own& own) {
    alignas(Numbers) std::array<float, OTHERS * OWN> weight;
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
          store(place, load(place) * (load(own_g.data() + i) + feature_g[j + row]));
        }
      for (int64_t c = 0; c < channels; ++c) {
        const float *others = feature.m + c * samples + j, *mine = own.values.data() + c * OWN;
        add_rows(weight.data(), count, sums.data() + c * OWN, [&](Numbers row, int64_t place, int64_t i) {
          return sign(others[place] - load(mine + i)) * row;
        });
      }
    }
    for (int64_t c = 0; c < channels; ++c)
      std::copy_n(sums.begin() + c * OWN, own.count, grad_m + (number * channels + c) * samples + own.first);
  });
}
