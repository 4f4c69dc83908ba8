/* What a driver does at every interrupt and every request, by Calls: a write to a doorbell, which changes nothing, and has the
 * device's back end look at what the driver has put into memory (a virtio queue's notification); a look at a latch, and its
 * clearing (a virtio device's interrupt status): kerneld/objects/ioport.py, hw/devices/virtio.py; and the acknowledgement of a
 * line that is low: kerneld/objects/irq.py.
 */
#include "attempt.h"

enum { WIDTH = 4, FIRST_PORT_SHIFT = 16, PORT_MASK = 0xffff };

static const struct doorbell *find_doorbell(const struct layout *at, uint64_t port)
{
    for (uint64_t i = 0; i < at->doorbells; i++)
        if (at->rows[i].port == port)
            return &at->rows[i];
    return NULL;
}

static const struct latch *latches(const struct layout *at) { return (const void *)(at->rows + at->doorbells); }

static bool is_owed_nothing(struct attempt *a)
{
    return !(load(a, a->tcb + a->at->tcb_block_word) & a->at->takes_memory) &&
           load(a, a->tcb + a->at->tcb_process) == a->at->process_live && !a->outside;
}

static bool perform_ring(struct attempt *a, uint64_t device)
{
    const uint64_t tell[4] = {a->at->outbox_device, device, 0, 0};
    if (!save_trap(a) || !store_words(a, a->at->outbox_entries, tell, 4))
        return false;
    a->told = 1;
    return complete(a, a->tcb, 0, 0, NULL, 0);
}

static bool perform_read(struct attempt *a, uint64_t value)
{
    return save_trap(a) && complete(a, a->tcb, 0, 1, &value, 1);
}

static bool perform_clear(struct attempt *a, const struct latch *latch, uint64_t value)
{
    if (!save_trap(a))
        return false;
    STORE(latch->word, value);
    return complete(a, a->tcb, 0, 0, NULL, 0);
}

static enum outcome try_write(struct attempt *a, uint64_t port, uint32_t value)
{
    const struct layout *at = a->at;
    const struct doorbell *bell = find_doorbell(at, port);
    if (bell) {
        /* What rings nothing has no effect: the slow path knows that as well. */
        if (value >= bell->queues || (load(a, bell->status) & bell->mask) != bell->live || !is_owed_nothing(a))
            return SLOW;
        a->tells_host = true;
        /* point of no return */
        PERFORM(perform_ring(a, bell->device));
    }
    for (uint64_t i = 0; i < at->latches; i++) {
        const struct latch *latch = &latches(at)[i];
        if (latch->clear != port)
            continue;
        const uint64_t left = load(a, latch->word) & ~(uint64_t)value;
        if (!is_owed_nothing(a))
            return SLOW;
        /* point of no return */
        PERFORM(perform_clear(a, latch, left));
    }
    return SLOW;
}

static enum outcome try_read(struct attempt *a, uint64_t port)
{
    const struct layout *at = a->at;
    for (uint64_t i = 0; i < at->latches; i++) {
        const struct latch *latch = &latches(at)[i];
        if (latch->read != port)
            continue;
        const uint64_t value = load(a, latch->word);
        if (!is_owed_nothing(a))
            return SLOW;
        /* point of no return */
        PERFORM(perform_read(a, value));
    }
    return SLOW;
}

enum outcome try_port(struct attempt *a)
{
    const struct layout *at = a->at;
    const struct sel4py_entry *entry = &a->entry;
    const uint64_t label = entry->info >> 12, words = entry->info & 127, port = entry->mr[0];
    if (entry->op != SEL4PY_SYSCALL_CALL || !words || port < a->cap.word1 >> FIRST_PORT_SHIFT ||
        port + WIDTH - 1 > (a->cap.word1 & PORT_MASK))
        return SLOW;
    if (label == at->label_io_port_in32)
        return try_read(a, port);
    return label == at->label_io_port_out32 && words > 1 ? try_write(a, port, (uint32_t)entry->mr[1]) : SLOW;
}

static bool perform_ack(struct attempt *a, uint64_t state)
{
    if (!save_trap(a))
        return false;
    STORE(state, a->at->irq_signal);
    return complete(a, a->tcb, 0, 0, NULL, 0);
}

enum outcome try_irq(struct attempt *a)
{
    const struct layout *at = a->at;
    const uint64_t line = a->cap.word1, state = at->irq_states + 8 * line;
    if (a->entry.op != SEL4PY_SYSCALL_CALL || a->entry.info >> 12 != at->label_irq_handler_ack)
        return SLOW;
    for (uint64_t i = 0; i < at->latches; i++) {
        const struct latch *latch = &latches(at)[i];
        if (latch->line != line)
            continue;
        /* One that is high interrupts at once, which is the slow path's. */
        if (load(a, latch->word) || load(a, state) & at->irq_pending || !is_owed_nothing(a))
            return SLOW;
        /* point of no return */
        PERFORM(perform_ack(a, state));
    }
    return SLOW;
}
