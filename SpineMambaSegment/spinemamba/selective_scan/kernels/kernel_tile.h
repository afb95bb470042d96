// A tile of tokens for one block of channels, and the decays of its states.
#pragma once
#include "kernel_types.h"

namespace SCAN_NAMESPACE {
namespace {

// How the decays of a block are computed in a tile.
enum Kind {
    FREE,  // one exponential each
    DEEP,  // the same, but decays below 2^-126 are set to it
    TIED   // powers of the decay of the first state; forward only
};

// The tokens of a tile for one block of channels.
struct Tile {
    int count, next;         // tokens in this tile and in the next one
    const int64_t* tokens;   // their indices
    const int64_t* upcoming;
    V raw[T], step[T], drive[T], u[T], out[T];  // drive = step u
    V base[T];                                  // decay of the first state - 1, if tied
    Kind kind;
};

// Prefetch token t of the next tile: the processor cannot predict it except in raster order.
INLINE void prefetch(const Order& o, const Tile& tile, int t, int64_t c) {
    if (t >= tile.next) return;
    const int64_t token = tile.upcoming[t];
    const ScanProblem& p = o.p;
    PREFETCH(p.u.data + o.batch * p.u.batch + token * p.u.token + c);
    PREFETCH(p.y.data + o.batch * p.y.batch + token * p.y.token + c);
    if (!p.rank) PREFETCH(o.row(p.delta, token) + c);
    if (c == o.first) {
        PREFETCH(o.row(p.B, token));
        PREFETCH(o.row(p.C, token));
        if (p.rank) PREFETCH(o.row(p.delta, token));
    }
}

// Choose how the decays of a block are computed, given the largest step size of each channel in a tile.
// One test for all decays costs little and makes a test in every exponential unnecessary.
INLINE Kind kind_of(const Order& o, int64_t c, V longest) {
    if (o.tied) return TIED;
    const float* rates = o.decay + (c - o.first) * o.p.states;
    V steepest = set(0.f);
    for (int64_t n = 0; n < o.p.states; n++) steepest = smaller(steepest, load(rates + n * W));
    return any_negative(sub(mul(longest, steepest), set(DEEPEST + 1.f))) ? DEEP : FREE;
}

// Read the step sizes and input signals of a block.
INLINE void read_block(const Order& o, Tile& tile, int64_t c) {
    const ScanProblem& p = o.p;
    const int lanes = o.lanes(c);
    const V bias = o.p.rank ? o.vector(p.bias, c) : set(0.f);
    const float* weight = o.weight + (c - o.first) * p.rank;
    V longest = set(0.f);
    for (int t = 0; t < tile.count; t++) {
        const float* row = o.row(p.delta, tile.tokens[t]);
        prefetch(o, tile, t, c);
        if (p.rank) {
            V raw = bias;
            for (int64_t r = 0; r < p.rank; r++) raw = fma(set(row[r]), load(weight + r * W), raw);
            tile.raw[t] = raw;
            tile.step[t] = softplus(raw);
        } else {
            tile.step[t] = load_part(row + c, lanes);
        }
        const float* u = p.u.data + o.batch * p.u.batch + tile.tokens[t] * p.u.token;
        tile.u[t] = load_part(u + c, lanes);
        tile.drive[t] = mul(tile.step[t], tile.u[t]);
        longest = larger(longest, tile.step[t]);
    }
    tile.kind = kind_of(o, c, longest);
    if (tile.kind != TIED) return;
    const V rate = load(o.decay + (c - o.first) * o.p.states);
    for (int t = 0; t < tile.count; t++) tile.base[t] = expm1_(mul(tile.step[t], rate));
}

// Decay of a state over one step, for its rate.
template <Kind KIND>
INLINE V decay_of(V step, const float* rate) {
    const V x = mul(step, load(rate));
    return KIND == DEEP ? exp2_(x) : exp2_of_shallow(x);
}

// Advances states n, n + 1, ... of a block by one token, in this order.
template <Kind KIND>
class Advance {
  public:
    INLINE_MEMBER Advance(const Tile& tile, int t, int64_t)
        : step_(tile.step[t]), drive_(tile.drive[t]) {}
    // State n + i, whose rate is `rate`.
    INLINE_MEMBER V operator()(int, V h, const float* rate, float B) const {
        return fma(h, decay_of<KIND>(step_, rate), mul(drive_, set(B)));
    }

  private:
    V step_, drive_;
};

// Tied decays are stored as decay - 1. A decay near 1 loses digits by rounding, and its 16th power has
// 16 times the error; decay - 1 keeps the digits.
template <>
class Advance<TIED> {
  public:
    INLINE_MEMBER Advance(const Tile& tile, int t, int64_t n)
        : step_(tile.step[t]), drive_(tile.drive[t]), n_(n) {
        power_[1] = tile.base[t];
        power_[2] = joined(power_[1], power_[1]);
        power_[4] = joined(power_[2], power_[2]);
    }
    // i must be a compile-time constant.
    INLINE_MEMBER V operator()(int i, V h, const float* rate, float B) {
        if (n_ + i == 0) last_[0] = power_[1];
        else if (i == 0) last_[0] = expm1_(mul(step_, load(rate)));
        else if (i == 1) last_[1] = joined(last_[0], power_[1]);
        else if (i < 4) last_[i] = joined(last_[i - 2], power_[2]);
        else last_[i % 4] = joined(last_[i % 4], power_[4]);
        return fma(h, last_[i % 4], fma(drive_, set(B), h));
    }

  private:
    // (1 + a) (1 + b) - 1
    static INLINE_MEMBER V joined(V a, V b) { return fma(a, b, add(a, b)); }

    V step_, drive_, power_[5], last_[4];
    int64_t n_;
};

}  // namespace
}  // namespace SCAN_NAMESPACE
