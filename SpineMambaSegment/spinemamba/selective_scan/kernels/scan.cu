// The selective scan of Mamba on an NVIDIA GPU, compiled on the user's computer by NVRTC, which comes
// with torch; neither nvcc nor a binary is needed. cuda_launch.py launches these kernels; reference.py
// is the readable implementation.
//
//   h[t] = exp(step[t] A) h[t-1] + step[t] u[t] B[t]        y[t] = C[t] . h[t] + D u[t]
//
// A launch processes one scan order, given as strides; y is the sum over the orders. The tokens are cut
// into chunks, so that even one image uses the whole GPU. There are three steps: compute the end state
// of each chunk from a zero state, chain these states, and compute the outputs. The backward pass does
// the same from the end. There is no array of tokens x channels x states, and no sum depends on the
// order of blocks: results are reproducible bit for bit.
//
// Macros set by the caller of the compiler: STATES (at most 32), RANK (0: delta holds the step sizes;
// else step = softplus(delta . weight + bias)), CHUNK (tokens per chunk in the backward pass). The
// backward pass exists for RANK 0 only: gradients of the low-rank input are matrix products.

typedef long long Int;

struct Rows {  // rows of floats with contiguous elements; strides in floats
    float* data;
    Int batch, token;
};

struct Problem {  // mirrored in cuda_launch.py
    Int length, channels, chunk, chunks;
    Int n[3], s[3], first;  // step (i0 n1 + i1) n2 + i2 visits token first + i0 s0 + i1 s1 + i2 s2
    Rows u, y, delta, B, C;
    const float *A, *D, *weight, *bias;  // (channels, STATES), (channels), (channels, RANK), (channels)
    float *entry, *span;                 // (batch, chunks, channels, STATES), (batch, chunks, channels)
    Rows grad_y, grad_u, grad_delta, grad_B, grad_C;
    float *adjoint, *grad_A;  // both like entry
};

#define LOG2E 1.44269504f

// Position in a scan order.
struct Walk {
    Int i0, i1, i2, token;

    __device__ Walk(const Problem& p, Int step) {
        i2 = step % p.n[2];
        i1 = step / p.n[2] % p.n[1];
        i0 = step / p.n[2] / p.n[1];
        place(p);
    }
    __device__ void place(const Problem& p) {
        token = p.first + i0 * p.s[0] + i1 * p.s[1] + i2 * p.s[2];
    }
    __device__ void next(const Problem& p) {
        if (++i2 == p.n[2]) {
            i2 = 0;
            if (++i1 == p.n[1]) i1 = 0, ++i0;
        }
        place(p);
    }
    __device__ void back(const Problem& p) {
        if (i2-- == 0) {
            i2 = p.n[2] - 1;
            if (i1-- == 0) i1 = p.n[1] - 1, --i0;
        }
        place(p);
    }
};

__device__ inline float* row(const Rows& rows, Int batch, Int token) {
    return rows.data + batch * rows.batch + token * rows.token;
}

__device__ inline Int end_of(const Problem& p, Int chunk) {
    const Int end = (chunk + 1) * p.chunk;
    return end < p.length ? end : p.length;
}

// Parameters of one channel.
struct Channel {
    Int d;
    float rate[STATES];  // A log2(e)
    float weight[RANK ? RANK : 1], bias;

    __device__ Channel(const Problem& p, Int channel) : d(channel), bias(0.f) {
#pragma unroll
        for (int i = 0; i < STATES; i++) rate[i] = p.A[d * STATES + i] * LOG2E;
        if (RANK) bias = p.bias[d];
#pragma unroll
        for (int i = 0; i < RANK; i++) weight[i] = p.weight[d * RANK + i];
    }
    __device__ float step(const Problem& p, Int batch, Int token) const {
        const float* delta = row(p.delta, batch, token);
        if (!RANK) return delta[d];
        float x = bias;
#pragma unroll
        for (int i = 0; i < RANK; i++) x += delta[i] * weight[i];
        return x > 20.f ? x : log1pf(exp2f(x * LOG2E));
    }
};

// One thread per channel, chunk (x) and batch (z): end states of a chunk with entry state 0.
extern "C" __global__ void __launch_bounds__(64) ends(Problem p) {
    const Int d = blockIdx.y * blockDim.x + threadIdx.x, chunk = blockIdx.x, batch = blockIdx.z;
    if (d >= p.channels) return;
    const Channel channel(p, d);
    float h[STATES] = {0.f}, span = 0.f;
    const Int end = end_of(p, chunk);
    Walk at(p, chunk * p.chunk);
    for (Int t = chunk * p.chunk; t < end; t++, at.next(p)) {
        const float step = channel.step(p, batch, at.token);
        const float drive = step * row(p.u, batch, at.token)[d];
        const float* B = row(p.B, batch, at.token);
        span += step;
#pragma unroll
        for (int i = 0; i < STATES; i++) h[i] = h[i] * exp2f(step * channel.rate[i]) + drive * B[i];
    }
    const Int index = (batch * p.chunks + chunk) * p.channels + d;
#pragma unroll
    for (int i = 0; i < STATES; i++) p.entry[index * STATES + i] = h[i];
    p.span[index] = span;
}

// One thread per state of a channel (x) and batch (y): from the end states of chunks with entry state 0
// to the entry states of all chunks.
extern "C" __global__ void chain(Problem p) {
    const Int i = (Int)blockIdx.x * blockDim.x + threadIdx.x, batch = blockIdx.y;
    if (i >= p.channels * STATES) return;
    const float rate = p.A[i] * LOG2E;
    float h = 0.f;
    for (Int c = 0; c < p.chunks; c++) {
        const Int at = (batch * p.chunks + c) * p.channels;
        const float end = p.entry[at * STATES + i];
        p.entry[at * STATES + i] = h;
        h = h * exp2f(rate * p.span[at + i / STATES]) + end;
    }
}

// Like `ends`, with the actual entry states: computes the outputs and adds them to y.
extern "C" __global__ void __launch_bounds__(64) outputs(Problem p) {
    const Int d = blockIdx.y * blockDim.x + threadIdx.x, chunk = blockIdx.x, batch = blockIdx.z;
    if (d >= p.channels) return;
    const Channel channel(p, d);
    const float* entry = p.entry + ((batch * p.chunks + chunk) * p.channels + d) * STATES;
    float h[STATES];
#pragma unroll
    for (int i = 0; i < STATES; i++) h[i] = entry[i];
    const float skip = p.D[d];
    const Int end = end_of(p, chunk);
    Walk at(p, chunk * p.chunk);
    for (Int t = chunk * p.chunk; t < end; t++, at.next(p)) {
        const float step = channel.step(p, batch, at.token), u = row(p.u, batch, at.token)[d];
        const float drive = step * u;
        const float *B = row(p.B, batch, at.token), *C = row(p.C, batch, at.token);
        float y = skip * u;
#pragma unroll
        for (int i = 0; i < STATES; i++) {
            h[i] = h[i] * exp2f(step * channel.rate[i]) + drive * B[i];
            y += h[i] * C[i];
        }
        row(p.y, batch, at.token)[d] += y;
    }
}

#if RANK == 0
// g[t] = C[t] grad_y[t] + decay[t+1] g[t+1] is the gradient of the state h[t].
// Like `ends`, backwards: gradient before the first token of a chunk, if that after its last token is 0.
extern "C" __global__ void __launch_bounds__(64) adjoint_ends(Problem p) {
    const Int d = blockIdx.y * blockDim.x + threadIdx.x, chunk = blockIdx.x, batch = blockIdx.z;
    if (d >= p.channels) return;
    const Channel channel(p, d);
    float g[STATES] = {0.f}, span = 0.f;
    const Int begin = chunk * p.chunk, end = end_of(p, chunk);
    Walk at(p, end - 1);
    for (Int t = end - 1; t >= begin; t--, at.back(p)) {
        const float step = channel.step(p, batch, at.token);
        const float grad = row(p.grad_y, batch, at.token)[d];
        const float* C = row(p.C, batch, at.token);
        span += step;
#pragma unroll
        for (int i = 0; i < STATES; i++) {
            g[i] = (g[i] + C[i] * grad) * exp2f(step * channel.rate[i]);
        }
    }
    const Int index = (batch * p.chunks + chunk) * p.channels + d;
#pragma unroll
    for (int i = 0; i < STATES; i++) p.adjoint[index * STATES + i] = g[i];
    p.span[index] = span;
}

// Like `chain`, backwards: gradient that each chunk receives after its last token.
extern "C" __global__ void adjoint_chain(Problem p) {
    const Int i = (Int)blockIdx.x * blockDim.x + threadIdx.x, batch = blockIdx.y;
    if (i >= p.channels * STATES) return;
    const float rate = p.A[i] * LOG2E;
    float g = 0.f;
    for (Int c = p.chunks - 1; c >= 0; c--) {
        const Int at = (batch * p.chunks + c) * p.channels;
        const float end = p.adjoint[at * STATES + i];
        p.adjoint[at * STATES + i] = g;
        g = g * exp2f(rate * p.span[at + i / STATES]) + end;
    }
}

#define LANES (STATES > 16 ? 32 : STATES > 8 ? 16 : STATES > 4 ? 8 : STATES > 2 ? 4 : STATES)
#define BLOCK 256
#define WARPS (BLOCK / 32)
#define ALL 0xffffffffu

__device__ inline float over_states(float x) {
#pragma unroll
    for (int lane = LANES / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(ALL, x, lane);
    return x;
}

// Sum over the channels of a block and write the row of each token.
__device__ inline void write_sums(const Problem& p, const Rows& out, const Int* tokens, int count,
                                  const float* sums, float (*shared)[WARPS][LANES]) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    __syncthreads();
#pragma unroll
    for (int t = 0; t < CHUNK; t++) {
        float x = sums[t];
#pragma unroll
        for (int other = 16; other >= LANES; other /= 2) x += __shfl_xor_sync(ALL, x, other);
        if (lane < LANES) shared[t][warp][lane] = x;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < count * STATES; i += BLOCK) {
        const int t = i / STATES, n = i % STATES;
        float x = 0.f;
        for (int w = 0; w < WARPS; w++) x += shared[t][w][n];
        row(out, blockIdx.y, tokens[t])[n] = x;
    }
}

// One thread per state and channel, one block per chunk (x, of CHUNK tokens) and batch (y). Adds to
// grad_u.
extern "C" __global__ void __launch_bounds__(BLOCK) gradients(Problem p) {
    __shared__ float shared[CHUNK][WARPS][LANES];
    __shared__ Int tokens[CHUNK];
    const Int chunk = blockIdx.x, batch = blockIdx.y, begin = chunk * CHUNK;
    const int n = threadIdx.x % LANES, count = (int)(end_of(p, chunk) - begin);
    if (threadIdx.x < count) tokens[threadIdx.x] = Walk(p, begin + threadIdx.x).token;
    __syncthreads();
    float sum_B[CHUNK] = {0.f}, sum_C[CHUNK] = {0.f};
    for (Int base = 0; base < p.channels; base += BLOCK / LANES) {
        const Int d = base + threadIdx.x / LANES;
        const Int at = ((batch * p.chunks + chunk) * p.channels + d) * STATES + n;
        // Threads without a channel or state contribute 0 to the sums.
        const bool own = d < p.channels && n < STATES;
        const float A = own ? p.A[d * STATES + n] : 0.f, rate = A * LOG2E;
        float h = own ? p.entry[at] : 0.f, g = own ? p.adjoint[at] : 0.f, rate_sum = 0.f;
        float before[CHUNK];
#pragma unroll
        for (int t = 0; t < CHUNK; t++) {
            before[t] = h;
            if (!own || t >= count) continue;
            const float step = row(p.delta, batch, tokens[t])[d];
            const float drive = step * row(p.u, batch, tokens[t])[d];
            h = h * exp2f(step * rate) + drive * row(p.B, batch, tokens[t])[n];
            sum_C[t] += h * row(p.grad_y, batch, tokens[t])[d];
        }
#pragma unroll
        for (int t = CHUNK - 1; t >= 0; t--) {
            if (t >= count) continue;  // the same for all threads of a block
            float step = 0.f, u = 0.f, drive_part = 0.f, delta_part = 0.f;
            if (own) {
                step = row(p.delta, batch, tokens[t])[d], u = row(p.u, batch, tokens[t])[d];
                const float grad = row(p.grad_y, batch, tokens[t])[d];
                g += row(p.C, batch, tokens[t])[n] * grad;
                sum_B[t] += g * step * u;
                drive_part = g * row(p.B, batch, tokens[t])[n];
                g *= exp2f(step * rate);
                const float part = g * before[t];  // the gradient of step A
                delta_part = part * A;
                rate_sum += part * step;
            }
            const float drive = over_states(drive_part), delta = over_states(delta_part);
            if (own && n == 0) {
                row(p.grad_u, batch, tokens[t])[d] += drive * step;
                row(p.grad_delta, batch, tokens[t])[d] = delta + drive * u;
            }
        }
        if (own) p.grad_A[at] = rate_sum;
    }
    write_sums(p, p.grad_B, tokens, count, sum_B, shared);
    write_sums(p, p.grad_C, tokens, count, sum_C, shared);
}
#endif
