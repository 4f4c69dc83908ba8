/* What a thread that listens knows. receive.c */
#ifndef SEL4PY_RECEIVE_H
#define SEL4PY_RECEIVE_H

#include "calls.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
/* Older headers lack what goes with it. */
#ifndef FUTEX_32
#define FUTEX_32 2
struct futex_waitv {
    uint64_t val;
    uint64_t uaddr;
    uint32_t flags;
    uint32_t __reserved;
};
#endif

enum { OWN_WORDS = 2, FEW_MESSAGES = 8, STREAK = 16, A_LOOK = 8 };
_Static_assert(OWN_WORDS + MOST_RECEIVED <= 128, "futex_waitv takes 128 words");

/* After so long without a message the kernel is told that the thread waits. */
#define IDLE_NS INT64_C(5000000)

enum last { LAST_NONE, LAST_CHANNEL, LAST_KERNEL };

struct receiver {
    uint64_t cptr; /* what it listens to; 0 for nothing */
    bool is_wait; /* by WAIT, without a reply object */
    uint64_t reply; /* the reply object of the last receive */
    struct sel4py_completion *completion; /* where the message that comes goes */
    uint32_t event_seen, hint_seen;
    bool pending; /* the kernel may hold something for it */
    bool posted;  /* a receive is blocked in the kernel */
    uint64_t posted_tag;
    enum last last;
    uint32_t since_channel; /* messages from the kernel since the last one of a channel */
    struct channel *serving; /* whose request the last receive returned, until it is answered */
    uint16_t sequence;
    struct channel *peer; /* who was served last */
    int64_t looked_from;
    int64_t spin_ns;
    unsigned count;   /* of channels */
    unsigned waiters; /* those of them that bring signals */
    unsigned next;    /* whose turn it is to be looked at */
    unsigned last_served, streak;
    struct channel *channels[MOST_RECEIVED];
};

enum wait receive_end(struct cpu_thread *thread, int64_t deadline);

#endif
