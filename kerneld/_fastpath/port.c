/* A write to a doorbell, by a Call: a port that changes nothing, and has the device's back end look at what the driver has put
 * into memory (a virtio queue's notification): kerneld/objects/ioport.py, hw/devices/virtio.py.
 */
#include "attempt.h"

enum { WORDS = 2, WIDTH = 4, FIRST_PORT_SHIFT = 16, PORT_MASK = 0xffff };

static const struct doorbell *find_doorbell(const struct layout *at, uint64_t port)
{
    for (uint64_t i = 0; i < at->doorbells; i++)
        if (at->rows[i].port == port)
            return &at->rows[i];
    return NULL;
}

static bool perform_ring(struct attempt *a, uint64_t device)
{
    const uint64_t tell[4] = {a->at->outbox_device, device, 0, 0};
    if (!save_trap(a) || !store_words(a, a->at->outbox_entries, tell, 4))
        return false;
    a->told = 1;
    return complete(a, a->tcb, 0, 0, NULL, 0);
}

enum outcome try_port(struct attempt *a)
{
    const struct layout *at = a->at;
    const struct sel4py_entry *entry = &a->entry;
    if (entry->op != SEL4PY_SYSCALL_CALL || entry->info >> 12 != at->label_io_port_out32 || (entry->info & 127) < WORDS)
        return SLOW;
    const uint64_t port = entry->mr[0];
    const struct doorbell *bell = find_doorbell(at, port);
    if (!bell || port < a->cap.word1 >> FIRST_PORT_SHIFT || port + WIDTH - 1 > (a->cap.word1 & PORT_MASK))
        return SLOW;
    /* What rings nothing has no effect: the slow path knows that as well. */
    if ((uint32_t)entry->mr[1] >= bell->queues || (load(a, bell->status) & bell->mask) != bell->live)
        return SLOW;
    if (load(a, a->tcb + at->tcb_block_word) & at->takes_memory ||
        load(a, a->tcb + at->tcb_process) != at->process_live || a->outside)
        return SLOW;
    a->tells_host = true;
    /* point of no return */
    PERFORM(perform_ring(a, bell->device));
}
