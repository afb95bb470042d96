// Enough of CUDA to run a kernel on a CPU, one block after the other: each thread of a block is a
// context of its own, which runs until it has to wait for the others. Slow, exact, and no GPU.
// The compiler gets it with -include, before the kernels.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(n)

struct Place {
    unsigned x, y, z;
};
static Place blockIdx, threadIdx, blockDim;

static ucontext_t home;
static std::vector<ucontext_t> threads;
static std::vector<float> said;  // what each thread gave to the last shuffle
static std::vector<char> ended;
static unsigned running;

static void wait_for_the_others() {
    const unsigned me = running;
    swapcontext(&threads[me], &home);
    threadIdx.x = running = me;
}

static void __syncthreads() { wait_for_the_others(); }

static float __shfl_xor_sync(unsigned, float x, int lanes) {
    const unsigned me = running;
    said[me] = x;
    wait_for_the_others();
    const float other = said[me ^ (unsigned)lanes];
    wait_for_the_others();  // or a fast thread would say the next before a slow one has listened
    return other;
}

static std::function<void()> body;
static void run_body() {
    body();
    ended[running] = 1;
}

static void run_block(unsigned count) {
    static std::vector<std::vector<char>> stacks;
    stacks.resize(count, std::vector<char>(1 << 16));
    threads.assign(count, ucontext_t());
    said.assign(count, NAN);
    ended.assign(count, 0);
    for (unsigned t = 0; t < count; t++) {
        getcontext(&threads[t]);
        threads[t].uc_stack.ss_sp = stacks[t].data();
        threads[t].uc_stack.ss_size = stacks[t].size();
        threads[t].uc_link = &home;
        makecontext(&threads[t], run_body, 0);
    }
    for (bool any = true; any;) {
        any = false;
        for (unsigned t = 0; t < count; t++) {
            if (ended[t]) continue;
            any = true;
            threadIdx = {running = t, 0, 0};
            swapcontext(&home, &threads[t]);
        }
    }
}

template <class P>
void run_grid(void (*kernel)(P), const unsigned* blocks, unsigned count, const P& p) {
    blockDim = {count, 1, 1};
    body = [&] { kernel(p); };
    for (unsigned z = 0; z < blocks[2]; z++)
        for (unsigned y = 0; y < blocks[1]; y++)
            for (unsigned x = 0; x < blocks[0]; x++) {
                blockIdx = {x, y, z};
                run_block(count);
            }
}
