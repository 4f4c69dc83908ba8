/* What loops that look at shared memory use between their looks: the host's monotonic clock, and the processor's pause. */
#ifndef SEL4PY_SPIN_H
#define SEL4PY_SPIN_H

#include <stdint.h>
#include <time.h>

static inline int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
