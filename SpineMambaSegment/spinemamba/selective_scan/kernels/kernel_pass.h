// Convolution before and gate after the scan, each in one pass over memory.
#pragma once
#include "scan.h"
#include "simd.h"

namespace SCAN_NAMESPACE {

INLINE V silu(V x) { return mul(x, sigmoid(x)); }

// y[t] = silu(bias + sum of weight[k] x[t + k - (taps - 1)]) for tokens [first, last); before the first
// token x is 0.
int convolve(const ScanPass* pass, int64_t batch, int64_t, int64_t first, int64_t last) {
    const ScanPass& p = *pass;
    const FlushDenormals flush;
    const float* x = p.x.data + batch * p.x.batch;
    float* y = p.y.data + batch * p.y.batch;
    for (int64_t t = first; t < last; t++) {
        const int64_t ahead = t < p.taps - 1 ? p.taps - 1 - t : 0;
        const float* rows = x + (t - (p.taps - 1)) * p.x.token;
        for (int64_t c = 0; c < p.channels; c += W) {
            const int lanes = (int)(p.channels - c < W ? p.channels - c : W);
            V sum = load_part(p.bias + c, lanes);
            for (int64_t k = ahead; k < p.taps; k++)
                sum = fma(load_part(rows + k * p.x.token + c, lanes),
                          load_part(p.weight + k * p.channels + c, lanes), sum);
            store_part(y + t * p.y.token + c, silu(sum), lanes);
        }
    }
    return 0;
}

// y[t] = x[t] silu(gate[t]) for tokens [first, last).
int gate(const ScanPass* pass, int64_t batch, int64_t, int64_t first, int64_t last) {
    const ScanPass& p = *pass;
    const FlushDenormals flush;
    for (int64_t t = first; t < last; t++) {
        const float* x = p.x.data + batch * p.x.batch + t * p.x.token;
        const float* gate = p.gate.data + batch * p.gate.batch + t * p.gate.token;
        float* y = p.y.data + batch * p.y.batch + t * p.y.token;
        for (int64_t c = 0; c < p.channels; c += W) {
            const int lanes = (int)(p.channels - c < W ? p.channels - c : W);
            const V gated = mul(load_part(x + c, lanes), silu(load_part(gate + c, lanes)));
            store_part(y + c, gated, lanes);
        }
    }
    return 0;
}

}  // namespace SCAN_NAMESPACE
