/* What loops that look at shared memory use between their looks: the host's monotonic clock, the processor's pause, and a
 * shorter one. */
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

/* A few nanoseconds: what a processor's pause is too long for, which takes from some forty cycles to a hundred and forty. */
static inline void linger(void)
{
    for (int i = 20; i > 0; i--)
        __asm__ volatile("");
}

#endif
