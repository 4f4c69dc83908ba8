/* Looking at many rings for a while: what the kernel does before it sleeps. */
#include "abi.h"
#include "ram.h"

#include <sched.h>
#include <time.h>

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* poll(ram, pairs, nanoseconds, start=0) -> index of a ring with submissions, or -1. `pairs` holds two words a ring:
 * frame address, consumed index. The first look is at ring `start`, so that no ring is always before another. Gives the processor away between looks, so that spinning costs only idle time. */
PyObject *ring_poll(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *source;
    Py_buffer pairs;
    unsigned long long limit;
    Py_ssize_t start = 0;
    if (!PyArg_ParseTuple(args, "Oy*K|n", &source, &pairs, &limit, &start))
        return NULL;
    RamObject *ram = as_ram(source);
    const uint64_t *words = pairs.buf;
    Py_ssize_t rings = pairs.len / 16, found = -1;
    for (Py_ssize_t i = 0; ram && i < rings; i++)
        if (!ring_frame(ram, words[2 * i]))
            ram = NULL;
    if (ram && rings) {
        start = start > 0 ? start % rings : 0;
        uint64_t end = limit ? now_ns() + limit : 0;
        do {
            for (Py_ssize_t i = 0; i < rings && found < 0; i++) {
                Py_ssize_t at = start + i < rings ? start + i : start + i - rings;
                uint32_t *produced = (uint32_t *)(void *)(ram->base + words[2 * at] + SEL4PY_SUBMIT_PRODUCED);
                if (__atomic_load_n(produced, __ATOMIC_ACQUIRE) != (uint32_t)words[2 * at + 1])
                    found = at;
            }
            if (found >= 0 || !limit)
                break;
            for (int i = 0; i < 8; i++)
                relax();
            sched_yield();
        } while (now_ns() < end);
    }
    PyBuffer_Release(&pairs);
    return ram ? PyLong_FromSsize_t(found) : NULL;
}
