// The selective scan of Mamba on a CPU: the interface for Python. native_library.py mirrors these
// structures.
//
//   h[t] = exp(step[t] A) h[t-1] + step[t] u[t] B[t]        y[t] = C[t] . h[t] + D u[t]
//
// Mamba, arXiv 2312.00752, algorithm 2; reference.py is the readable implementation. Tokens are rows
// with the channels last. K scan orders of a 3-D grid are given as strides, so that nothing is flipped,
// permuted or merged: each order adds to the same y. There is no array of L x channels x states: the
// states are kept in registers, and the backward pass recomputes them from the saved state of each
// chunk. If the decay rates of an order are tied, A[c][n] = (n + 1) A[c][0] in every bit, the forward
// pass computes one decay and its powers. Other rates need one exponential each.
#pragma once
#include <stdint.h>

static const int SCAN_ABI = 2;    // increased when these structures change
static const int SCAN_CHUNK = 32; // tokens between saved states
static const int SCAN_PAD = 16;   // floats in the widest vector

// Rows of floats. The elements of a row are contiguous; strides are in floats.
typedef struct {
    float* data;
    int64_t batch, token, order;
} ScanRows;

// Step i = (i0 n1 + i1) n2 + i2 of an order visits token first + i0 s0 + i1 s1 + i2 s2.
typedef struct {
    int64_t n[3], s[3], first;
} ScanOrder;

typedef struct {
    int64_t batch, length, channels, states, orders;
    int64_t rank;     // 0: delta holds the step sizes; else step = softplus(delta . weight + bias)
    int64_t slices;   // slices of the channels with separate sums in grad_delta, grad_B, grad_C
    int64_t threads;
    const ScanOrder* order;     // (orders)
    ScanRows u, y;              // rows of `channels`
    ScanRows delta;             // rows of `rank`, or of `channels`
    ScanRows B, C;              // rows of `states`
    const float *A, *D;         // (orders, channels, states), (orders, channels)
    const float *weight, *bias; // (orders, channels, rank), (orders, channels); unused if rank = 0
    float* entry;               // (batch, orders, chunks, channels padded to SCAN_PAD, states) or null
    // Backward only. Sums over tokens are separate for each batch, sums over channels for each slice.
    ScanRows grad_y, grad_u;
    ScanRows grad_delta, grad_B, grad_C;         // per order; `..._slice` floats between slices
    int64_t delta_slice, B_slice, C_slice;
    float *grad_A, *grad_D, *grad_weight, *grad_bias; // (batch, ...) like A, D, weight, bias
} ScanProblem;

// Operations before the scan in a layer (convolve) and after it (gate); see kernel_pass.h.
typedef struct {
    int64_t batch, length, channels, taps, threads;
    ScanRows x, gate, y;
    const float *weight, *bias; // (taps, channels), (channels); convolve only
} ScanPass;

// Scans channels [first, last) of one batch; first is a multiple of SCAN_PAD, slice is the index of
// the slice. Returns 0, or 1 if there is not enough memory.
typedef int (*ScanKernel)(const ScanProblem*, int64_t batch, int64_t slice, int64_t first,
                          int64_t last);

// Processes tokens [first, last) of one batch. Returns 0.
typedef int (*PassKernel)(const ScanPass*, int64_t batch, int64_t part, int64_t first, int64_t last);

// Functions that scan_<isa>.cpp defines for one instruction set.
#define SCAN_DECLARE(ISA)                                                      \
    namespace scan_##ISA {                                                     \
    int forward(const ScanProblem*, int64_t, int64_t, int64_t, int64_t);       \
    int backward(const ScanProblem*, int64_t, int64_t, int64_t, int64_t);      \
    int convolve(const ScanPass*, int64_t, int64_t, int64_t, int64_t);         \
    int gate(const ScanPass*, int64_t, int64_t, int64_t, int64_t);             \
    }
SCAN_DECLARE(avx512)
SCAN_DECLARE(avx2)
SCAN_DECLARE(sse)
SCAN_DECLARE(neon)
