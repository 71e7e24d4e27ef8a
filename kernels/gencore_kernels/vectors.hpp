// Vectors of float32 in the widest registers that the compiler's flags allow, for GCC and Clang: their own vector types
// have the arithmetic, comparisons and `mask ? a : b`; what those lack stands here.
//
// Every kernel is a plain C function whose last two arguments, `begin` and `end`, say which part of its work to do: cpp.py
// loads it and hands parts to threads. What is computed for a row must not depend on its place in a part.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define KERNEL extern "C" [[gnu::visibility("default")]] void

namespace {

#if defined(__AVX512F__)
constexpr int64_t LANES = 16, REGISTERS = 32;
#elif defined(__AVX2__)
constexpr int64_t LANES = 8, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int64_t LANES = 4, REGISTERS = 32;
#else
constexpr int64_t LANES = 4, REGISTERS = 16;
#endif

typedef float Numbers __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));

inline Numbers all(float value) { return value - Numbers{}; }
inline Integers all(int32_t value) { return value - Integers{}; }

inline Numbers load(const float* from) {
  Numbers numbers;
  std::memcpy(&numbers, from, sizeof numbers);
  return numbers;
}

// `count` numbers, then zeros.
inline Numbers load(const float* from, int64_t count) {
  if (count == LANES) return load(from);
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps((uint32_t{1} << count) - 1, from);
#else
  Numbers numbers{};
  for (int64_t lane = 0; lane < count; ++lane) numbers[lane] = from[lane];
  return numbers;
#endif
}

template <typename Vector, typename Number>
inline void store(Number* to, Vector vector) {
  std::memcpy(to, &vector, sizeof vector);
}

inline void store(float* to, Numbers numbers, int64_t count) {
  if (count == LANES) return store(to, numbers);
  for (int64_t lane = 0; lane < count; ++lane) to[lane] = numbers[lane];
}

// a b + c, rounded once where the processor has that.
inline Numbers multiply_add(Numbers a, Numbers b, Numbers c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}

// b where either is NaN: so a bound stands first.
inline Numbers smaller(Numbers a, Numbers b) { return a < b ? a : b; }

// As `smaller`.
inline Numbers larger(Numbers a, Numbers b) { return a > b ? a : b; }

inline Numbers clamp(Numbers value, Numbers lowest, Numbers highest) { return smaller(highest, larger(lowest, value)); }

inline Numbers magnitude(Numbers value) { return (Numbers)((Integers)value & 0x7fffffff); }

inline Numbers square_root(Numbers value) {
#if defined(__AVX512F__)
  return _mm512_sqrt_ps(value);
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(value);
#elif defined(__aarch64__)
  return vsqrtq_f32(value);
#else
  return _mm_sqrt_ps(value);
#endif
}

// A bit for each lane of a mask, which is all ones or all zeros in each.
inline uint32_t lanes_of(Integers mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)mask);
#elif defined(__AVX2__)
  return _mm256_movemask_ps((__m256)mask);
#elif defined(__x86_64__)
  return _mm_movemask_ps((__m128)mask);
#else
  uint32_t lanes = 0;
  for (int64_t lane = 0; lane < LANES; ++lane) lanes |= (mask[lane] & uint32_t{1}) << lane;
  return lanes;
#endif
}

inline float sum(Numbers numbers) {
  float total = 0.0f;
  for (int64_t lane = 0; lane < LANES; ++lane) total += numbers[lane];
  return total;
}

}  // namespace
