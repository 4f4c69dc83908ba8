/* A page fault to the pager that waits for it: FAULT where nothing is mapped, as a call of the thread's fault handler. */
#include "attempt.h"

enum {
    TOLD_BY_TASK = SEL4PY_FAULT_WRITE | SEL4PY_FAULT_FETCH | SEL4PY_FAULT_GUARDED,
    FAULT_WORDS = 6,
    DEPTH_HIGH = 64, /* more than a balanced tree has in a RAM of 2^40 bytes: what is deeper is damaged */
    WHERE_LOW = 4095,
    SIZE_LOW = 31,
    FRAME_BITS = 12,
};

/* mapping_table.find: whether nothing is mapped at the address. */
static bool is_unmapped(struct attempt *a, uint64_t space, uint64_t address)
{
    const struct layout *at = a->at;
    uint64_t node = load(a, space + at->space_root), best = 0;
    for (unsigned depth = 0; node; depth++) {
        if (depth == DEPTH_HIGH || a->outside)
            return false;
        const uint64_t where = load(a, node);
        if ((where & ~(uint64_t)WHERE_LOW) <= address) {
            best = where;
            node = load(a, node + at->node_higher);
        } else {
            node = load(a, node + at->node_lower) & at->node_mask;
        }
    }
    /* What lies highest up to there ends before it, or there is none. */
    return !best || (address - (best & ~(uint64_t)WHERE_LOW)) >> ((best & SIZE_LOW) + FRAME_BITS);
}

static bool perform_fault(struct attempt *a, struct slot handler, uint64_t receiver, uint64_t reply,
                          const uint64_t *words)
{
    const struct layout *at = a->at;
    if (!enter(a))
        return false;
    STORE(a->tcb + at->tcb_fault_label, SEL4PY_FAULTLABEL_VM_FAULT);
    if (!store_words(a, a->tcb + at->tcb_fault_words, words, FAULT_WORDS))
        return false;
    const uint64_t info = (uint64_t)SEL4PY_FAULTLABEL_VM_FAULT << 12 | SEL4PY_MESSAGE_REGISTERS;
    return deliver_call(a, handler, receiver, reply, info, words);
}

enum outcome try_fault(struct attempt *a)
{
    const struct layout *at = a->at;
    struct slot space = {load(a, a->tcb + at->tcb_vspace), 0};
    struct slot handler = {load(a, a->tcb + at->tcb_fault_handler), load(a, a->tcb + at->tcb_fault_handler + 8)};
    uint64_t receiver, reply;
    if (type_of(space) != at->cap_vspace || type_of(handler) != at->cap_endpoint ||
        !find_receiver(a, handler, &receiver, &reply))
        return SLOW;
    const uint64_t address = a->entry.mr[0], kind = a->entry.mr[2] & TOLD_BY_TASK;
    if (!is_unmapped(a, object_of(space), address) || a->outside)
        return SLOW;
    const uint64_t words[FAULT_WORDS] = {a->entry.mr[1], address, (kind & SEL4PY_FAULT_FETCH) != 0,
                                         kind | SEL4PY_FAULT_USER};
    /* point of no return */
    PERFORM(perform_fault(a, handler, receiver, reply, words));
}
