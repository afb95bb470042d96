// The scan of one block of channels over one tile.
#pragma once
#include "kernel_tile.h"

namespace SCAN_NAMESPACE {
namespace {

// Advance G states of a block over a tile and add their outputs to out. A separate function, because
// otherwise the compiler runs out of registers for the states.
template <int G, Kind KIND>
NOINLINE void advance(const Order& o, Tile& tile, int64_t c, int64_t n, float* states) {
    const float* decay = o.decay + (c - o.first) * o.p.states + n * W;
    const float *B_rows = o.row(o.p.B, 0) + n, *C_rows = o.row(o.p.C, 0) + n;
    const int64_t B_step = o.p.B.token, C_step = o.p.C.token;
    const int count = tile.count;
    V h[G];
    UNROLL
    for (int i = 0; i < G; i++) h[i] = load(states + i * W);
    for (int t = 0; t < count; t++) {
        const int64_t token = tile.tokens[t];
        const float *B = B_rows + token * B_step, *C = C_rows + token * C_step;
        Advance<KIND> next(tile, t, n);
        V even = set(0.f), odd = set(0.f);
        UNROLL
        for (int i = 0; i < G; i++) {
            h[i] = next(i, h[i], decay + i * W, B[i]);
            if (i % 2) odd = fma(h[i], set(C[i]), odd);
            else even = fma(h[i], set(C[i]), even);
        }
        tile.out[t] = add(tile.out[t], add(even, odd));
    }
    UNROLL
    for (int i = 0; i < G; i++) store(states + i * W, h[i]);
}

template <Kind KIND>
void advance_all(const Order& o, Tile& tile, int64_t c, float* states) {
    const int64_t count = o.p.states;
    for (int64_t n = 0; n < count;) {
        const int64_t left = count - n;
        float* h = states + n * W;
        if (GROUP >= 16 && left >= 16) advance<16, KIND>(o, tile, c, n, h), n += 16;
        else if (GROUP >= 8 && left >= 8) advance<8, KIND>(o, tile, c, n, h), n += 8;
        else if (left >= 4) advance<4, KIND>(o, tile, c, n, h), n += 4;
        else advance<1, KIND>(o, tile, c, n, h), n += 1;
    }
}

void forward_block(const Order& o, Tile& tile, int64_t c, float* states) {
    const ScanProblem& p = o.p;
    const V skip = o.vector(p.D, c);
    read_block(o, tile, c);
    for (int t = 0; t < tile.count; t++) tile.out[t] = mul(skip, tile.u[t]);
    if (tile.kind == TIED) advance_all<TIED>(o, tile, c, states);
    else if (tile.kind == DEEP) advance_all<DEEP>(o, tile, c, states);
    else advance_all<FREE>(o, tile, c, states);
    const int lanes = o.lanes(c);
    for (int t = 0; t < tile.count; t++) {
        float* y = p.y.data + o.batch * p.y.batch + tile.tokens[t] * p.y.token + c;
        store_part(y, o.k ? add(load_part(y, lanes), tile.out[t]) : tile.out[t], lanes);
    }
}

}  // namespace
}  // namespace SCAN_NAMESPACE
