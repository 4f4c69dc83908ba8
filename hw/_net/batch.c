/* Each word of the driver's is copied once, and the copy is checked. What stores to the page has a transaction open. */
#include "batch.h"

#include <string.h>

enum { INDEX_MASK = 0xffff, TRANSFER_HIGH = 1 << 20 };

/* Where bytes are that lie in one mapping; NULL: that is not known here. */
static uint8_t *reach(const struct batch *batch, uint64_t address, uint64_t bytes, unsigned rights)
{
    for (uint64_t i = 0; i < batch->table->count; i++) {
        const struct span *span = &batch->table->spans[i];
        if ((span->rights & rights) != rights || address < span->first || address >= span->end ||
            bytes > span->end - address)
            continue;
        const uint64_t physical = span->physical + (address - span->first);
        return physical <= batch->ram->size && bytes <= batch->ram->size - physical ? batch->ram->base + physical : NULL;
    }
    return NULL;
}

static uint16_t load16(const uint8_t *place) { return __atomic_load_n((const uint16_t *)(const void *)place, __ATOMIC_SEQ_CST); }

static void store16(uint8_t *place, uint16_t value) { __atomic_store_n((uint16_t *)(void *)place, value, __ATOMIC_SEQ_CST); }

static bool is_free(const struct batch *batch, const uint64_t *seen, unsigned head)
{
    return !((batch->queue->in_flight[head >> 6] | seen[head >> 6]) >> (head & 63) & 1);
}

/* The chain that begins at a head. False where it is not of one descriptor that is known to be mapped. */
static bool look_at(const struct batch *batch, const uint8_t *table, unsigned head, unsigned rights, struct chain *chain)
{
    struct descriptor descriptor;
    memcpy(&descriptor, table + sizeof descriptor * head, sizeof descriptor);
    const unsigned flags = rights == SPAN_WRITES ? DEVICE_WRITES : 0;
    if ((descriptor.flags & (NEXT | INDIRECT | DEVICE_WRITES)) != flags || !descriptor.length ||
        descriptor.length > TRANSFER_HIGH)
        return false;
    *chain = (struct chain){reach(batch, descriptor.address, descriptor.length, rights), head, descriptor.length};
    return chain->place != NULL;
}

bool batch_look(struct batch *batch, unsigned number, unsigned most, unsigned rights)
{
    struct queue *queue = batch->queue = &batch->page->queues[number];
    batch->count = 0;
    const uint64_t size = queue->size;
    if ((batch->page->status & LIVE_MASK) != LIVE || !queue->ready || !size || size > ENTRIES_HIGH || size & (size - 1))
        return false;
    batch->available = reach(batch, queue->driver, 4 + 2 * size, SPAN_READS);
    batch->used = reach(batch, queue->device, 4 + 8 * size, SPAN_WRITES);
    const uint8_t *table = reach(batch, queue->descriptors, 16 * size, SPAN_READS);
    if (!batch->available || !batch->used || !table)
        return false;
    unsigned count = (load16(batch->available + 2) - queue->taken) & INDEX_MASK;
    if (count > size)
        return false;
    count = count < most ? count : most;
    uint64_t seen[ENTRIES_HIGH / 64] = {0};
    for (unsigned i = 0; i < count; i++) {
        const unsigned head = load16(batch->available + 4 + 2 * ((queue->taken + i) & (size - 1)));
        if (head >= size || !is_free(batch, seen, head) || !look_at(batch, table, head, rights, &batch->chains[i]))
            return false;
        seen[head >> 6] |= (uint64_t)1 << (head & 63);
    }
    batch->count = count;
    return true;
}

static bool store(struct batch *batch, const uint64_t *word, uint64_t value)
{
    const uint64_t address = batch->address + (uint64_t)((const uint8_t *)word - (const uint8_t *)batch->page);
    return net_ram->store(batch->ram, address, value) == 0;
}

bool batch_add(struct batch *batch, const uint64_t *word, uint64_t more) { return store(batch, word, *word + more); }

static bool wants_interrupt(const struct batch *batch) { return !(load16(batch->available) & NO_INTERRUPT); }

bool batch_give_back(struct batch *batch, const uint32_t *written, unsigned count)
{
    struct queue *queue = batch->queue;
    if (!count)
        return true;
    for (unsigned i = 0; i < count; i++) {
        const struct used_entry entry = {batch->chains[i].head, written[i]};
        memcpy(batch->used + 4 + sizeof entry * ((queue->used + i) & (queue->size - 1)), &entry, sizeof entry);
    }
    if (!store(batch, &queue->taken, (queue->taken + count) & INDEX_MASK) ||
        !store(batch, &queue->used, (queue->used + count) & INDEX_MASK))
        return false;
    if (!wants_interrupt(batch))
        return true;
    return store(batch, &batch->page->interrupt, batch->page->interrupt | USED_INTERRUPT);
}

bool batch_publish(struct batch *batch)
{
    store16(batch->used + 2, (uint16_t)batch->queue->used);
    /* One that has asked for interrupts since gets one. */
    if (batch->page->interrupt & USED_INTERRUPT || !wants_interrupt(batch))
        return true;
    batch_begin(batch);
    if (!store(batch, &batch->page->interrupt, batch->page->interrupt | USED_INTERRUPT))
        return false;
    batch_commit(batch);
    return true;
}

bool batch_has_more(const struct batch *batch) { return load16(batch->available + 2) != batch->queue->taken; }

void batch_want_kicks(struct batch *batch, bool wanted) { store16(batch->used, wanted ? 0 : NO_NOTIFY); }

void batch_begin(struct batch *batch)
{
    batch->ram->open = true;
    batch->ram->stores = 0;
}

void batch_commit(struct batch *batch)
{
    batch->ram->open = false;
    batch->ram->log->committed++;
    __atomic_store_n(&batch->ram->log->length, 0, __ATOMIC_RELEASE);
}
