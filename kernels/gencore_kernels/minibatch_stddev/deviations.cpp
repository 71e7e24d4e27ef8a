// For float32 on the CPU: torch_path.py's statistic of a group and its gradient, a few elements of all members at a time,
// which stay in the first-level cache.
//
// x (members, groups, features, length), the members of a group being samples m, m + groups, ...: with x~_g = x_g - mean
// and sigma = sqrt(mean_g x~_g^2 + eps), of each element,
//
//     forward   s = mean of sigma over the length     backward   gx_g = t x~_g / (length members sigma)

#include "../vectors.hpp"

namespace {

constexpr int64_t VECTORS = 4;  // of elements: as many chains of additions
constexpr int64_t BLOCK = VECTORS * LANES;

struct Layout {
  int64_t members, groups, features, length;
  // Where the run of a member's feature starts in a tensor whose samples have `extra` numbers more.
  int64_t start(int64_t member, int64_t group, int64_t feature, int64_t extra = 0) const {
    return (member * groups + group) * (features * length + extra) + feature * length;
  }
};

// Some elements of all members of a group: their mean and deviation.
struct Block {
  Numbers mean[VECTORS], deviation[VECTORS];
  int64_t counts[VECTORS];

  Block(const float* x, const Layout& layout, int64_t group, int64_t feature, int64_t first, float eps) {
    for (int64_t v = 0; v < VECTORS; ++v) {
      counts[v] = std::clamp<int64_t>(layout.length - first - v * LANES, 0, LANES);
      mean[v] = deviation[v] = Numbers{};
    }
    const float share = 1.0f / layout.members;
    for (int64_t g = 0; g < layout.members; ++g) {
      const float* from = x + layout.start(g, group, feature) + first;
      for (int64_t v = 0; v < VECTORS; ++v) mean[v] += load(from + v * LANES, counts[v]);
    }
    for (int64_t v = 0; v < VECTORS; ++v) mean[v] *= share;
    for (int64_t g = 0; g < layout.members; ++g) {
      const float* from = x + layout.start(g, group, feature) + first;
      for (int64_t v = 0; v < VECTORS; ++v) {
        const Numbers centred = load(from + v * LANES, counts[v]) - mean[v];
        deviation[v] = multiply_add(centred, centred, deviation[v]);
      }
    }
    for (int64_t v = 0; v < VECTORS; ++v) deviation[v] = square_root(deviation[v] * share + eps);
  }
};

// Calls visit(group, feature) for those begin to end.
template <typename Visit>
void each_feature(const Layout& layout, int64_t begin, int64_t end, Visit visit) {
  for (int64_t place = begin; place < end; ++place) visit(place / layout.features, place % layout.features);
}

}  // namespace

// statistic (groups, features), of those begin to end. result, unless null, has samples of features * (length + plane)
// numbers: x's own, then the statistic `plane` times for each feature.
KERNEL minibatch_stddev(const float* x, float* statistic, float* result, double eps, int64_t members, int64_t groups,
                        int64_t features, int64_t length, int64_t plane, int64_t begin, int64_t end) {
  const Layout layout{members, groups, features, length};
  each_feature(layout, begin, end, [&](int64_t group, int64_t feature) {
    double total = 0.0;
    for (int64_t e = 0; e < length; e += BLOCK) {
      const Block block(x, layout, group, feature, e, static_cast<float>(eps));
      Numbers sums{};
      for (int64_t v = 0; v < VECTORS; ++v)
        sums += block.counts[v] == LANES ? block.deviation[v] : [&] {
          Numbers rest{};
          for (int64_t lane = 0; lane < block.counts[v]; ++lane) rest[lane] = block.deviation[v][lane];
          return rest;
        }();
      total += sum(sums);
      if (result)
        for (int64_t g = 0; g < members; ++g)
          std::copy_n(x + layout.start(g, group, feature) + e, std::min(BLOCK, length - e),
                      result + layout.start(g, group, feature, features * plane) + e);
    }
    const float found = static_cast<float>(total / length);
    statistic[group * features + feature] = found;
    if (result)
      for (int64_t g = 0; g < members; ++g)
        std::fill_n(result + layout.start(g, group, 0, features * plane) + features * length + feature * plane, plane,
                    found);
  });
}

// grad_x (as x) of groups and features begin to end: t x~ / (length members sigma), and grad's part for x itself where
// `passed` says that grad (samples of features * (length + plane) numbers, or features * plane) has one.
KERNEL minibatch_stddev_backward(const float* grad, const float* x, float* grad_x, double eps, int64_t passed,
                                 int64_t members, int64_t groups, int64_t features, int64_t length, int64_t plane,
                                 int64_t begin, int64_t end) {
  const Layout layout{members, groups, features, length};
  const int64_t own = passed ? features * length : 0, stride = own + features * plane;
  each_feature(layout, begin, end, [&](int64_t group, int64_t feature) {
    double total = 0.0;
    for (int64_t g = 0; g < members; ++g) {
      const float* planes = grad + (g * groups + group) * stride + own + feature * plane;
      for (int64_t e = 0; e < plane; ++e) total += planes[e];
    }
    const float scale = static_cast<float>(total / (static_cast<double>(length) * members));
    for (int64_t e = 0; e < length; e += BLOCK) {
      const Block block(x, layout, group, feature, e, static_cast<float>(eps));
      Numbers factor[VECTORS];
      for (int64_t v = 0; v < VECTORS; ++v) factor[v] = scale / block.deviation[v];
      for (int64_t g = 0; g < members; ++g) {
        const int64_t place = layout.start(g, group, feature) + e;
        const float* through = grad + (g * groups + group) * stride + feature * length + e;
        for (int64_t v = 0; v < VECTORS; ++v) {
          const int64_t i = v * LANES, count = block.counts[v];
          Numbers value = (load(x + place + i, count) - block.mean[v]) * factor[v];
          if (passed) value += load(through + i, count);
          store(grad_x + place + i, value, count);
        }
      }
    }
  });
}
