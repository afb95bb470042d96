// The intrinsics of native/simd.h in plain C++, so that the kernel for any instruction set runs on any
// processor, bit for bit: one rounding for each product-and-sum, sums in the order of the hardware.
// Headers of the usual names that include this one stand before the compiler's own in its search path.
#pragma once
#include <stdint.h>
#include <string.h>

template <class T, int N>
struct Lanes {
    T x[N];
};

template <class To, class From>
static To bits_of(const From& from) {
    static_assert(sizeof(To) == sizeof(From), "as many bits");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

#define EACH(result) for (int i = 0; i < N; i++) r.x[i] = (result)

template <int N>
struct Floats {
    typedef Lanes<float, N> F;
    typedef Lanes<int32_t, N> I;
    static F set1(float a) { F r; EACH(a); return r; }
    static F loadu(const float* p) { F r; memcpy(r.x, p, sizeof r.x); return r; }
    static void storeu(float* p, F a) { memcpy(p, a.x, sizeof a.x); }
    static F add(F a, F b) { F r; EACH(a.x[i] + b.x[i]); return r; }
    static F sub(F a, F b) { F r; EACH(a.x[i] - b.x[i]); return r; }
    static F mul(F a, F b) { F r; EACH(a.x[i] * b.x[i]); return r; }
    static F div(F a, F b) { F r; EACH(a.x[i] / b.x[i]); return r; }
    static F fmadd(F a, F b, F c) { F r; EACH(__builtin_fmaf(a.x[i], b.x[i], c.x[i])); return r; }
    static F max(F a, F b) { F r; EACH(a.x[i] > b.x[i] ? a.x[i] : b.x[i]); return r; }
    static F min(F a, F b) { F r; EACH(a.x[i] < b.x[i] ? a.x[i] : b.x[i]); return r; }
    static I less(F a, F b) { I r; EACH(a.x[i] < b.x[i] ? -1 : 0); return r; }
    static F select(I mask, F yes, F no) { F r; EACH(mask.x[i] < 0 ? yes.x[i] : no.x[i]); return r; }
    static I add32(I a, I b) { I r; EACH((int32_t)((uint32_t)a.x[i] + (uint32_t)b.x[i])); return r; }
    static I slli(I a, int n) { I r; EACH((int32_t)((uint32_t)a.x[i] << n)); return r; }
    static I permute(I a, I index) { I r; EACH(a.x[index.x[i] & (N - 1)]); return r; }
    static int signs(I a) {
        int mask = 0;
        for (int i = 0; i < N; i++) mask |= (a.x[i] < 0) << i;
        return mask;
    }
    // Halves are added to each other until one number is left.
    static float sum_of_halves(F a) {
        for (int n = N / 2; n; n /= 2)
            for (int i = 0; i < n; i++) a.x[i] += a.x[i + n];
        return a.x[0];
    }
};
#undef EACH

#define FLOATS(prefix, N) \
    static inline Lanes<float, N> prefix##_set1_ps(float a) { return Floats<N>::set1(a); } \
    static inline Lanes<float, N> prefix##_setzero_ps() { return Floats<N>::set1(0.f); } \
    static inline Lanes<float, N> prefix##_loadu_ps(const float* p) { return Floats<N>::loadu(p); } \
    static inline void prefix##_storeu_ps(float* p, Lanes<float, N> a) { Floats<N>::storeu(p, a); } \
    BINARY(prefix##_add_ps, N, add) BINARY(prefix##_sub_ps, N, sub) BINARY(prefix##_mul_ps, N, mul) \
    BINARY(prefix##_div_ps, N, div) BINARY(prefix##_max_ps, N, max) BINARY(prefix##_min_ps, N, min) \
    static inline Lanes<float, N> prefix##_fmadd_ps(Lanes<float, N> a, Lanes<float, N> b, \
                                                    Lanes<float, N> c) { \
        return Floats<N>::fmadd(a, b, c); \
    } \
    static inline Lanes<int32_t, N> prefix##_add_epi32(Lanes<int32_t, N> a, Lanes<int32_t, N> b) { \
        return Floats<N>::add32(a, b); \
    } \
    static inline Lanes<int32_t, N> prefix##_slli_epi32(Lanes<int32_t, N> a, int n) { \
        return Floats<N>::slli(a, n); \
    }
#define BINARY(name, N, operation) \
    static inline Lanes<float, N> name(Lanes<float, N> a, Lanes<float, N> b) { \
        return Floats<N>::operation(a, b); \
    }
#define CAST(name, To, From) \
    static inline To name(From a) { return bits_of<To>(a); }

enum { _CMP_LT_OQ = 17, _MM_HINT_T0 = 3 };
static inline void _mm_prefetch(const char*, int) {}
#if defined(__SSE__)  // numbers below the least normal one are 0 here as there
static inline unsigned _mm_getcsr() { return __builtin_ia32_stmxcsr(); }
static inline void _mm_setcsr(unsigned value) { __builtin_ia32_ldmxcsr(value); }
#else
static inline unsigned _mm_getcsr() { return 0; }
static inline void _mm_setcsr(unsigned) {}
#endif

typedef Lanes<float, 16> __m512;
typedef Lanes<int32_t, 16> __m512i;
FLOATS(_mm512, 16)
CAST(_mm512_castps_si512, __m512i, __m512)
CAST(_mm512_castsi512_ps, __m512, __m512i)
static inline int _mm512_cmp_ps_mask(__m512 a, __m512 b, int) {
    return Floats<16>::signs(Floats<16>::less(a, b));
}
static inline __m512 _mm512_mask_blend_ps(int mask, __m512 no, __m512 yes) {
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) no.x[i] = yes.x[i];
    return no;
}
static inline __m512i _mm512_loadu_si512(const void* p) {
    __m512i r;
    memcpy(r.x, p, sizeof r.x);
    return r;
}
static inline __m512i _mm512_permutexvar_epi32(__m512i index, __m512i a) {
    return Floats<16>::permute(a, index);
}
static inline float _mm512_reduce_add_ps(__m512 a) { return Floats<16>::sum_of_halves(a); }

typedef Lanes<float, 4> __m128;
typedef Lanes<int32_t, 4> __m128i;
FLOATS(_mm, 4)
CAST(_mm_castps_si128, __m128i, __m128)
CAST(_mm_castsi128_ps, __m128, __m128i)
static inline __m128 _mm_cmplt_ps(__m128 a, __m128 b) {
    return bits_of<__m128>(Floats<4>::less(a, b));
}
#define BITWISE(name, result) \
    static inline __m128 name(__m128 a, __m128 b) { \
        __m128i x = bits_of<__m128i>(a), y = bits_of<__m128i>(b), r; \
        for (int i = 0; i < 4; i++) r.x[i] = (result); \
        return bits_of<__m128>(r); \
    }
BITWISE(_mm_and_ps, x.x[i] & y.x[i])
BITWISE(_mm_or_ps, x.x[i] | y.x[i])
BITWISE(_mm_andnot_ps, ~x.x[i] & y.x[i])
static inline int _mm_movemask_ps(__m128 a) { return Floats<4>::signs(bits_of<__m128i>(a)); }
static inline __m128 _mm_movehl_ps(__m128 a, __m128 b) { return {{b.x[2], b.x[3], a.x[2], a.x[3]}}; }
static inline __m128 _mm_shuffle_ps(__m128 a, __m128 b, int which) {
    return {{a.x[which & 3], a.x[which >> 2 & 3], b.x[which >> 4 & 3], b.x[which >> 6 & 3]}};
}
static inline __m128 _mm_add_ss(__m128 a, __m128 b) { return a.x[0] += b.x[0], a; }
static inline float _mm_cvtss_f32(__m128 a) { return a.x[0]; }

typedef Lanes<float, 8> __m256;
typedef Lanes<int32_t, 8> __m256i;
FLOATS(_mm256, 8)
CAST(_mm256_castps_si256, __m256i, __m256)
CAST(_mm256_castsi256_ps, __m256, __m256i)
static inline __m256 _mm256_cmp_ps(__m256 a, __m256 b, int) {
    return bits_of<__m256>(Floats<8>::less(a, b));
}
static inline __m256 _mm256_blendv_ps(__m256 no, __m256 yes, __m256 mask) {
    return Floats<8>::select(bits_of<__m256i>(mask), yes, no);
}
static inline int _mm256_movemask_ps(__m256 a) { return Floats<8>::signs(bits_of<__m256i>(a)); }
static inline __m256i _mm256_setr_epi32(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e,
                                        int32_t f, int32_t g, int32_t h) {
    return {{a, b, c, d, e, f, g, h}};
}
static inline __m256i _mm256_permutevar8x32_epi32(__m256i a, __m256i index) {
    return Floats<8>::permute(a, index);
}
static inline __m128 _mm256_extractf128_ps(__m256 a, int half) {
    return Floats<4>::loadu(a.x + 4 * half);
}
static inline __m128 _mm256_castps256_ps128(__m256 a) { return Floats<4>::loadu(a.x); }

typedef Lanes<float, 4> float32x4_t;
typedef Lanes<int32_t, 4> int32x4_t;
BINARY(vaddq_f32, 4, add)
BINARY(vsubq_f32, 4, sub)
BINARY(vmulq_f32, 4, mul)
BINARY(vdivq_f32, 4, div)
BINARY(vmaxq_f32, 4, max)
BINARY(vminq_f32, 4, min)
CAST(vreinterpretq_s32_f32, int32x4_t, float32x4_t)
CAST(vreinterpretq_f32_s32, float32x4_t, int32x4_t)
static inline float32x4_t vdupq_n_f32(float a) { return Floats<4>::set1(a); }
static inline float32x4_t vld1q_f32(const float* p) { return Floats<4>::loadu(p); }
static inline void vst1q_f32(float* p, float32x4_t a) { Floats<4>::storeu(p, a); }
static inline float32x4_t vfmaq_f32(float32x4_t c, float32x4_t a, float32x4_t b) {
    return Floats<4>::fmadd(a, b, c);
}
static inline int32x4_t vcltzq_f32(float32x4_t a) { return Floats<4>::less(a, Floats<4>::set1(0.f)); }
static inline float32x4_t vbslq_f32(int32x4_t mask, float32x4_t yes, float32x4_t no) {
    return Floats<4>::select(mask, yes, no);
}
static inline int32x4_t vaddq_s32(int32x4_t a, int32x4_t b) { return Floats<4>::add32(a, b); }
static inline int32x4_t vshlq_n_s32(int32x4_t a, int n) { return Floats<4>::slli(a, n); }
static inline float vminvq_f32(float32x4_t a) {
    float least = a.x[0];
    for (int i = 1; i < 4; i++) least = a.x[i] < least ? a.x[i] : least;
    return least;
}
static inline float vaddvq_f32(float32x4_t a) { return (a.x[0] + a.x[1]) + (a.x[2] + a.x[3]); }
