// A vector of floats, V, for the instruction set selected by the including file.
//
// This uses intrinsics, because MSVC has no compiler vectors. No standard C++ header is included: the
// linker could keep an inline function compiled here for AVX-512 for all other files.
#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_MSC_VER)
#define INLINE static __forceinline
#define INLINE_MEMBER __forceinline
#define NOINLINE __declspec(noinline)
#else
#define INLINE static inline __attribute__((always_inline))
#define INLINE_MEMBER inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#endif

#if defined(SCAN_AVX512) || defined(SCAN_AVX2)
// The bits of 2^(j/16) as a float, less j 2^19: then adding (16 k + j) 2^19 makes it 2^(k + j/16).
static const int32_t POWERS[16] = {
    0x3f800000, 0x3f7daac3, 0x3f7b95c2, 0x3f79c3d3, 0x3f7837f0, 0x3f76f532, 0x3f75fed7, 0x3f75583f,
    0x3f7504f3, 0x3f7508a4, 0x3f75672a, 0x3f76248c, 0x3f7744fd, 0x3f78ccdf, 0x3f7ac0c7, 0x3f7d257d};
#endif

// Operations that are one intrinsic of each instruction set.
#define VECTOR(TYPE, SET, LOAD, STORE, ADD, SUB, MUL, DIVIDE, MAX, MIN) \
    typedef TYPE V;                                                     \
    INLINE V set(float x) { return SET(x); }                            \
    INLINE V load(const float* p) { return LOAD(p); }                   \
    INLINE void store(float* p, V x) { STORE(p, x); }                   \
    INLINE V add(V a, V b) { return ADD(a, b); }                        \
    INLINE V sub(V a, V b) { return SUB(a, b); }                        \
    INLINE V mul(V a, V b) { return MUL(a, b); }                        \
    INLINE V divide(V a, V b) { return DIVIDE(a, b); }                  \
    INLINE V larger(V a, V b) { return MAX(a, b); }                     \
    INLINE V smaller(V a, V b) { return MIN(a, b); }
#define VECTOR_X86(TYPE, PREFIX)                                                                     \
    VECTOR(TYPE, PREFIX##_set1_ps, PREFIX##_loadu_ps, PREFIX##_storeu_ps, PREFIX##_add_ps,           \
           PREFIX##_sub_ps, PREFIX##_mul_ps, PREFIX##_div_ps, PREFIX##_max_ps, PREFIX##_min_ps)

#if defined(SCAN_AVX512)
#include <immintrin.h>
static const int W = 16, GROUP = 16;  // floats per vector; states kept in registers at once
static const int HALVINGS = 4;         // exponentials look up powers of 2^(1 / 2^HALVINGS)
VECTOR_X86(__m512, _mm512)
INLINE V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
INLINE V where_negative(V x, V yes, V no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), no, yes);
}
// The entry of POWERS for the low bits of magic.
INLINE V table_power(V magic) {
    return _mm512_castsi512_ps(
        _mm512_permutexvar_epi32(_mm512_castps_si512(magic), _mm512_loadu_si512(POWERS)));
}
INLINE V add_to_exponent(V power, V magic) {
    return _mm512_castsi512_ps(_mm512_add_epi32(
        _mm512_castps_si512(power), _mm512_slli_epi32(_mm512_castps_si512(magic), 23 - HALVINGS)));
}
INLINE bool any_negative(V x) {
    return _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ) != 0;
}
INLINE float sum(V a) { return _mm512_reduce_add_ps(a); }
#elif defined(SCAN_AVX2)
#include <immintrin.h>
static const int W = 8, GROUP = 8, HALVINGS = 3;
VECTOR_X86(__m256, _mm256)
INLINE V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
INLINE V where_negative(V x, V yes, V no) {
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ));
}
INLINE V table_power(V magic) {
    const int32_t* p = POWERS;
    const __m256i eighths = _mm256_setr_epi32(p[0], p[2], p[4], p[6], p[8], p[10], p[12], p[14]);
    return _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(eighths, _mm256_castps_si256(magic)));
}
INLINE V add_to_exponent(V power, V magic) {
    return _mm256_castsi256_ps(_mm256_add_epi32(
        _mm256_castps_si256(power), _mm256_slli_epi32(_mm256_castps_si256(magic), 23 - HALVINGS)));
}
INLINE bool any_negative(V x) { return _mm256_movemask_ps(x) != 0; }
INLINE float sum(V a) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}
#elif defined(SCAN_SSE)
#include <emmintrin.h>
static const int W = 4, GROUP = 4, HALVINGS = 0;
VECTOR_X86(__m128, _mm)
INLINE V fma(V a, V b, V c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
INLINE V where_negative(V x, V yes, V no) {
    const __m128 m = _mm_cmplt_ps(x, _mm_setzero_ps());
    return _mm_or_ps(_mm_and_ps(m, yes), _mm_andnot_ps(m, no));
}
INLINE V add_to_exponent(V power, V magic) {
    return _mm_castsi128_ps(_mm_add_epi32(_mm_castps_si128(power),
                                          _mm_slli_epi32(_mm_castps_si128(magic), 23 - HALVINGS)));
}
INLINE bool any_negative(V x) { return _mm_movemask_ps(x) != 0; }
INLINE float sum(V a) {
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps(a, a, 1)));
}
#elif defined(SCAN_NEON)
#include <arm_neon.h>
static const int W = 4, GROUP = 8, HALVINGS = 0;
VECTOR(float32x4_t, vdupq_n_f32, vld1q_f32, vst1q_f32, vaddq_f32, vsubq_f32, vmulq_f32, vdivq_f32,
       vmaxq_f32, vminq_f32)
INLINE V fma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
INLINE V where_negative(V x, V yes, V no) { return vbslq_f32(vcltzq_f32(x), yes, no); }
INLINE V add_to_exponent(V power, V magic) {
    return vreinterpretq_f32_s32(
        vaddq_s32(vreinterpretq_s32_f32(power),
                  vshlq_n_s32(vreinterpretq_s32_f32(magic), 23 - HALVINGS)));
}
INLINE bool any_negative(V x) { return vminvq_f32(x) < 0.f; }
INLINE float sum(V a) { return vaddvq_f32(a); }
#endif

#if defined(SCAN_SSE) || defined(SCAN_NEON)
// Vectors of four floats are too short for a table.
INLINE V table_power(V) { return set(1.f); }
#endif

// 2^(m / 2^HALVINGS), where the low bits of magic hold m.
INLINE V power2(V magic) { return add_to_exponent(table_power(magic), magic); }

#if defined(SCAN_NEON)
#if defined(_MSC_VER)
#define PREFETCH(p) __prefetch((const void*)(p))
#else
#define PREFETCH(p) __builtin_prefetch(p)
#endif
// Decaying states would become denormal numbers, which are a hundred times slower on many processors.
struct FlushDenormals {};
#else
#define PREFETCH(p) _mm_prefetch((const char*)(p), _MM_HINT_T0)
struct FlushDenormals {
    unsigned int before;
    FlushDenormals() : before(_mm_getcsr()) { _mm_setcsr(before | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before); }
};
#endif

static const float LOG2E = 1.44269504f;

// (2^f - 1) / f for |f| <= 1/2 / 2^HALVINGS. Minimax polynomials whose constant is fixed to ln 2: for
// decays near 1, a relative error of the constant is a relative error of the decay rate. Apart from
// rounding, the relative error of 2^f is 3e-8 with 8 table entries, and 3e-9 otherwise.
INLINE V slope2(V f) {
    if (HALVINGS == 4) {
        const V q = fma(set(5.550232530e-02f), f, set(2.402342856e-01f));
        return fma(q, f, set(6.931471825e-01f));
    }
    if (HALVINGS == 3) {
        const V q = fma(set(5.550421029e-02f), f, set(2.402574867e-01f));
        return fma(q, f, set(6.931471825e-01f));
    }
    V q = fma(set(1.532892347e-04f), f, set(1.339097158e-03f));
    q = fma(q, f, set(9.618500248e-03f));
    q = fma(q, f, set(5.550359562e-02f));
    q = fma(q, f, set(2.402264774e-01f));
    return fma(q, f, set(6.931471825e-01f));
}

static const float DEEPEST = -126.f;  // 2^DEEPEST is the smallest normal number

// Adding this to a number in [DEEPEST, 0] rounds the number to a multiple of 2^-HALVINGS, which is then
// in the low bits.
static const float ROUND = 12582912.f / (1 << HALVINGS);

// 2^x for DEEPEST <= x <= 0. A table saves terms of the polynomial: the scan is limited by
// multiplications, and a shuffle and additions run in parallel to them.
INLINE V exp2_of_shallow(V x) {
    const V magic = add(x, set(ROUND)), f = sub(x, sub(magic, set(ROUND))), power = power2(magic);
    return fma(mul(power, f), slope2(f), power);
}

// 2^x for x <= 0, at least 2^DEEPEST.
INLINE V exp2_(V x) { return exp2_of_shallow(larger(x, set(DEEPEST))); }

// e^x = power + part for x <= 0, at least 2^DEEPEST. Slower than exp2_ of x log2(e), but without rounding
// that product: ln 2 is subtracted in two parts, and multiples of the first are exact.
struct Exponential {
    V power, part;  // 2^k with k near x log2(e), and the small rest
    INLINE_MEMBER explicit Exponential(V x) {
        const V shallow = larger(x, set(-87.3365402f));  // DEEPEST ln 2
        const V magic = add(mul(shallow, set(LOG2E)), set(ROUND)), k = sub(magic, set(ROUND));
        const V rest = sub(shallow, mul(k, set(6.933593750e-01f)));
        const V f = mul(sub(rest, mul(k, set(-2.121944400e-04f))), set(LOG2E));
        power = power2(magic);
        part = mul(mul(power, f), slope2(f));
    }
};

// e^x - 1 for x <= 0, with a small relative error even near 0.
INLINE V expm1_(V x) {
    const Exponential e(x);
    return add(sub(e.power, set(1.f)), e.part);
}

// log(1 + e) for e in [0, 1]; relative error 1e-7.
INLINE V log1p_(V e) {
    V p = fma(set(5.364826415e-03f), e, set(-3.006579913e-02f));
    p = fma(p, e, set(7.920454443e-02f));
    p = fma(p, e, set(-1.375380307e-01f));
    p = fma(p, e, set(1.915365607e-01f));
    p = fma(p, e, set(-2.485716343e-01f));
    p = fma(p, e, set(3.332132399e-01f));
    p = fma(p, e, set(-4.999964833e-01f));
    return fma(mul(p, e), e, e);
}

INLINE V exp_of_minus_abs(V x) {
    const Exponential e(smaller(x, sub(set(0.f), x)));
    return add(e.power, e.part);
}

INLINE V softplus(V x) { return add(larger(x, set(0.f)), log1p_(exp_of_minus_abs(x))); }

INLINE V sigmoid(V x) {  // the derivative of softplus
    const V e = exp_of_minus_abs(x);
    return divide(where_negative(x, e, set(1.f)), add(set(1.f), e));
}

// The first n floats of a vector; the others are 0 and are not accessed in memory.
INLINE V load_part(const float* p, int n) {
    if (n >= W) return load(p);
    float part[W] = {0};
    memcpy(part, p, (size_t)n * sizeof(float));
    return load(part);
}
INLINE void store_part(float* p, V x, int n) {
    if (n >= W) {
        store(p, x);
        return;
    }
    float part[W];
    store(part, x);
    memcpy(p, part, (size_t)n * sizeof(float));
}
