/* What a thread that listens knows, and what the files that receive share. */
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
    struct ease ease; /* before the request that comes next */
    unsigned count;   /* of channels */
    unsigned waiters; /* those of them that bring signals */
    unsigned next;    /* whose turn it is to be looked at */
    unsigned last_served, streak;
    struct channel *channels[MOST_RECEIVED];
};

static inline uint64_t *receive_message_area(const struct cpu_thread *thread)
{
    return (uint64_t *)(void *)(thread->frame + SEL4PY_IPC_MESSAGE);
}

/* Who keeps to the protocol posts nothing before he has his answer. One that does not cannot pile up answers that are put
 * off: until it has been given, there is nothing to take there. */
/* A channel's `owed`. One is owed at most, since nothing is taken meanwhile; BEGUN: somebody gives it. */
enum { OWED = 1, BEGUN = 2 };

static inline bool receive_is_owed(const struct channel *channel)
{
    return __atomic_load_n(&channel->owed, __ATOMIC_SEQ_CST);
}

/* receive_channels.c */
/* Brings the thread's list of channels up to date, if the keeper has changed the table. */
void receive_refresh(struct cpu_thread *thread);
/* Takes signals, or a request of the channel that was served last or of `most` others. False if there are none. */
bool receive_poll_channels(struct cpu_thread *thread, unsigned most);
/* Whether there is something to take, without taking it. */
bool receive_is_channel_ready(struct cpu_thread *thread);

/* receive_kernel.c */
bool receive_kernel_has_some(struct cpu_thread *thread);
/* READY with the message, or INTERRUPTED if there is none. */
enum wait receive_poll_kernel(struct cpu_thread *thread);
/* Blocks in the kernel. False if the doorbell does not ring. */
bool receive_post(struct cpu_thread *thread);
/* The posted receive has completed. */
enum wait receive_take_posted(struct cpu_thread *thread);
/* Ends the posted receive: READY if it had completed, INTERRUPTED if nothing is posted now and nothing came. */
enum wait receive_retract(struct cpu_thread *thread);

/* receive_wait.c. Without the GIL, but for receive_look_once and receive_peer_cpu. */
/* One look, at `most` channels and at the rest: READY with a message; AGAIN if there is none; else BROKEN. */
enum wait receive_look_once(struct cpu_thread *thread, unsigned most);
/* Look for a message for as long as that pays, and sleep until there is one. INTERRUPTED: it did not pay, or a signal
 * came. */
enum wait receive_look(struct cpu_thread *thread, int64_t deadline);
enum wait receive_sleep(struct cpu_thread *thread, int64_t deadline);
/* As the caller of a posted receive wants its end: nothing stays posted. READY if it had completed. */
enum wait receive_end(struct cpu_thread *thread, int64_t deadline);
/* Where whoever was served last runs. */
uint32_t receive_peer_cpu(const struct receiver *receiver);

#endif
