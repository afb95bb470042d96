#if defined(__x86_64__) || defined(_M_X64)
#define SCAN_AVX2
#define SCAN_NAMESPACE scan_avx2
#include "kernel.h"
#endif
