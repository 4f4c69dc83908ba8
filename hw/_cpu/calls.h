/* What the files that wait for a channel share: routes of a system call, and looking before sleeping. */
#ifndef SEL4PY_CALLS_H
#define SEL4PY_CALLS_H

#include "cpu.h"

#include <sched.h>
#include <string.h>

/* How a system call was carried out. FAILED: with a Python exception set. CANCELLED: its time was over. */
enum route { BY_KERNEL, BY_CHANNEL, CANCELLED, FAILED };

/* Looks with the GIL held: no longer than giving it away and taking it back may cost where another thread wants it. */
enum { LOOKS_WITH_GIL = 64, LOOKS_A_CHECK = 16, YIELDS = 2 };

/* A peer can change the word that is slept on whenever that is tried. After so many attempts the deadline is looked at, and
 * the handlers of signals have their turn. */
enum { SLEEP_ATTEMPTS = 64 };

/* A look that takes so long was itself preempted. */
enum { PREEMPTED_NS = 30000, CROWDED_WAITS = 64 };

/* calls.c */
enum route call_by_channel(struct cpu_thread *thread, const struct sel4py_entry *entry, int64_t timeout_ns,
                           struct sel4py_completion *completion);
/* An errno value. */
int calls_bind(struct cpu_thread *thread, uint64_t cptr, struct channel *channel);
/* The channel that calls on this address went by; NULL if there was none. */
struct channel *calls_unbind(struct cpu_thread *thread, uint64_t cptr);
struct channel *calls_find(struct cpu_thread *thread, uint64_t cptr);
void calls_forget(struct cpu_thread *thread);

/* receive.c and its parts, receive_*.c */
/* Receives on what the thread listens to, and answers there. BY_KERNEL: it is nothing of a channel's. */
enum route receive_by_channel(struct cpu_thread *thread, const struct sel4py_entry *entry,
                              uint64_t reply, int64_t timeout_ns, struct sel4py_completion *completion);
/* An errno value. */
int receive_listen(struct cpu_thread *thread, uint64_t cptr);
uint64_t receive_detach(struct cpu_thread *thread);
bool receive_answer(struct cpu_thread *thread, uint64_t handle, const struct channel_message *answer);
void receive_forget(struct cpu_thread *thread);

/* look.c: how long a look may take, and whether it still pays. */
struct look {
    int64_t start, now, end;
    int looks;   /* until the clock is looked at */
    int yields;  /* where the peer needs our processor: how often it is given away; -1 elsewhere */
};

void look_begin(struct look *look, struct cpu_thread *thread, int64_t *spin_ns, uint32_t peer_cpu);
void look_pause(struct look *look);
/* How often to look with the GIL held: not at all for a peer that our own processor must run first. Before that it lingers as
 * `ease` says (NULL: not at all): for as long as the peer needs to write, since a look at that line meanwhile would take it
 * away from it. */
int looks_with_gil(uint32_t peer_cpu, const struct ease *ease);
/* A look with the GIL held has found what it looked for, the first one or a later one. How long the peer needs depends on
 * its program and on where the host puts both: a first look that came too early lengthens the next wait by a step, EASE_TRIAL
 * in a row that did not shorten it by one. One that comes too early costs more than one that comes a little late. But where
 * none may come too early both sides come late, each because the other does, and neither can tell. */
void ease_learn(struct ease *ease, bool by_first_look);
/* Looks at the clock. False when it is time to sleep, or past the deadline. */
bool look_goes_on(struct look *look, struct cpu_thread *thread, int64_t deadline);
/* What it costs here to wake a thread that sleeps, as measured lately; looking longer than that cannot win. */
int64_t look_limit_ns(void);
/* One measurement: from the waker's system call until the thread ran. */
void look_measured(int64_t wake_ns);
/* Two-competitive, with a memory: what a longer look would have caught lengthens the next one, what it would not have
 * caught halves it. */
void spin_learn(int64_t *spin_ns, int64_t limit, int64_t took);

/* trap.c */
enum wait without_gil(struct cpu_thread *thread, int64_t deadline, enum wait (*wait)(struct cpu_thread *, int64_t));
int64_t deadline_after(int64_t timeout_ns);

#endif
