/* What loops that look at shared memory use between their looks: the host's monotonic clock, the processor's pause, and a
 * shorter one; and which processor that is. */
#ifndef SEL4PY_SPIN_H
#define SEL4PY_SPIN_H

#include <sched.h>
#include <stdint.h>
#include <time.h>

#if defined(__GLIBC__) && (defined(__x86_64__) || defined(__aarch64__)) && __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#define HAS_RSEQ 1
#endif

static inline int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

#ifdef HAS_RSEQ
/* On x86-64 GCC has the builtin from version 11 on, and says before that it has and then refuses it. */
static inline const char *thread_pointer(void)
{
#if defined(__x86_64__)
    const char *own;
    __asm__("movq %%fs:0, %0" : "=r"(own));
    return own;
#else
    return __builtin_thread_pointer();
#endif
}
#endif

/* As sched_getcpu(), without a call where Linux keeps it in the thread's own memory, rseq(2). */
static inline uint32_t current_cpu(void)
{
#ifdef HAS_RSEQ
    if (__builtin_expect(__rseq_size, 1)) { /* else the program's C library has not registered it */
        const char *own = thread_pointer() + __rseq_offset;
        const uint32_t cpu = __atomic_load_n(&((const struct rseq *)(const void *)own)->cpu_id, __ATOMIC_RELAXED);
        if (__builtin_expect((int32_t)cpu >= 0, 1))
            return cpu;
    }
#endif
    return (uint32_t)sched_getcpu();
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
