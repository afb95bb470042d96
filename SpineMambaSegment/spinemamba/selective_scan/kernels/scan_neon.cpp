#if defined(__aarch64__) || defined(_M_ARM64)
#define SCAN_NEON
#define SCAN_NAMESPACE scan_neon
#include "kernel.h"
#endif
