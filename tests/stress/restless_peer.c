/* A library that is loaded first: a peer that writes at the words of a channel's page whenever somebody is about to sleep on
 * them, so that nobody ever does. One that has the page mapped and writes without end comes close to that.
 */
#define _GNU_SOURCE
#include "abi.h"

#include <dlfcn.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

enum { ARGUMENTS = 6, OFFSETS = SEL4PY_CHANNEL_BYTES - 1, WITHOUT_MEANING = 4 /* a bit of DONE */ };

struct waited_for {
    uint64_t value, address;
    uint32_t flags, reserved;
};

/* The words that a task sleeps on elsewhere have other places in their pages. */
static void write_at(uint64_t address)
{
    uint32_t *word = (uint32_t *)(uintptr_t)address;
    if ((address & OFFSETS) == SEL4PY_CHANNEL_SLEEPERS)
        __atomic_fetch_add(word, SEL4PY_CHANNEL_SLEEPING, __ATOMIC_SEQ_CST);
    else if ((address & OFFSETS) == SEL4PY_CHANNEL_REPLY)
        __atomic_fetch_xor(word, WITHOUT_MEANING, __ATOMIC_SEQ_CST);
}

/* In place of the C library's. */
long syscall(long number, ...)
{
    long (*real)(long, ...) = (long (*)(long, ...))(uintptr_t)dlsym(RTLD_NEXT, "syscall");
    long of[ARGUMENTS];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < ARGUMENTS; i++)
        of[i] = va_arg(arguments, long);
    va_end(arguments);
    const struct waited_for *words = (const void *)(uintptr_t)of[0];
    for (long i = 0; number == SYS_futex_waitv && i < of[1]; i++)
        write_at(words[i].address);
    if (number == SYS_futex && of[1] == FUTEX_WAIT_BITSET) /* what processes share is not FUTEX_PRIVATE_FLAG's */
        write_at((uint64_t)of[0]);
    return real(number, of[0], of[1], of[2], of[3], of[4], of[5]);
}
