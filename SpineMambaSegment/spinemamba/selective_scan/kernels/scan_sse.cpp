#if defined(__x86_64__) || defined(_M_X64)
#define SCAN_SSE
#define SCAN_NAMESPACE scan_sse
#include "kernel.h"
#endif
