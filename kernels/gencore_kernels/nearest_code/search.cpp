// For float32 on the CPU: what torch_path.py does, in tiles of the product that never leave the registers.
//
// Scores s_k = offset_k + X . weights_k with X = (x - centre) * scale. `search` finds the smallest of a row, its code and
// the second smallest; `candidates` lists the codes to compare for the rows that this leaves open.

#include "../vectors.hpp"

#include <cmath>
#include <limits>
#include <vector>

namespace {

constexpr int64_t CODES = 2 * LANES;                  // of a tile
constexpr int64_t ROWS = REGISTERS == 32 ? 12 : 6;    // of a tile: its sums and what is added to them fill the registers
constexpr int64_t BLOCK = 1 << 16;                    // numbers of a block of codes, which stays in the second-level cache,
constexpr int64_t BLOCK_CODES = 1024;                 // unless that is fewer codes: every block packs the rows again
constexpr int64_t PANELS = 48 / ROWS;                 // panels of rows that share a tile
constexpr float INFINITE = std::numeric_limits<float>::infinity();

struct Problem {
  const float *x, *centre, *weights, *offsets;  // (rows, dim), (dim), (codes, dim), (codes); codes a multiple of CODES
  const double* scale;
  int64_t codes, dim;
};

// weights (count, dim) as tiles (count / CODES, dim, CODES).
void pack_codes(const float* weights, int64_t count, int64_t dim, float* tiles) {
  for (int64_t k = 0; k < count; ++k)
    for (int64_t d = 0; d < dim; ++d) tiles[(k / CODES * dim + d) * CODES + k % CODES] = weights[k * dim + d];
}

// X of one row into a panel (dim, ROWS); returns ||X||^2.
float pack_row(const Problem& problem, int64_t row, float* panel) {
  const float *x = problem.x + row * problem.dim, *centre = problem.centre;
  const float scale = static_cast<float>(*problem.scale);
  Numbers squares{};
  for (int64_t d = 0; d < problem.dim; d += LANES) {
    const int64_t count = std::min(LANES, problem.dim - d);
    const Numbers value = (load(x + d, count) - load(centre + d, count)) * scale;
    squares = multiply_add(value, value, squares);
    float lanes[LANES];
    store(lanes, value);
    for (int64_t lane = 0; lane < count; ++lane) panel[(d + lane) * ROWS] = lanes[lane];
  }
  return sum(squares);
}

// Calls visit(row of the panel, first code of LANES, their scores) for the codes of one tile.
template <typename Visit>
[[gnu::always_inline]] inline void visit_tile(const float* panel, const float* tile, const float* offsets, int64_t dim,
                                              int64_t first, Visit visit) {
  const Numbers start[2] = {load(offsets), load(offsets + LANES)};
  Numbers sums[ROWS][2];
#pragma GCC unroll 16
  for (int64_t r = 0; r < ROWS; ++r) sums[r][0] = start[0], sums[r][1] = start[1];
  for (int64_t d = 0; d < dim; ++d) {
    const Numbers left = load(tile + d * CODES), right = load(tile + d * CODES + LANES);
#pragma GCC unroll 16
    for (int64_t r = 0; r < ROWS; ++r) {
      const Numbers x = all(panel[d * ROWS + r]);
      sums[r][0] = multiply_add(x, left, sums[r][0]);
      sums[r][1] = multiply_add(x, right, sums[r][1]);
    }
  }
#pragma GCC unroll 16
  for (int64_t r = 0; r < ROWS; ++r) {
    visit(r, first, sums[r][0]);
    visit(r, first + LANES, sums[r][1]);
  }
}

// Runs a Panel(job, first row, rows) for every panel of rows begin to end and every block of codes: pack(numbers (dim,
// ROWS)), then visit of every tile, then finish(first code of the block). Blocks of codes follow each other in order; some
// panels share a tile while it is in the first-level cache.
template <typename Panel, typename Job>
void each_panel(const Job& job, int64_t begin, int64_t end) {
  const Problem& problem = job.problem;
  const int64_t dim = problem.dim, block = std::max(BLOCK_CODES, BLOCK / (CODES * dim) * CODES);
  std::vector<Numbers> aligned(std::min(block, problem.codes) / LANES * dim);  // no load crosses two lines of the cache
  float* const tiles = reinterpret_cast<float*>(aligned.data());
  std::vector<float> numbers(PANELS * ROWS * dim);
  std::vector<Panel> panels;
  for (int64_t first = 0; first < problem.codes; first += block) {
    const int64_t count = std::min(block, problem.codes - first);
    pack_codes(problem.weights + first * dim, count, dim, tiles);
    for (int64_t group = begin; group < end; group += PANELS * ROWS) {
      panels.clear();
      for (int64_t row = group; row < std::min(end, group + PANELS * ROWS); row += ROWS)
        panels.emplace_back(job, row, std::min(ROWS, end - row)).pack(numbers.data() + (row - group) * dim);
      for (int64_t k = 0; k < count; k += CODES) {
        const float* panel_numbers = numbers.data();
        for (Panel& panel : panels) {
          visit_tile(panel_numbers, tiles + k * dim, problem.offsets + first + k, dim, k,
                     [&](int64_t r, int64_t code, Numbers score) { panel.visit(r, first, code, score); });
          panel_numbers += ROWS * dim;
        }
      }
      for (Panel& panel : panels) panel.finish(first);
    }
  }
}

struct Search {
  const Problem& problem;
  float *best, *rival, *norm;
  int64_t* index;
};

// The two smallest scores of every lane, and where the smallest is (a code of the block, which float32 holds exactly).
struct SearchPanel {
  const Search& job;
  int64_t first_row, rows;
  Numbers smallest[ROWS], second[ROWS], where[ROWS];

  SearchPanel(const Search& job, int64_t first_row, int64_t rows) : job(job), first_row(first_row), rows(rows) {
    for (int64_t r = 0; r < ROWS; ++r) smallest[r] = second[r] = all(INFINITE), where[r] = Numbers{};
  }

  void pack(float* panel) {
    for (int64_t r = 0; r < rows; ++r) job.norm[first_row + r] = std::sqrt(pack_row(job.problem, first_row + r, panel + r));
  }

  [[gnu::always_inline]] void visit(int64_t r, int64_t, int64_t code, Numbers score) {
    where[r] = score < smallest[r] ? all(static_cast<float>(code)) : where[r];
    second[r] = smaller(larger(smallest[r], score), second[r]);
    smallest[r] = smaller(smallest[r], score);
  }

  void finish(int64_t first) {
    for (int64_t r = 0; r < rows; ++r) {
      float lowest[LANES], next[LANES], place[LANES];
      store(lowest, smallest[r]), store(next, second[r]), store(place, where[r]);
      const int64_t row = first_row + r, lane = std::min_element(lowest, lowest + LANES) - lowest;
      const float best = lowest[lane];
      lowest[lane] = INFINITE;
      const float rival = std::min(*std::min_element(lowest, lowest + LANES), *std::min_element(next, next + LANES));
      if (first == 0) job.best[row] = job.rival[row] = INFINITE;
      job.rival[row] = std::min({job.rival[row], rival, std::max(job.best[row], best)});
      if (best < job.best[row] || first == 0) job.index[row] = first + static_cast<int64_t>(place[lane]) + lane;
      job.best[row] = std::min(job.best[row], best);
    }
  }
};

struct Candidates {
  const Problem& problem;
  const float* limit;                    // (rows)
  const int64_t* open;                   // the rows to look at
  int64_t *codes, *found;                // (open rows, most) and (open rows): which, and how many, also beyond `most`
  int64_t most;
};

// The codes whose score is not above their row's limit (all of them, where it is NaN).
struct CandidatesPanel {
  const Candidates& job;
  const int64_t first_open, rows;
  float limit[ROWS];

  CandidatesPanel(const Candidates& job, int64_t first_open, int64_t rows)
      : job(job), first_open(first_open), rows(rows) {}

  void pack(float* panel) {
    std::fill_n(panel, ROWS * job.problem.dim, 0.0f);
    std::fill_n(limit, ROWS, -INFINITE);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t row = job.open[first_open + r], dim = job.problem.dim;
      const float* x = job.problem.x + row * dim;
      if (!std::all_of(x, x + dim, [](float value) { return std::isfinite(value); })) continue;
      pack_row(job.problem, row, panel + r);
      limit[r] = job.limit[row];
    }
  }

  [[gnu::always_inline]] void visit(int64_t r, int64_t first, int64_t code, Numbers score) {
    const uint32_t near = lanes_of(~(score > limit[r]));
    if (near) add(first_open + r, first + code, near);
  }

  [[gnu::noinline]] void add(int64_t place, int64_t first, uint32_t near) {
    int64_t *codes = job.codes + place * job.most, &found = job.found[place];
    for (int64_t code = first; code < first + LANES && found <= job.most; ++code) {
      if (!(near >> (code - first) & 1) || job.problem.offsets[code] == INFINITE) continue;  // infinite: not usable
      if (found < job.most) codes[found] = code;
      ++found;
    }
  }

  void finish(int64_t) {}
};

typedef uint32_t Words __attribute__((vector_size(4 * LANES)));

// The first code of `codebook` whose bits are those of `code`, by open addressing in `table` (its size a power of two,
// filled with -1).
int64_t first_copy(const float* codebook, int64_t code, int64_t dim, std::vector<int64_t>& table) {
  const float* numbers = codebook + code * dim;
  Words mixed{};
  for (int64_t d = 0; d < dim; d += LANES) mixed = (mixed ^ (Words)load(numbers + d, std::min(LANES, dim - d))) * 0x9e3779b1;
  uint64_t hash = 0;
  for (int64_t lane = 0; lane < LANES; ++lane) hash = (hash ^ mixed[lane]) * 0x9e3779b97f4a7c15;
  for (uint64_t place = hash >> 32;; ++place) {
    int64_t& entry = table[place & (table.size() - 1)];
    if (entry < 0) entry = code;
    if (!std::memcmp(codebook + entry * dim, numbers, dim * sizeof(float))) return entry;
  }
}

}  // namespace

// Sets offsets (codes) to infinity for copies of an earlier code of no greater bias: at equal distance the lowest index is
// the answer, and a collapsed codebook would have as many candidates as codes. bias may be null.
KERNEL leave_copies_out(const float* codebook, const float* bias, float* offsets, int64_t dim, int64_t begin, int64_t end) {
  uint64_t size = 4;
  while (size < 2 * static_cast<uint64_t>(end)) size *= 2;
  std::vector<int64_t> table(size, -1);
  for (int64_t code = begin; code < end; ++code) {
    const int64_t first = first_copy(codebook, code, dim, table);
    if (first == code || offsets[first] == INFINITE) continue;  // infinite: not usable
    if (!bias || bias[code] >= bias[first]) offsets[code] = INFINITE;
  }
}

// best, rival, norm, index (rows): smallest score and second smallest over all codes, ||X||, the code of the smallest, of
// rows begin to end.
KERNEL nearest_search(const float* x, const float* centre, const float* weights, const float* offsets,
                      const double* scale, float* best, float* rival, float* norm, int64_t* index, int64_t codes,
                      int64_t dim, int64_t begin, int64_t end) {
  const Problem problem{x, centre, weights, offsets, scale, codes, dim};
  each_panel<SearchPanel>(Search{problem, best, rival, norm, index}, begin, end);
}

// codes (open, most) and found (open): which codes, and how many, have a score not above limit (rows), of open rows begin
// to end. None for a row of x that is not finite.
KERNEL nearest_candidates(const float* x, const float* centre, const float* weights, const float* offsets,
                          const double* scale, const float* limit, const int64_t* open, int64_t* codes, int64_t* found,
                          int64_t num_codes, int64_t dim, int64_t most, int64_t begin, int64_t end) {
  const Problem problem{x, centre, weights, offsets, scale, num_codes, dim};
  std::fill(found + begin, found + end, 0);
  each_panel<CandidatesPanel>(Candidates{problem, limit, open, codes, found, most}, begin, end);
}

// distance (rows): ||x - codebook[index]||^2, of rows begin to end.
KERNEL nearest_distances(const float* x, const float* codebook, const int64_t* index, float* distance, int64_t dim,
                         int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float *left = x + row * dim, *right = codebook + index[row] * dim;
    Numbers sums{};
    for (int64_t d = 0; d < dim; d += LANES) {
      const int64_t count = std::min(LANES, dim - d);
      const Numbers difference = load(left + d, count) - load(right + d, count);
      sums = multiply_add(difference, difference, sums);
    }
    distance[row] = sum(sums);
  }
}
