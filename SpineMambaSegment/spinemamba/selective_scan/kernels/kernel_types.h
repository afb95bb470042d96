// Types and helpers of the kernels: scan orders, packed parameters, memory for vectors.
#pragma once
#include "scan.h"
#include "simd.h"

#if defined(_MSC_VER)
#define UNROLL
#elif defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

namespace SCAN_NAMESPACE {
namespace {

const int T = SCAN_CHUNK;  // tokens of a tile

// Iterates over the tokens of a scan order, tile by tile.
class Walk {
  public:
    explicit Walk(const ScanOrder& order) : order_(order) {}

    void fill(int64_t* tokens, int64_t step, int count) const {
        const int64_t* n = order_.n;
        int64_t i2 = step % n[2], i1 = step / n[2] % n[1], i0 = step / n[2] / n[1];
        for (int t = 0; t < count; t++) {
            tokens[t] = order_.first + i0 * order_.s[0] + i1 * order_.s[1] + i2 * order_.s[2];
            if (++i2 == n[2]) {
                i2 = 0;
                if (++i1 == n[1]) {
                    i1 = 0;
                    ++i0;
                }
            }
        }
    }

  private:
    const ScanOrder& order_;
};

// Allocates memory for vectors; null on failure.
class Vectors {
  public:
    explicit Vectors(int64_t count)
        : memory_((float*)malloc(((size_t)count * W + 16) * sizeof(float))) {}
    ~Vectors() { free(memory_); }
    Vectors(const Vectors&) = delete;
    Vectors& operator=(const Vectors&) = delete;
    float* get() const { return (float*)(((uintptr_t)memory_ + 63) & ~(uintptr_t)63); }
    bool missing() const { return memory_ == 0; }

  private:
    float* memory_;
};

// Parameters of one scan order, packed as vectors.
struct Order {
    const ScanProblem& p;
    int64_t k, batch, first, last;  // order, batch, channels
    // Per block: (states) vectors A, with a factor log2(e) where decays are powers of 2; (rank) vectors.
    const float *decay, *weight;
    bool tied;  // A[c][n] = (n + 1) A[c][0]: decays are powers of the first one

    const float* row(const ScanRows& rows, int64_t token) const {
        return rows.data + batch * rows.batch + k * rows.order + token * rows.token;
    }
    int lanes(int64_t channel) const {
        return (int)(last - channel < W ? last - channel : W);
    }
    V vector(const float* per_channel, int64_t channel) const {
        return per_channel ? load_part(per_channel + k * p.channels + channel, lanes(channel))
                           : set(0.f);
    }
};

// Transpose (channels, n) into vectors over channels, padded with 0.
void pack(float* out, const float* from, int64_t first, int64_t last, int64_t n, float factor) {
    for (int64_t c = first; c < last; c += W)
        for (int64_t i = 0; i < n; i++)
            for (int j = 0; j < W; j++)
                *out++ = c + j < last ? from[(c + j) * n + i] * factor : 0.f;
}

// True if the decay rates of an order are tied in every bit, for all channels. A test of a part of the
// channels would depend on how threads share the work.
bool is_tied(const ScanProblem& p, int64_t k) {
    const float* A = p.A + k * p.channels * p.states;
    for (int64_t c = 0; c < p.channels; c++, A += p.states)
        for (int64_t n = 1; n < p.states; n++)
            if (A[n] != A[0] * (float)(n + 1)) return false;
    return true;
}

// Address of the saved states before a tile.
float* entry_of(const Order& o, int64_t tile) {
    const ScanProblem& p = o.p;
    const int64_t chunks = (p.length + T - 1) / T;
    const int64_t padded = (p.channels + SCAN_PAD - 1) / SCAN_PAD * SCAN_PAD;
    const int64_t index = ((o.batch * p.orders + o.k) * chunks + tile) * padded + o.first;
    return p.entry + index * p.states;
}

int64_t blocks(int64_t first, int64_t last) { return (last - first + W - 1) / W; }

}  // namespace
}  // namespace SCAN_NAMESPACE
