/* Frames that a driver has offered in the commonest form, each in one descriptor: looked at, and given back. */
#ifndef SEL4PY_NET_BATCH_H
#define SEL4PY_NET_BATCH_H

#include "api.h"
#include "page.h"

#include <stddef.h>

extern const struct ram_api *net_ram;

enum { SPAN_READS = 1, SPAN_WRITES = 2 };

/* Addresses of the device's IOSpace that are known to be mapped (hw/iommu.py, DmaPort.table). */
struct span {
    uint64_t first, end, physical, rights;
};

/* What a device's port knows, and may forget whenever no turn is under way. */
struct table {
    uint64_t count;
    struct span spans[];
};

/* A chain of one descriptor, copied once and checked. */
struct chain {
    uint8_t *place; /* in RAM */
    uint32_t head, length;
};

struct batch {
    RamObject *ram;
    struct page *page;
    uint64_t address; /* of the page */
    const struct table *table;
    struct queue *queue;
    uint8_t *available, *used; /* the rings, in RAM */
    unsigned count;            /* of chains */
    struct chain chains[ENTRIES_HIGH];
};

/* Looks at up to `most` chains of the queue, stores nothing. `rights`: what the device does with their memory. False where
 * something is not of the commonest form, or not as it should be: all of it is the model's matter (hw/devices/virtqueue.py). */
bool batch_look(struct batch *batch, unsigned queue, unsigned most, unsigned rights);
/* The first `count` chains are done: the used ring has them, the record says so, the driver is to be interrupted if it wants
 * that. False with an exception set. */
bool batch_give_back(struct batch *batch, const uint32_t *written, unsigned count);
/* A logged store to a word of the page. */
bool batch_add(struct batch *batch, const uint64_t *word, uint64_t more);
/* Behind the commit: the driver sees what was given back. False with an exception set. */
bool batch_publish(struct batch *batch);
/* Whether there are chains that were not looked at. */
bool batch_has_more(const struct batch *batch);
/* Whether the driver is to notify the device of what it adds. */
void batch_want_kicks(struct batch *batch, bool wanted);

/* A transaction of the device's, between no others. */
void batch_begin(struct batch *batch);
void batch_commit(struct batch *batch);

#endif
