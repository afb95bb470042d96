// Forward and backward pass for one instruction set, included by scan_<isa>.cpp.
//
// The channels are cut into blocks of W channels, one vector. A tile of SCAN_CHUNK tokens is processed
// for all blocks before the next tile, so that rows are read once and in order.
//
// Each header includes what it needs, and none is included by what it includes:
// simd.h, scan.h <- kernel_types.h <- kernel_tile.h <- kernel_forward.h, kernel_backward.h <- kernel.h;
// kernel_pass.h needs simd.h and scan.h only.
#pragma once
#include "kernel_backward.h"
#include "kernel_forward.h"
#include "kernel_pass.h"
#include "kernel_types.h"

namespace SCAN_NAMESPACE {

int forward(const ScanProblem* problem, int64_t batch, int64_t, int64_t first, int64_t last) {
    const ScanProblem& p = *problem;
    const FlushDenormals flush;
    const int64_t size = blocks(first, last) * p.states;
    Vectors memory(2 * size + blocks(first, last) * p.rank);
    if (memory.missing()) return 1;
    float *decay = memory.get(), *states = decay + size * W, *weight = states + size * W;
    for (int64_t k = 0; k < p.orders; k++) {
        const bool tied = is_tied(p, k);
        const Order o = {p, k, batch, first, last, decay, weight, tied};
        const Walk walk(p.order[k]);
        pack(decay, p.A + k * p.channels * p.states, first, last, p.states, tied ? 1.f : LOG2E);
        if (p.rank) pack(weight, p.weight + k * p.channels * p.rank, first, last, p.rank, 1.f);
        memset(states, 0, (size_t)(size * W) * sizeof(float));
        Tile tile;
        int64_t tokens[2][T];
        tile.next = (int)(p.length < T ? p.length : T);
        walk.fill(tokens[0], 0, tile.next);
        for (int64_t begin = 0; begin < p.length; begin += T) {
            const int64_t after = p.length - begin - T, now = begin / T % 2;
            tile.count = tile.next;
            tile.next = (int)(after < 0 ? 0 : after < T ? after : T);
            tile.tokens = tokens[now], tile.upcoming = tokens[1 - now];
            walk.fill(tokens[1 - now], begin + T, tile.next);
            if (p.entry) memcpy(entry_of(o, begin / T), states, (size_t)(size * W) * sizeof(float));
            for (int64_t c = first; c < last; c += W)
                forward_block(o, tile, c, states + (c - first) * p.states);
        }
    }
    return 0;
}

int backward(const ScanProblem* problem, int64_t batch, int64_t slice, int64_t first,
             int64_t last) {
    const ScanProblem& p = *problem;
    const FlushDenormals flush;
    const int64_t count = blocks(first, last), packed = count * (p.states + p.rank);
    Sums sums;
    Vectors memory(packed + lay_out(&sums, 0, p, count));
    if (memory.missing()) return 1;
    float *decay = memory.get(), *weight = decay + count * p.states * W;
    lay_out(&sums, decay + packed * W, p, count);
    for (int64_t k = 0; k < p.orders; k++) {
        const Order o = {p, k, batch, first, last, decay, weight, false};
        pack(decay, p.A + k * p.channels * p.states, first, last, p.states, LOG2E);
        if (p.rank) pack(weight, p.weight + k * p.channels * p.rank, first, last, p.rank, 1.f);
        backward_order(o, sums, slice);
    }
    return 0;
}

}  // namespace SCAN_NAMESPACE
