/* The fast path of the kernel: Call and ReplyRecv of at most four words between threads that run on their own time, receives
 * that nobody has sent to, signals, page faults on their way to a pager, Map, Revoke of endpoint capabilities, writes to
 * doorbells of devices, and what a driver takes an interrupt by. As in seL4, it first checks everything and stores nothing;
 * past the point of no return it cannot fail. Whatever does not fit is left to the slow path (kerneld/syscall.py), of which
 * this is a copy in effect: tests run both on the same state and compare all of RAM.
 *
 * One transaction a system call. An entry is copied once; what the task writes meanwhile does not matter.
 */
#include "attempt.h"
#include "completion.h"

/* cspace.resolve_address_bits. False where it does not resolve; `left`: address bits that no CNode took. */
static bool follow(struct attempt *a, struct slot slot, uint64_t cptr, unsigned bits, struct slot *found, unsigned *left)
{
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
        slot = load_slot(a, object_of(slot) + index * SLOT_BYTES);
    }
    *found = slot;
    *left = bits;
    return !a->outside;
}

bool resolve(struct attempt *a, struct slot slot, uint64_t cptr, unsigned bits, struct slot *found)
{
    unsigned left;
    return follow(a, slot, cptr, bits, found, &left) && !left;
}

bool look_up(struct attempt *a, uint64_t cptr, struct slot *found)
{
    unsigned left;
    return follow(a, load_slot(a, a->tcb + a->at->tcb_cspace), cptr, 64, found, &left);
}

static bool may_submit(struct attempt *a)
{
    const struct layout *at = a->at;
    uint64_t context = load(a, a->tcb + at->tcb_sched_context);
    struct slot buffer = load_slot(a, a->tcb + at->tcb_buffer);
    a->frame = object_of(buffer);
    a->consumed = (uint32_t)load(a, a->tcb + at->tcb_consumed);
    return load(a, a->tcb + at->tcb_state) == at->state_running && context &&
           load(a, context + at->context_refill_max) && !load(a, context + at->context_period) &&
           type_of(buffer) == at->cap_frame &&
           !(load(a, a->tcb + at->tcb_block_word) & (at->in_trap | at->told_pending)) &&
           !load(a, a->tcb + at->tcb_fault_label) && !load(a, at->outbox_length) && !a->outside &&
           a->frame <= a->ram->size - SEL4PY_TRAP_FRAME_BYTES && !a->ram->open && !a->ram->log->length;
}

/* How many submissions there are. False where there is none, or the index is impossible. */
static bool look_at_ring(struct attempt *a)
{
    const uint8_t *produced = a->ram->base + a->frame + SEL4PY_SUBMIT_PRODUCED;
    a->produced = __atomic_load_n((const uint32_t *)(const void *)produced, __ATOMIC_ACQUIRE);
    return a->produced != a->consumed && a->produced - a->consumed <= SEL4PY_RING_ENTRIES;
}

/* Copies the next entry, once. */
static void copy_entry(struct attempt *a)
{
    const uint8_t *frame = a->ram->base + a->frame;
    unsigned index = a->consumed % SEL4PY_RING_ENTRIES;
    memcpy(&a->entry, frame + SEL4PY_SUBMIT_RING + index * sizeof a->entry, sizeof a->entry);
    if (a->entry.flags & SEL4PY_ENTRY_HAS_TAIL)
        memcpy(a->tail, frame + SEL4PY_SUBMIT_TAILS + index * sizeof a->tail, sizeof a->tail);
    else
        memset(a->tail, 0, sizeof a->tail);
}

/* At most four words, no capabilities. */
static bool is_short(const struct attempt *a)
{
    return (a->entry.info & 127) <= SEL4PY_MESSAGE_REGISTERS && !(a->entry.info >> 7 & 3);
}

static bool is_signal(const struct attempt *a)
{
    return a->entry.op == SEL4PY_SYSCALL_CALL || a->entry.op == SEL4PY_SYSCALL_SEND ||
           a->entry.op == SEL4PY_SYSCALL_NB_SEND;
}

static bool is_receive(const struct attempt *a)
{
    return a->entry.op == SEL4PY_SYSCALL_RECV || a->entry.op == SEL4PY_SYSCALL_NB_RECV;
}

static enum outcome attempt_first(struct attempt *a)
{
    if (!may_submit(a) || !look_at_ring(a))
        return SLOW;
    copy_entry(a);
    if (a->entry.op == SEL4PY_SYSCALL_FAULT)
        return try_fault(a);
    if (!(is_signal(a) || is_receive(a) || a->entry.op == SEL4PY_SYSCALL_REPLY_RECV) ||
        !look_up(a, a->entry.cptr, &a->cap))
        return SLOW;
    if (is_receive(a))
        return try_receive(a);
    if (type_of(a->cap) == a->at->cap_frame)
        return try_map(a);
    if (!is_short(a))
        return SLOW;
    if (a->entry.op == SEL4PY_SYSCALL_REPLY_RECV)
        return try_reply_recv(a);
    if (type_of(a->cap) == a->at->cap_cnode)
        return try_revoke(a);
    if (type_of(a->cap) == a->at->cap_notification)
        return try_signal(a);
    if (type_of(a->cap) == a->at->cap_endpoint && a->entry.op == SEL4PY_SYSCALL_CALL)
        return try_call(a);
    if (type_of(a->cap) == a->at->cap_io_port)
        return try_port(a);
    if (type_of(a->cap) == a->at->cap_irq_handler)
        return try_irq(a);
    return SLOW;
}

/* The signal behind the one just carried out. The thread still may submit, and its capability space is as it was: a
 * signal that wakes nobody changes neither. Its completion is told by the same tell, which is still in the outbox. */
static enum outcome attempt_next(struct attempt *a)
{
    const uint64_t cptr = a->entry.cptr;
    a->consumed++;
    a->follows = true;
    copy_entry(a);
    if (!is_short(a) || !is_signal(a))
        return SLOW;
    if (a->entry.cptr != cptr && !look_up(a, a->entry.cptr, &a->cap))
        return SLOW;
    return type_of(a->cap) == a->at->cap_notification ? try_signal(a) : SLOW;
}

enum outcome fast_attempt(RamObject *ram, const struct layout *at, uint64_t tcb)
{
    struct attempt attempt = {.ram = ram, .at = at, .tcb = tcb};
    return attempt_first(&attempt);
}

enum outcome fast_burst(RamObject *ram, const struct layout *at, uint64_t tcb, unsigned limit, struct burst *burst)
{
    struct attempt attempt = {.ram = ram, .at = at, .tcb = tcb}, *a = &attempt;
    enum outcome outcome = attempt_first(a);
    *burst = (struct burst){.taken = outcome == DONE, .tells_host = a->tells_host};
    while (outcome == DONE && a->told_itself && burst->taken < limit && a->consumed + 1 != a->produced) {
        /* Before its record takes the next completion, the ring has this one. A kernel killed from here on publishes
         * what the record says, and by its index this one as well. */
        uint32_t index = (uint32_t)load(a, tcb + at->tcb_produced) - 1;
        completion_write(ram->base + a->frame, (const void *)(ram->base + tcb + at->tcb_told), index);
        outcome = attempt_next(a);
        burst->taken += outcome == DONE;
    }
    return outcome == FAILED ? FAILED : burst->taken ? DONE : SLOW;
}
