/* The kernel's loop over watched rings: serves what the fast path can, and looks for a while before it gives up. */
#define _GNU_SOURCE
#include "back_ends.h"
#include "completion.h"
#include "fastpath.h"
#include "spin.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    TAKEN_HIGH = 256, /* system calls before Python has a look at its other work */
    MAP_TAKES = 8,    /* beside the one, of a Map with its host part: 16 for a fault, and its answer, are fewer */
    TURNS_NS_HIGH = 100000, /* of devices' turns, before the same: one is as long as hundreds of system calls */
    LOOKS_NS_HIGH = 1000000000,
    ANSWER_NS = 30000, /* what a pager in Python needs from a Map to its answer, twice */
    BURST = 16,       /* submissions of one ring while no other has one: about a microsecond, less than a slow system call */
};

/* A watched ring, as kerneld/entry.py keeps them in one array. */
struct watched {
    uint64_t frame, consumed, tcb, served;
};

/* Publishes the completion that the outbox tells by the entry of this number, and those before it. Returns its TCB. */
static uint64_t publish_told(RamObject *ram, const struct layout *at, unsigned number)
{
    const uint64_t tcb = ((uint64_t *)(void *)(ram->base + at->outbox_entries))[4 * number + 1];
    uint64_t *record = (uint64_t *)(void *)(ram->base + tcb);
    uint64_t buffer = record[at->tcb_buffer / 8];
    uint8_t *frame = ram->base + (buffer & OBJECT_MASK);
    if (buffer >> TYPE_SHIFT == at->cap_frame && (buffer & OBJECT_MASK) <= ram->size - SEL4PY_TRAP_FRAME_BYTES) {
        uint32_t produced = (uint32_t)record[at->tcb_produced / 8];
        completion_write(frame, (const void *)(ram->base + tcb + at->tcb_told), produced - 1);
        if (completion_publish(frame, produced))
            syscall(SYS_futex, frame + SEL4PY_COMPLETE_PRODUCED, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
    record[at->tcb_block_word / 8] &= ~at->told_pending;
    return tcb;
}

/* Counts for a thread that something came to be received in the kernel, and wakes it if it sleeps on that. */
static void hint(RamObject *ram, const struct layout *at, uint64_t tcb)
{
    const uint64_t buffer = *(const uint64_t *)(const void *)(ram->base + tcb + at->tcb_buffer);
    if (buffer >> TYPE_SHIFT != at->cap_frame || (buffer & OBJECT_MASK) > ram->size - SEL4PY_TRAP_FRAME_BYTES)
        return;
    uint8_t *frame = ram->base + (buffer & OBJECT_MASK);
    if (hint_count(frame))
        syscall(SYS_futex, frame + SEL4PY_RECEIVE_HINT, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Carries out tells that are completions and hints, and empties the outbox. Returns who else than `own` was given a completion: one at
 * most; or 0. */
static uint64_t tell_all(RamObject *ram, const struct layout *at, uint64_t own)
{
    uint64_t *told = (uint64_t *)(void *)(ram->base + at->outbox_length), other = 0;
    const uint64_t *tells = (const void *)(ram->base + at->outbox_entries);
    for (unsigned number = 0; number < *told; number++) {
        if (tells[4 * number] == at->outbox_hint) {
            hint(ram, at, tells[4 * number + 1]);
            continue;
        }
        const uint64_t tcb = publish_told(ram, at, number);
        if (tcb != own)
            other = tcb;
    }
    __atomic_store_n(told, 0, __ATOMIC_RELEASE);
    return other;
}

/* As the thread says it: hostile, and any number. */
static uint32_t submissions(RamObject *ram, const struct watched *ring)
{
    const uint32_t *produced = (const void *)(ram->base + ring->frame + SEL4PY_SUBMIT_PRODUCED);
    return __atomic_load_n(produced, __ATOMIC_ACQUIRE) - (uint32_t)ring->consumed;
}

struct service {
    RamObject *ram;
    const struct layout *layout;
    struct watched *rings;
    size_t count, next;
    uint64_t taken, worked; /* system calls; and what they come to */
    bool host_is_due;   /* the outbox tells it something */
    uint64_t unwatched; /* a thread that got a completion and whose ring is not among the watched */
    const uint64_t *attention; /* not 0 once one of the host's threads has something for the event loop; or NULL */
    struct back_ends back_ends;
    int64_t turns_ns; /* that their turns have taken */
    PyObject *pages; /* of channels; or NULL */
    PyObject *hands; /* what a Map's host part takes (hand.c); or None, or NULL */
    bool handed;     /* some were carried out, which Python has to note */
    bool maps_last;  /* what came last was one of these: the pager's answer to the thread that waits comes next */
};

static bool is_watched(const struct service *s, uint64_t tcb)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->rings[i].tcb == tcb)
            return true;
    return false;
}

/* Whether no other ring has a submission. */
static bool is_alone(const struct service *s, size_t index)
{
    for (size_t i = 0; i < s->count; i++)
        if (i != index && submissions(s->ram, &s->rings[i]))
            return false;
    return true;
}

/* Behind a Map or a Revoke. The host's part is left in the outbox. Who maps for another process goes on meanwhile: what it
 * learns is that the mapping is in the table, and whoever touches the memory before its process has it is told to try again. */
static bool leave_to_host(const struct service *s, uint64_t tcb)
{
    const uint64_t *tells = (const void *)(s->ram->base + s->layout->outbox_entries);
    const uint64_t *own = (const void *)(s->ram->base + tcb + s->layout->tcb_vspace);
    if (tells[0] != s->layout->outbox_map || tells[1] == (*own & OBJECT_MASK))
        return false;
    publish_told(s->ram, s->layout, 1);
    return true;
}

/* Behind a doorbell's commit. The driver goes on meanwhile. A kernel that dies before the device's turn is over is followed by one
 * that begins with a turn. */
static bool ring(struct service *s, uint64_t device)
{
    publish_told(s->ram, s->layout, 1);
    const int64_t began = now_ns();
    const enum outcome outcome = back_ends_ring(&s->back_ends, device);
    s->turns_ns += now_ns() - began;
    if (outcome == DONE)
        __atomic_store_n((uint64_t *)(void *)(s->ram->base + s->layout->outbox_length), 0, __ATOMIC_RELEASE);
    else
        s->host_is_due = true;
    return outcome != FAILED;
}

/* Behind a commit that tells the host more than a completion. False with an exception set. */
static bool carry_out(struct service *s, uint64_t tcb)
{
    const uint64_t *tells = (const void *)(s->ram->base + s->layout->outbox_entries);
    if (tells[0] == s->layout->outbox_device)
        return ring(s, tells[1]);
    const bool is_published = leave_to_host(s, tcb);
    bool handed = false;
    if (s->hands && s->hands != Py_None && !fast_hand(s->ram, s->layout, s->hands, &handed))
        return false;
    if (handed) {
        if (!is_published)
            publish_told(s->ram, s->layout, 1);
        __atomic_store_n((uint64_t *)(void *)(s->ram->base + s->layout->outbox_length), 0, __ATOMIC_RELEASE);
        s->handed = s->maps_last = true;
        s->worked += MAP_TAKES;
        return true;
    }
    s->host_is_due = true;
    return !s->pages || fast_withdraw(s->ram, s->layout, s->pages);
}

/* Serves one ring; SLOW where the slow path must, FAILED with an exception set. */
static enum outcome serve_ring(struct service *s, size_t index)
{
    struct watched *ring = &s->rings[index];
    struct burst burst;
    const unsigned limit = submissions(s->ram, ring) > 1 && is_alone(s, index) ? BURST : 1;
    enum outcome outcome = fast_burst(s->ram, s->layout, ring->tcb, limit, &burst);
    if (outcome != DONE)
        return outcome;
    ring->consumed = (uint32_t)ring->consumed + burst.taken;
    ring->served = 1;
    s->maps_last = false;
    s->taken += burst.taken;
    s->worked += burst.taken;
    uint32_t *consumed = (uint32_t *)(void *)(s->ram->base + ring->frame + SEL4PY_SUBMIT_CONSUMED);
    __atomic_store_n(consumed, (uint32_t)ring->consumed, __ATOMIC_RELEASE);
    if (burst.tells_host)
        return carry_out(s, ring->tcb) ? DONE : FAILED;
    const uint64_t tcb = tell_all(s->ram, s->layout, ring->tcb);
    if (tcb && !is_watched(s, tcb))
        s->unwatched = tcb;
    return DONE;
}

/* The next ring with a submission that the fast path cannot serve; count if there was none for so long, or the event
 * loop has something else to do. */
static int64_t serve(struct service *s, int64_t nanoseconds)
{
    int64_t end = 0; /* of the looking in vain, once that has begun */
    for (;;) {
        bool found = false;
        /* Each ring once a round, whatever the others hold. */
        const size_t first = s->next;
        for (size_t i = 0; i < s->count; i++) {
            size_t index = (first + i) % s->count;
            if (!submissions(s->ram, &s->rings[index]))
                continue;
            found = true;
            s->next = index + 1;
            enum outcome outcome = serve_ring(s, index);
            if (outcome == FAILED)
                return -1;
            if (outcome == SLOW)
                return (int64_t)index;
            if (s->host_is_due || s->unwatched || s->worked >= TAKEN_HIGH || s->turns_ns >= TURNS_NS_HIGH)
                return (int64_t)s->count;
        }
        if (found) {
            end = 0;
            continue;
        }
        if (s->attention && __atomic_load_n(s->attention, __ATOMIC_ACQUIRE))
            return (int64_t)s->count;
        int64_t now = now_ns();
        /* At least one look comes after a yield: whom the host has put behind us on this processor can submit. */
        if (!end)
            end = now + (s->maps_last ? ANSWER_NS : s->handed ? 0 : nanoseconds);
        else if (now >= end)
            return (int64_t)s->count;
        for (int i = 0; i < 8; i++)
            relax();
        sched_yield();
    }
}

static bool check_frame(RamObject *ram, uint64_t frame)
{
    if (!(frame & (SEL4PY_TRAP_FRAME_BYTES - 1)) && fast_api->check(ram, frame, SEL4PY_TRAP_FRAME_BYTES))
        return true;
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a trap frame is aligned to its size");
    return false;
}

/* serve(ram, layout, rings, first, nanoseconds, attention=None, pages={}, hands=None, kicked={}) -> (index, next, taken, unwatched). Serves
 * watched rings (a writable buffer of four words each: frame, consumed, TCB, served) until one needs the slow path (index), or
 * none had a submission for so long, or enough was done, or a Map or a Revoke has left tells in the outbox, or the first word of
 * `attention` is not 0 (index -1). Pages of channels that a Revoke severs are taken away, and out of `pages`. Of what a Map takes
 * of the host, `hands` says what is needed to do it here; Python is to note it as soon as this returns. `kicked`: back ends by device,
 * of which one has a turn behind its doorbell. `unwatched` is a TCB whose
 * ring should be watched from now on, or 0. */
PyObject *fast_serve(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *ram_object, *layout_object, *pages = NULL, *hands = NULL, *kicked = NULL;
    Py_buffer rings, attention = {0};
    unsigned long long first, nanoseconds;
    if (!PyArg_ParseTuple(args, "OOw*KK|w*O!OO!", &ram_object, &layout_object, &rings, &first, &nanoseconds, &attention,
                          &PyDict_Type, &pages, &hands, &PyDict_Type, &kicked))
        return NULL;
    struct service s = {.rings = rings.buf, .count = (size_t)rings.len / sizeof(struct watched), .pages = pages,
                        .hands = hands};
    s.ram = fast_parse(ram_object, layout_object, &s.layout);
    s.next = s.count ? first % s.count : 0;
    s.attention = (size_t)attention.len < sizeof(uint64_t) ? NULL : attention.buf;
    bool valid = s.ram != NULL && back_ends_find(&s.back_ends, kicked);
    for (size_t i = 0; valid && i < s.count; i++)
        valid = check_frame(s.ram, s.rings[i].frame);
    int64_t index = valid ? serve(&s, (int64_t)(nanoseconds < LOOKS_NS_HIGH ? nanoseconds : LOOKS_NS_HIGH)) : -1;
    PyBuffer_Release(&rings);
    if (attention.obj)
        PyBuffer_Release(&attention);
    if (PyErr_Occurred())
        return NULL;
    return Py_BuildValue("(LKKK)", index == (int64_t)s.count ? -1LL : (long long)index, (unsigned long long)s.next,
                         (unsigned long long)s.taken, (unsigned long long)s.unwatched);
}

/* Not by O_NONBLOCK: the thread has the same open file, and can clear that and take the count back. */
static void silence(int doorbell)
{
    uint64_t count;
    const struct iovec whole = {.iov_base = &count, .iov_len = sizeof count};
    ssize_t heard = preadv2(doorbell, &whole, 1, -1, RWF_NOWAIT);
    (void)heard; /* the count that the thread took back */
}

/* Says that the ring is watched, and serves it as serve() would if it were the only one. FAILED with an exception set. */
static enum outcome hear(struct service *s)
{
    uint32_t *watching = (uint32_t *)(void *)(s->ram->base + s->rings->frame + SEL4PY_KERNEL_WATCHING);
    __atomic_store_n(watching, 1, __ATOMIC_SEQ_CST);
    s->rings->consumed = *(const uint64_t *)(const void *)(s->ram->base + s->rings->tcb + s->layout->tcb_consumed);
    return submissions(s->ram, s->rings) ? serve_ring(s, 0) : SLOW;
}

/* hear(ram, layout, frame, tcb, doorbell, serves, pages={}, hands=None, kicked={}) -> (taken, unwatched). A thread whose ring is not watched
 * has rung: reads its doorbell, and if it `serves`, says to the thread that its ring is watched, and carries out the submission at
 * hand (or signals, in a burst) if the fast path can. The rest as serve(). No other ring may be watched then. */
PyObject *fast_hear(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *ram_object, *layout_object, *kicked = NULL;
    struct watched ring = {.served = 1};
    struct service s = {.rings = &ring, .count = 1};
    unsigned long long frame, tcb;
    int doorbell, serves;
    if (!PyArg_ParseTuple(args, "OOKKip|O!OO!", &ram_object, &layout_object, &frame, &tcb, &doorbell, &serves, &PyDict_Type,
                          &s.pages, &s.hands, &PyDict_Type, &kicked) ||
        !back_ends_find(&s.back_ends, kicked))
        return NULL;
    s.ram = fast_parse(ram_object, layout_object, &s.layout);
    if (!s.ram || !check_frame(s.ram, frame) || !fast_api->check(s.ram, tcb, s.layout->tcb_size))
        return NULL;
    ring.frame = frame;
    ring.tcb = tcb;
    silence(doorbell);
    if (serves && hear(&s) == FAILED)
        return NULL;
    return Py_BuildValue("(KK)", (unsigned long long)s.taken, (unsigned long long)s.unwatched);
}

/* interrupt(ram, layout, line) -> the TCB that was given a completion, or 0. A line has been raised that may interrupt: its handler is
 * told, at once. None, and nothing was done: it is for the slow path. */
PyObject *fast_interrupt(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    const struct layout *layout;
    uint64_t line;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "interrupt(ram, layout, line)");
        return NULL;
    }
    RamObject *ram = fast_parse(args[0], args[1], &layout);
    if (!ram || !as_u64(args[2], &line))
        return NULL;
    const enum outcome outcome = fast_raise(ram, layout, line);
    if (outcome == FAILED)
        return NULL;
    if (outcome == SLOW)
        Py_RETURN_NONE;
    return PyLong_FromUnsignedLongLong(tell_all(ram, layout, 0));
}
