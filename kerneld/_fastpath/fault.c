/* A page fault to the pager that waits for it: FAULT where nothing is mapped, as a call of the thread's fault handler. */
#include "mapping_table.h"

enum {
    TOLD_BY_TASK = SEL4PY_FAULT_WRITE | SEL4PY_FAULT_FETCH | SEL4PY_FAULT_GUARDED,
    FAULT_WORDS = 6,
};

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
    struct slot space = load_slot(a, a->tcb + at->tcb_vspace);
    struct slot handler = load_slot(a, a->tcb + at->tcb_fault_handler);
    uint64_t receiver, reply, below;
    if (type_of(space) != at->cap_vspace || type_of(handler) != at->cap_endpoint ||
        !find_receiver(a, handler, &receiver, &reply))
        return SLOW;
    const uint64_t address = a->entry.mr[0], kind = a->entry.mr[2] & TOLD_BY_TASK;
    if (!table_last_up_to(a, object_of(space), address, &below) || !ends_before(below, address))
        return SLOW;
    const uint64_t words[FAULT_WORDS] = {a->entry.mr[1], address, (kind & SEL4PY_FAULT_FETCH) != 0,
                                         kind | SEL4PY_FAULT_USER};
    /* point of no return */
    PERFORM(perform_fault(a, handler, receiver, reply, words));
}
