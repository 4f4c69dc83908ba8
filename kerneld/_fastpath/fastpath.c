/* The fast path of the kernel: Call and ReplyRecv of at most four words between threads that run on their own time, and
 * signals that wake nobody. As in seL4, it first checks everything and stores nothing; past the point of no return it
 * cannot fail. Whatever does not fit is left to the slow path (kerneld/syscall.py), of which this is a copy in effect:
 * tests run both on the same state and compare all of RAM.
 *
 * Records are found by a table of offsets that kerneld/fastpath.py makes from kerneld/records.py. All stores go through the
 * undo log, in one transaction a system call. An entry is copied once; what the task writes meanwhile does not matter.
 */
#include "fastpath.h"

#include <string.h>

enum { WRITE = 1, READ = 2, GRANT = 4, GRANT_REPLY = 8 };
static const uint64_t QUEUE_MASK = ~31ull; /* of an endpoint's tail word: the rest is its state */

/* One attempt: what is looked at, and what has been found. */
struct attempt {
    RamObject *ram;
    const struct layout *at;
    uint64_t tcb, frame;
    uint32_t consumed;
    struct sel4py_entry entry;
    struct sel4py_tail tail;
    bool has_tail;
    bool outside; /* a record was said to lie outside of RAM: the slow path will tell */
};

struct slot {
    uint64_t word0, word1;
};

static uint64_t load(struct attempt *a, uint64_t address)
{
    if ((address & 7) || address > a->ram->size - 8) {
        a->outside = true;
        return 0;
    }
    return *(volatile uint64_t *)(void *)(a->ram->base + address);
}

static uint64_t type_of(struct slot slot) { return slot.word0 >> TYPE_SHIFT; }

static uint64_t rights_of(struct slot slot) { return slot.word0 >> RIGHTS_SHIFT; }

static uint64_t object_of(struct slot slot) { return slot.word0 & OBJECT_MASK; }

/* cspace.lookup_slot; false where it does not resolve. */
static bool look_up(struct attempt *a, uint64_t cptr, struct slot *found)
{
    uint64_t address = a->tcb + a->at->tcb_cspace;
    struct slot slot = {load(a, address), load(a, address + 8)};
    unsigned bits = 64;
    if (type_of(slot) != a->at->cap_cnode)
        return false;
    while (type_of(slot) == a->at->cap_cnode && bits) {
        unsigned radix = slot.word0 >> 40 & 63, guard_size = slot.word0 >> 46 & 63;
        if (radix + guard_size > bits || radix + guard_size == 0)
            return false;
        uint64_t guard = guard_size ? cptr >> (bits - guard_size) & ((1ull << guard_size) - 1) : 0;
        if (guard != slot.word1)
            return false;
        bits -= radix + guard_size;
        uint64_t index = radix ? cptr >> bits & ((1ull << radix) - 1) : 0;
        address = object_of(slot) + index * 32;
        slot = (struct slot){load(a, address), load(a, address + 8)};
    }
    *found = slot;
    return !a->outside;
}

/* Whether a thread that is made runnable runs at once, on its own time and in a live process. */
static bool runs(struct attempt *a, uint64_t tcb)
{
    uint64_t context = load(a, tcb + a->at->tcb_sched_context);
    return context && load(a, context + a->at->context_refill_max) &&
           load(a, tcb + a->at->tcb_process) == a->at->process_live;
}

/* Every store is logged. The log was empty and holds thousands of entries, so a store fails only where a test interrupts. */
static bool store(struct attempt *a, uint64_t address, uint64_t value)
{
    return fast_api->store(a->ram, address, value) == 0;
}

#define STORE(address, value)                                                                                         \
    do {                                                                                                              \
        if (!store(a, address, value))                                                                                \
            return false;                                                                                             \
    } while (0)

/* kernel.take: the saved system call, as hw.ring.take_into writes it. */
static bool save_trap(struct attempt *a)
{
    const struct sel4py_entry *entry = &a->entry;
    uint64_t words[9] = {(uint64_t)(int64_t)entry->op, entry->flags, entry->cptr,  entry->info, entry->mr[0],
                         entry->mr[1],                 entry->mr[2], entry->mr[3], entry->tag};
    for (unsigned i = 0; i < 9; i++)
        STORE(a->tcb + a->at->tcb_trap + 8 * i, words[i]);
    if (a->has_tail) {
        uint64_t tail[8];
        memcpy(tail, &a->tail, sizeof tail);
        for (unsigned i = 0; i < 8; i++)
            STORE(a->tcb + a->at->tcb_tail + 8 * i, tail[i]);
    }
    STORE(a->tcb + a->at->tcb_consumed, load(a, a->tcb + a->at->tcb_consumed) + 1);
    return true;
}

/* completion.complete, and what settle tells of it. `words` counts those of the message that are not zeroed. */
static bool complete(struct attempt *a, uint64_t tcb, uint64_t badge, uint64_t info, const uint64_t *mr, unsigned words)
{
    uint64_t told = tcb + a->at->tcb_told;
    STORE(told, SEL4PY_STATUS_DONE);
    STORE(told + 8, badge);
    STORE(told + 16, info);
    for (unsigned i = 0; i < SEL4PY_MESSAGE_REGISTERS; i++)
        STORE(told + 24 + 8 * i, i < words ? mr[i] : 0);
    STORE(told + 56, load(a, tcb + a->at->tcb_trap + 64));
    STORE(tcb + a->at->tcb_told_area, 0);
    STORE(tcb + a->at->tcb_produced, load(a, tcb + a->at->tcb_produced) + 1);
    uint64_t flags = load(a, tcb + a->at->tcb_block_word);
    STORE(tcb + a->at->tcb_block_word, (flags & ~a->at->in_trap) | a->at->told_pending);
    const uint64_t tell[4] = {a->at->outbox_deliver, tcb, 0, 0};
    for (unsigned i = 0; i < 4; i++)
        STORE(a->at->outbox_entries + 8 * i, tell[i]);
    STORE(a->at->outbox_length, 1);
    return true;
}

static bool enter(struct attempt *a)
{
    if (!save_trap(a))
        return false;
    uint64_t flags = load(a, a->tcb + a->at->tcb_block_word);
    return store(a, a->tcb + a->at->tcb_block_word, flags | a->at->in_trap);
}

/* The info word that a message of registers arrives with: label and length alone. */
static uint64_t delivered_info(uint64_t info) { return (info & ~(uint64_t)0xfff) | (info & 127); }

/* Opens the transaction, runs the stores, commits; rolls back nothing itself: a failed store is an interruption. */
#define PERFORM(perform)                                                                                               \
    do {                                                                                                              \
        a->ram->open = true;                                                                                          \
        a->ram->stores = 0;                                                                                           \
        if (!(perform))                                                                                               \
            return FAILED;                                                                                            \
        a->ram->open = false;                                                                                         \
        a->ram->log->committed++;                                                                                     \
        __atomic_store_n(&a->ram->log->length, 0, __ATOMIC_RELEASE);                                                  \
        return DONE;                                                                                                  \
    } while (0)

/* --- Call ------------------------------------------------------------------------------------------------------- */

static bool perform_call(struct attempt *a, struct slot cap, uint64_t receiver, uint64_t reply)
{
    const struct layout *at = a->at;
    uint64_t endpoint = object_of(cap);
    if (!enter(a))
        return false;
    uint64_t behind = load(a, receiver + at->tcb_queue_next);
    STORE(receiver + at->tcb_blocked_on, 0);
    if (behind) {
        STORE(endpoint + at->endpoint_head, behind);
        STORE(behind + at->tcb_queue_prev, 0);
        STORE(receiver + at->tcb_queue_next, 0);
    } else {
        STORE(endpoint + at->endpoint_head, 0);
        STORE(endpoint + at->endpoint_tail, load(a, endpoint + at->endpoint_tail) & ~QUEUE_MASK & ~(uint64_t)3);
    }
    if (!complete(a, receiver, cap.word1, delivered_info(a->entry.info), a->entry.mr, a->entry.info & 127))
        return false;
    STORE(receiver + at->tcb_reply, 0);
    STORE(receiver + at->tcb_state, at->state_running);
    STORE(reply + at->reply_tcb, a->tcb);
    STORE(a->tcb + at->tcb_reply, reply);
    STORE(a->tcb + at->tcb_state, at->state_reply);
    return true;
}

static enum outcome try_call(struct attempt *a, struct slot cap)
{
    const struct layout *at = a->at;
    uint64_t endpoint = object_of(cap);
    if (!(rights_of(cap) & WRITE) || !(rights_of(cap) & (GRANT | GRANT_REPLY)))
        return SLOW;
    if ((load(a, endpoint + at->endpoint_tail) & 3) != at->endpoint_receive)
        return SLOW;
    uint64_t receiver = load(a, endpoint + at->endpoint_head);
    if (!receiver || load(a, receiver + at->tcb_queue_prev) || !runs(a, receiver))
        return SLOW;
    uint64_t reply = load(a, receiver + at->tcb_reply);
    if (!reply || a->outside)
        return SLOW;
    /* point of no return */
    PERFORM(perform_call(a, cap, receiver, reply));
}

/* --- ReplyRecv -------------------------------------------------------------------------------------------------- */

static bool perform_reply_recv(struct attempt *a, uint64_t endpoint, uint64_t reply, uint64_t caller)
{
    const struct layout *at = a->at;
    if (!enter(a))
        return false;
    STORE(caller + at->tcb_reply, 0);
    if (!complete(a, caller, 0, delivered_info(a->entry.info), a->entry.mr, a->entry.info & 127))
        return false;
    STORE(caller + at->tcb_state, at->state_running);
    STORE(reply + at->reply_tcb, a->tcb);
    STORE(a->tcb + at->tcb_reply, reply);
    STORE(a->tcb + at->tcb_blocked_on, endpoint);
    STORE(endpoint + at->endpoint_head, a->tcb);
    STORE(endpoint + at->endpoint_tail, a->tcb | at->endpoint_receive);
    STORE(a->tcb + at->tcb_state, at->state_receive);
    return true;
}

static bool takes_no_signal(struct attempt *a)
{
    uint64_t bound = load(a, a->tcb + a->at->tcb_bound_notification);
    if (!bound)
        return true;
    return load(a, bound + a->at->notification_state) != a->at->notification_active &&
           !load(a, bound + a->at->notification_sched_context);
}

static enum outcome try_reply_recv(struct attempt *a, struct slot cap)
{
    const struct layout *at = a->at;
    struct slot reply_cap;
    if (type_of(cap) != at->cap_endpoint || !(rights_of(cap) & READ) || !a->has_tail)
        return SLOW;
    if (!look_up(a, a->tail.reply, &reply_cap) || type_of(reply_cap) != at->cap_reply)
        return SLOW;
    uint64_t endpoint = object_of(cap), reply = object_of(reply_cap);
    uint64_t caller = load(a, reply + at->reply_tcb);
    if (!caller || caller == a->tcb || load(a, caller + at->tcb_state) != at->state_reply ||
        load(a, caller + at->tcb_fault_label) || !runs(a, caller))
        return SLOW;
    if (load(a, reply + at->reply_prev) || load(a, reply + at->reply_next_word) || !takes_no_signal(a))
        return SLOW;
    if (load(a, endpoint + at->endpoint_head) || load(a, endpoint + at->endpoint_tail) || a->outside)
        return SLOW;
    /* point of no return */
    PERFORM(perform_reply_recv(a, endpoint, reply, caller));
}

/* --- signals ---------------------------------------------------------------------------------------------------- */

static bool perform_signal(struct attempt *a, struct slot cap, uint64_t signals)
{
    const struct layout *at = a->at;
    uint64_t notification = object_of(cap);
    if (!enter(a))
        return false;
    STORE(notification + at->notification_signals, signals | cap.word1);
    STORE(notification + at->notification_state, at->notification_active);
    return complete(a, a->tcb, 0, 0, NULL, 0);
}

static enum outcome try_signal(struct attempt *a, struct slot cap)
{
    const struct layout *at = a->at;
    uint64_t notification = object_of(cap), signals = 0;
    if (!(rights_of(cap) & WRITE))
        return SLOW;
    uint64_t state = load(a, notification + at->notification_state);
    if (state == at->notification_active) {
        signals = load(a, notification + at->notification_signals);
    } else if (state == at->notification_idle) {
        uint64_t bound = load(a, notification + at->notification_bound_tcb);
        if (bound && (load(a, bound + at->tcb_state) == at->state_receive || load(a, bound + at->tcb_listener)))
            return SLOW;
        if (load(a, notification + at->notification_listeners) & OBJECT_MASK)
            return SLOW;
    } else {
        return SLOW;
    }
    if (a->outside || load(a, a->tcb + at->tcb_process) != at->process_live)
        return SLOW;
    /* point of no return */
    PERFORM(perform_signal(a, cap, signals));
}

/* --- one submission --------------------------------------------------------------------------------------------- */

static bool may_submit(struct attempt *a)
{
    const struct layout *at = a->at;
    uint64_t context = load(a, a->tcb + at->tcb_sched_context);
    struct slot buffer = {load(a, a->tcb + at->tcb_buffer), 0};
    a->frame = object_of(buffer);
    a->consumed = (uint32_t)load(a, a->tcb + at->tcb_consumed);
    return load(a, a->tcb + at->tcb_state) == at->state_running && context &&
           load(a, context + at->context_refill_max) && type_of(buffer) == at->cap_frame &&
           !(load(a, a->tcb + at->tcb_block_word) & (at->in_trap | at->told_pending)) &&
           !load(a, a->tcb + at->tcb_fault_label) && !load(a, at->outbox_length) && !a->outside &&
           a->frame <= a->ram->size - SEL4PY_TRAP_FRAME_BYTES && !a->ram->open && !a->ram->log->length;
}

/* Copies the next entry, once. False where there is none, or the index is impossible. */
static bool copy_entry(struct attempt *a)
{
    const uint8_t *frame = a->ram->base + a->frame;
    uint32_t produced = __atomic_load_n((const uint32_t *)(const void *)(frame + SEL4PY_SUBMIT_PRODUCED), __ATOMIC_ACQUIRE);
    if (produced == a->consumed || produced - a->consumed > SEL4PY_RING_ENTRIES)
        return false;
    unsigned index = a->consumed % SEL4PY_RING_ENTRIES;
    memcpy(&a->entry, frame + SEL4PY_SUBMIT_RING + index * sizeof a->entry, sizeof a->entry);
    a->has_tail = a->entry.flags & (SEL4PY_ENTRY_INLINE | SEL4PY_ENTRY_HAS_TAIL);
    if (a->has_tail)
        memcpy(&a->tail, frame + SEL4PY_SUBMIT_TAILS + index * sizeof a->tail, sizeof a->tail);
    return true;
}

enum outcome fast_attempt(RamObject *ram, const struct layout *at, uint64_t tcb)
{
    struct attempt state = {.ram = ram, .at = at, .tcb = tcb}, *a = &state;
    struct slot cap;
    if (!may_submit(a) || !copy_entry(a))
        return SLOW;
    /* at most four words, no capabilities */
    if ((a->entry.info & 127) > SEL4PY_MESSAGE_REGISTERS || (a->entry.info >> 7 & 3))
        return SLOW;
    switch (a->entry.op) {
    case SEL4PY_SYSCALL_CALL:
    case SEL4PY_SYSCALL_SEND:
    case SEL4PY_SYSCALL_NB_SEND:
    case SEL4PY_SYSCALL_REPLY_RECV:
        break;
    default:
        return SLOW;
    }
    if (!look_up(a, a->entry.cptr, &cap))
        return SLOW;
    if (a->entry.op == SEL4PY_SYSCALL_REPLY_RECV)
        return try_reply_recv(a, cap);
    if (type_of(cap) == at->cap_notification)
        return try_signal(a, cap);
    if (type_of(cap) == at->cap_endpoint && a->entry.op == SEL4PY_SYSCALL_CALL)
        return try_call(a, cap);
    return SLOW;
}
