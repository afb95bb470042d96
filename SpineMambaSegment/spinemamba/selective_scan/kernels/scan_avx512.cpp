#if defined(__x86_64__) || defined(_M_X64)
#define SCAN_AVX512
#define SCAN_NAMESPACE scan_avx512
#include "kernel.h"
#endif
