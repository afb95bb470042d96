// Exported functions: choice of the instruction set, and distribution of the work to threads.
#include "scan.h"

#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

#if defined(_WIN32)
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

#if defined(__x86_64__) || defined(_M_X64)
#define SCAN_X86 1
#elif defined(__aarch64__) || defined(_M_ARM64)
#define SCAN_ARM 1
#endif

#if defined(SCAN_X86) && defined(_MSC_VER)
#include <intrin.h>
// Leaf 7 has the instruction sets, XCR0 whether the operating system saves their registers.
static bool has(int bit_of_leaf7_ebx, unsigned long long registers) {
    int leaf[4];
    __cpuid(leaf, 1);
    const bool saved = leaf[2] >> 27 & 1, fma = leaf[2] >> 12 & 1;
    if (!saved || !fma || (_xgetbv(0) & registers) != registers) return false;
    __cpuidex(leaf, 7, 0);
    return leaf[1] >> bit_of_leaf7_ebx & 1;
}
static bool has_avx2() { return has(5, 0x6); }
static bool has_avx512() { return has(16, 0xe6); }
#elif defined(SCAN_X86)
static bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static bool has_avx512() { return __builtin_cpu_supports("avx512f"); }
#endif

struct Variant {
    const char* name;
    bool (*runs_here)();
    ScanKernel forward, backward;
    PassKernel convolve, gate;
};

static bool always() { return true; }

#define SCAN_KERNELS(ISA) \
    scan_##ISA::forward, scan_##ISA::backward, scan_##ISA::convolve, scan_##ISA::gate

static const Variant VARIANTS[] = {  // fastest first
#if defined(SCAN_X86)
    {"avx512", has_avx512, SCAN_KERNELS(avx512)},
    {"avx2", has_avx2, SCAN_KERNELS(avx2)},
    {"sse", always, SCAN_KERNELS(sse)},
#elif defined(SCAN_ARM)
    {"neon", always, SCAN_KERNELS(neon)},
#endif
    {nullptr, always, nullptr, nullptr, nullptr, nullptr},
};

static const Variant* find(const char* name) {
    for (const Variant* v = VARIANTS; v->name; v++) {
        const char *a = v->name, *b = name;
        while (*a && *a == *b) a++, b++;
        if (*a == *b) return v;
    }
    return nullptr;
}

// Cut `count` channels or tokens of each batch into parts that are multiples of `unit`, and let threads
// process them in turn.
template <class Problem>
static int share(const Problem& p, int (*kernel)(const Problem*, int64_t, int64_t, int64_t, int64_t),
                 int64_t count, int64_t unit, int64_t parts) {
    std::atomic<int64_t> next(0);
    std::atomic<int> failed(0);
    const auto edge = [&](int64_t part) {
        return part == parts ? count : count * part / parts / unit * unit;
    };
    const auto work = [&] {
        for (int64_t task; (task = next++) < p.batch * parts;) {
            const int64_t part = task % parts, first = edge(part), last = edge(part + 1);
            if (first < last) failed |= kernel(&p, task / parts, part, first, last);
        }
    };
    std::vector<std::thread> helpers;
    try {
        for (int64_t t = 1; t < p.threads && t < p.batch * parts; t++) helpers.emplace_back(work);
    } catch (const std::system_error&) {
        // No more threads can be started: those that run do all the work.
    }
    work();
    for (std::thread& helper : helpers) helper.join();
    return failed;
}

// Number of parts of each batch such that every thread has work.
template <class Problem>
static int64_t parts_for(const Problem& p) {
    return (p.threads + p.batch - 1) / p.batch;
}

EXPORT int scan_abi() { return SCAN_ABI; }

// 1 if this processor supports a variant, 0 if not, -1 if the library does not contain it.
EXPORT int scan_supports(const char* variant) {
    const Variant* v = find(variant);
    return v ? v->runs_here() : -1;
}

// 0 on success, 1 if there is not enough memory, -1 if this processor does not support the variant.
EXPORT int scan_forward(const ScanProblem* p, const char* variant) {
    if (scan_supports(variant) != 1) return -1;
    // Channels are independent: the number of parts may depend on the threads without changing a bit.
    return share(*p, find(variant)->forward, p->channels, SCAN_PAD, parts_for(*p));
}

EXPORT int scan_backward(const ScanProblem* p, const char* variant) {
    if (scan_supports(variant) != 1) return -1;
    // Sums over channels are per slice. The number of slices does not depend on the threads, so that
    // the number of threads does not change the result.
    return share(*p, find(variant)->backward, p->channels, SCAN_PAD, p->slices);
}

// 0 on success, -1 if this processor does not support the variant; the same for scan_gate.
EXPORT int scan_convolve(const ScanPass* p, const char* variant) {
    if (scan_supports(variant) != 1) return -1;
    return share(*p, find(variant)->convolve, p->length, 1, parts_for(*p));
}

EXPORT int scan_gate(const ScanPass* p, const char* variant) {
    if (scan_supports(variant) != 1) return -1;
    return share(*p, find(variant)->gate, p->length, 1, parts_for(*p));
}
