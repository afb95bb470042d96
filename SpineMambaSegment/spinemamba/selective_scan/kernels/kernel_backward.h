// The adjoint of the scan, from the last token to the first.
//
//   g[t] = C[t] grad_y[t] + decay[t+1] g[t+1]      the gradient of the state h[t]
//
// The states of a tile are recomputed from the saved state before it; then its tokens are processed
// backwards. Here tile.out holds grad_y. Every state has its own exponential, tied or not: exponentials
// take a small part of the time here, and gradients of the rates need accurate decays near 0.
#pragma once
#include "kernel_tile.h"

namespace SCAN_NAMESPACE {
namespace {

const int BACK_GROUP = GROUP >= 8 ? GROUP / 2 : 4;  // sums need registers, too

// Sums of a thread. Sums over channels stay vectors until the end of a tile.
struct Sums {
    float *B, *C, *delta;         // (T, states), (T, states), (T, rank) vectors of this tile
    float *A, *weight;            // (blocks, states), (blocks, rank) vectors of this order
    float *D, *bias;              // (blocks) vectors of this order
    float* g;                     // (blocks, states) vectors: decay[t+1] g[t+1]
    const float* entry;           // (blocks, states) vectors: the states before this tile
    float *before, *decay;        // (T, BACK_GROUP) vectors: states before each token, and their decays
};

// Gradients of the tokens of a tile for one block.
struct Flow {
    V drive[T], delta[T];  // gradients of step u, and of the step size through the decay
};

INLINE void accumulate(float* at, V a, V b) { store(at, fma(a, b, load(at))); }

// Recompute G states of a block over a tile, then process its tokens backwards.
template <int G, Kind KIND>
INLINE void retreat(const Order& o, const Tile& tile, Flow& flow, const Sums& sums, int64_t c,
                    int64_t n) {
    const ScanProblem& p = o.p;
    const int64_t at = (c - o.first) * p.states + n * W;
    const float* rates = o.decay + at;
    V x[G], rate_sum[G];
    for (int i = 0; i < G; i++) x[i] = load(sums.entry + at + i * W), rate_sum[i] = set(0.f);
    for (int t = 0; t < tile.count; t++) {
        const float* B = o.row(p.B, tile.tokens[t]) + n;
        float* sum_C = sums.C + ((int64_t)t * p.states + n) * W;
        float *before = sums.before + t * G * W, *decay = sums.decay + t * G * W;
        UNROLL
        for (int i = 0; i < G; i++) {
            const V a = decay_of<KIND>(tile.step[t], rates + i * W);
            store(before + i * W, x[i]);
            store(decay + i * W, a);
            x[i] = fma(x[i], a, mul(tile.drive[t], set(B[i])));
            accumulate(sum_C + i * W, x[i], tile.out[t]);
        }
    }
    for (int i = 0; i < G; i++) x[i] = load(sums.g + at + i * W);
    for (int t = tile.count - 1; t >= 0; t--) {
        const float *B = o.row(p.B, tile.tokens[t]) + n, *C = o.row(p.C, tile.tokens[t]) + n;
        float* sum_B = sums.B + ((int64_t)t * p.states + n) * W;
        const float *before = sums.before + t * G * W, *decay = sums.decay + t * G * W;
        V drive = flow.drive[t], delta = flow.delta[t];
        UNROLL
        for (int i = 0; i < G; i++) {
            const V g = fma(set(C[i]), tile.out[t], x[i]);
            accumulate(sum_B + i * W, g, tile.drive[t]);
            drive = fma(g, set(B[i]), drive);
            x[i] = mul(g, load(decay + i * W));
            const V part = mul(x[i], load(before + i * W));  // the gradient of step A
            delta = fma(part, load(rates + i * W), delta);
            rate_sum[i] = fma(part, tile.step[t], rate_sum[i]);
        }
        flow.drive[t] = drive;
        flow.delta[t] = delta;
    }
    for (int i = 0; i < G; i++) {
        store(sums.g + at + i * W, x[i]);
        accumulate(sums.A + at + i * W, rate_sum[i], set(1.f));
    }
}

template <Kind KIND>
void retreat_all(const Order& o, const Tile& tile, Flow& flow, const Sums& sums, int64_t c) {
    const int64_t count = o.p.states;
    for (int64_t n = 0; n < count;) {
        const int64_t left = count - n;
        if (BACK_GROUP >= 8 && left >= 8) retreat<8, KIND>(o, tile, flow, sums, c, n), n += 8;
        else if (left >= 4) retreat<4, KIND>(o, tile, flow, sums, c, n), n += 4;
        else retreat<1, KIND>(o, tile, flow, sums, c, n), n += 1;
    }
}

// Convert the gradient of a block's step sizes to those of their low-rank input.
INLINE void factor_block(const Order& o, const Tile& tile, const V* steps, const Sums& sums, int64_t c) {
    const int64_t rank = o.p.rank, at = (c - o.first) * rank;
    V bias = set(0.f);
    for (int t = 0; t < tile.count; t++) {
        const V raw = mul(steps[t], sigmoid(tile.raw[t]));
        const float* low = o.row(o.p.delta, tile.tokens[t]);
        bias = add(bias, raw);
        for (int64_t r = 0; r < rank; r++) {
            accumulate(sums.delta + (t * rank + r) * W, raw, load(o.weight + at + r * W));
            accumulate(sums.weight + at + r * W, raw, set(low[r]));
        }
    }
    accumulate(sums.bias + (c - o.first), bias, set(1.f));
}

void backward_block(const Order& o, Tile& tile, const Sums& sums, int64_t c) {
    const ScanProblem& p = o.p;
    const int lanes = o.lanes(c);
    const V skip = o.vector(p.D, c);
    Flow flow;
    read_block(o, tile, c);
    for (int t = 0; t < tile.count; t++) {
        const float* grad = p.grad_y.data + o.batch * p.grad_y.batch + tile.tokens[t] * p.grad_y.token;
        tile.out[t] = load_part(grad + c, lanes);
        flow.drive[t] = flow.delta[t] = set(0.f);
    }
    if (tile.kind == DEEP) retreat_all<DEEP>(o, tile, flow, sums, c);
    else retreat_all<FREE>(o, tile, flow, sums, c);
    V direct = set(0.f);
    for (int t = 0; t < tile.count; t++) {
        const int64_t token = tile.tokens[t];
        float* grad_u = p.grad_u.data + o.batch * p.grad_u.batch + token * p.grad_u.token + c;
        V du = fma(flow.drive[t], tile.step[t], mul(skip, tile.out[t]));
        if (o.k) du = add(du, load_part(grad_u, lanes));
        store_part(grad_u, du, lanes);
        direct = fma(tile.u[t], tile.out[t], direct);
        // The rates have a factor log2(e), because the exponentials are powers of 2.
        flow.delta[t] = fma(flow.drive[t], tile.u[t], mul(flow.delta[t], set(1.f / LOG2E)));
        if (!p.rank) store_part((float*)o.row(p.grad_delta, token) + c, flow.delta[t], lanes);
    }
    accumulate(sums.D + (c - o.first), direct, set(1.f));
    if (p.rank) factor_block(o, tile, flow.delta, sums, c);
}

// Write the sums over this slice's channels of each token of a tile.
INLINE void write_sums(const Order& o, const Tile& tile, const ScanRows& rows, int64_t slice,
                       const float* sums, int64_t n) {
    for (int t = 0; t < tile.count; t++) {
        float* out = (float*)o.row(rows, tile.tokens[t]) + slice;
        for (int64_t i = 0; i < n; i++) out[i] = sum(load(sums + (t * n + i) * W));
    }
}

// Inverse of `pack` for one batch: vectors over channels to (batch, orders, channels, n).
void unpack(const Order& o, float* out, const float* from, int64_t n) {
    out += (o.batch * o.p.orders + o.k) * o.p.channels * n;
    for (int64_t c = o.first; c < o.last; c += W)
        for (int64_t i = 0; i < n; i++, from += W)
            for (int j = 0; j < W && c + j < o.last; j++) out[(c + j) * n + i] = from[j];
}

// Assign memory to all sums; with null, only count. Returns the number of vectors.
int64_t lay_out(Sums* s, float* at, const ScanProblem& p, int64_t count) {
    float** parts[] = {&s->B, &s->C, &s->delta, &s->A, &s->weight, &s->D, &s->bias, &s->g,
                       &s->before, &s->decay};
    const int64_t n = p.states, r = p.rank;
    const int64_t sizes[] = {T * n, T * n, T * r, count * n, count * r, count, count, count * n,
                             T * BACK_GROUP, T * BACK_GROUP};
    int64_t total = 0;
    for (int i = 0; i < 10; i++) {
        if (at) *parts[i] = at + total * W;
        total += sizes[i];
    }
    return total;
}

void backward_order(const Order& o, Sums& sums, int64_t slice) {
    const ScanProblem& p = o.p;
    const Walk walk(p.order[o.k]);
    const size_t tile_bytes = (size_t)(T * (2 * p.states + p.rank) * W) * sizeof(float);
    memset(sums.A, 0, (size_t)((char*)sums.before - (char*)sums.A));
    for (int64_t tile_index = (p.length - 1) / T; tile_index >= 0; tile_index--) {
        int64_t tokens[T];
        Tile tile;
        const int64_t left = p.length - tile_index * T;
        tile.count = (int)(left < T ? left : T);
        tile.tokens = tokens;
        tile.next = 0;
        walk.fill(tokens, tile_index * T, tile.count);
        memset(sums.B, 0, tile_bytes);  // B, C and delta are contiguous
        sums.entry = entry_of(o, tile_index);
        for (int64_t c = o.first; c < o.last; c += W) backward_block(o, tile, sums, c);
        write_sums(o, tile, p.grad_B, slice * p.B_slice, sums.B, p.states);
        write_sums(o, tile, p.grad_C, slice * p.C_slice, sums.C, p.states);
        if (p.rank) write_sums(o, tile, p.grad_delta, slice * p.delta_slice, sums.delta, p.rank);
    }
    unpack(o, p.grad_A, sums.A, p.states);
    unpack(o, p.grad_D, sums.D, 1);
    if (p.rank) {
        unpack(o, p.grad_weight, sums.weight, p.rank);
        unpack(o, p.grad_bias, sums.bias, 1);
    }
}

}  // namespace
}  // namespace SCAN_NAMESPACE
