/* The task's half of the trap ring: PRODUCER of submissions, CONSUMER of completions (libsel4py/abi.py).
 *
 * Waiting looks for as long as looking has paid lately, giving the processor away between looks, and then sleeps:
 * announce, look again, sleep. Nothing in this file needs the GIL.
 */
#include "calls.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>

/* A block and wake-up across processors costs about 50 microseconds: looking longer than that cannot win. */
static int64_t spin_limit_ns = 10000;
enum { LOOKS_A_YIELD = 16 };

void ring_set_spin(int64_t nanoseconds) { __atomic_store_n(&spin_limit_ns, nanoseconds, __ATOMIC_RELAXED); }

int futex_wait_until(uint32_t *word, uint32_t seen, int64_t deadline, bool shared)
{
    struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
    int op = FUTEX_WAIT_BITSET | (shared ? 0 : FUTEX_PRIVATE_FLAG);
    return (int)syscall(SYS_futex, word, op, seen, deadline == NO_DEADLINE ? NULL : &until, NULL,
                        FUTEX_BITSET_MATCH_ANY);
}

void futex_wake_all(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, NULL, NULL, 0);
}

uint64_t ring_submit(struct cpu_thread *thread, struct sel4py_entry *entry, const struct sel4py_tail *tail)
{
    unsigned slot = thread->submitted % SEL4PY_RING_ENTRIES;
    entry->tag = ++thread->tag;
    memcpy(thread->frame + SEL4PY_SUBMIT_RING + slot * sizeof *entry, entry, sizeof *entry);
    if (tail)
        memcpy(thread->frame + SEL4PY_SUBMIT_TAILS + slot * sizeof *tail, tail, sizeof *tail);
    thread->submitted++;
    return entry->tag;
}

bool ring_publish(struct cpu_thread *thread)
{
    __atomic_store_n(frame_word(thread, SEL4PY_SUBMIT_PRODUCED), thread->submitted, __ATOMIC_RELEASE);
    /* The kernel says that it stops watching, then looks at the index; we do the same two the other way round. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(frame_word(thread, SEL4PY_KERNEL_WATCHING), __ATOMIC_RELAXED))
        return true;
    const uint64_t one = 1;
    ssize_t written;
    do
        written = write(thread->doorbell, &one, sizeof one);
    while (written < 0 && errno == EINTR);
    /* EAGAIN: it has been rung 2^64 - 2 times and not been answered, so it still rings. */
    return written >= 0 || errno == EAGAIN;
}

/* Signed, because a restarted kernel may tell an index again. */
static bool is_ahead(const struct cpu_thread *thread, uint32_t produced)
{
    return (int32_t)(produced - thread->completed) > 0;
}

bool ring_ready(const struct cpu_thread *thread)
{
    return is_ahead(thread, __atomic_load_n(frame_word(thread, SEL4PY_COMPLETE_PRODUCED), __ATOMIC_ACQUIRE));
}

/* What TASK_WAITING says of a thread that wants so many completions. 0 and 1 are no numbers there, but mean each. */
static uint32_t waits_for(const struct cpu_thread *thread, unsigned count)
{
    uint32_t wanted = thread->completed + count;
    return count == 1 || wanted <= 1 ? 1 : wanted;
}

static enum wait wait_asleep(struct cpu_thread *thread, int64_t deadline, unsigned count)
{
    uint32_t *word = frame_word(thread, SEL4PY_COMPLETE_PRODUCED);
    enum wait result = WAIT_READY;
    __atomic_store_n(frame_word(thread, SEL4PY_TASK_WAITING), waits_for(thread, count), __ATOMIC_SEQ_CST);
    for (;;) {
        uint32_t seen = __atomic_load_n(word, __ATOMIC_SEQ_CST);
        if (is_ahead(thread, seen - (count - 1))) {
            result = WAIT_READY;
            break;
        }
        if (result != WAIT_READY)
            break;
        if (futex_wait_until(word, seen, deadline, true) == 0 || errno == EAGAIN)
            continue;
        /* Both are told only after one more look. */
        result = errno == ETIMEDOUT ? WAIT_TIMEOUT : WAIT_INTERRUPTED;
    }
    __atomic_store_n(frame_word(thread, SEL4PY_TASK_WAITING), 0, __ATOMIC_RELAXED);
    return result;
}

enum wait ring_look(struct cpu_thread *thread, int64_t deadline)
{
    int64_t limit = __atomic_load_n(&spin_limit_ns, __ATOMIC_RELAXED), start = now_ns(), now = start;
    thread->looks_since = start;
    if (thread->spin_ns > limit)
        thread->spin_ns = limit;
    do {
        for (int i = 0; i < LOOKS_A_YIELD; i++) {
            if (ring_ready(thread)) {
                spin_learn(&thread->spin_ns, limit, now - start);
                return WAIT_READY;
            }
            relax();
        }
        now = now_ns();
        if (now >= deadline)
            return ring_ready(thread) ? WAIT_READY : WAIT_TIMEOUT;
    } while (now - start < thread->spin_ns);
    return WAIT_INTERRUPTED;
}

static enum wait sleep_for(struct cpu_thread *thread, int64_t deadline, unsigned count)
{
    enum wait result = wait_asleep(thread, deadline, count);
    if (result != WAIT_INTERRUPTED)
        spin_learn(&thread->spin_ns, __atomic_load_n(&spin_limit_ns, __ATOMIC_RELAXED), now_ns() - thread->looks_since);
    return result;
}

enum wait ring_sleep(struct cpu_thread *thread, int64_t deadline) { return sleep_for(thread, deadline, 1); }

void ring_wait_for(struct cpu_thread *thread, unsigned count)
{
    enum wait result = ring_look(thread, NO_DEADLINE);
    while (result != WAIT_READY)
        result = sleep_for(thread, NO_DEADLINE, count);
}

void ring_wait_uninterrupted(struct cpu_thread *thread) { ring_wait_for(thread, 1); }

bool ring_take(struct cpu_thread *thread, uint64_t tag, struct sel4py_completion *completion)
{
    unsigned slot = thread->completed % SEL4PY_RING_ENTRIES;
    memcpy(completion, thread->frame + SEL4PY_COMPLETE_RING + slot * sizeof *completion, sizeof *completion);
    thread->completed++;
    __atomic_store_n(frame_word(thread, SEL4PY_COMPLETE_CONSUMED), thread->completed, __ATOMIC_RELEASE);
    return completion->tag == tag;
}
