/* One interface's frames: between its queues and its descriptor. */
#ifndef SEL4PY_NET_MOVER_H
#define SEL4PY_NET_MOVER_H

#include "batch.h"
#include "kicked.h"

/* What Python and C share of a back end, outside of RAM (hw/devices/net_frames.py). */
struct desk {
    uint64_t held;    /* chains are under way in Python, or something else is that C knows nothing of */
    uint64_t resets;  /* the device's count of them, as Python has seen it last */
    uint64_t blocked; /* the descriptor takes nothing now */
    uint64_t quiet;   /* the driver was told that it need not notify of buffers */
};

/* As hw.iommu.DmaStatistics. */
struct counts {
    uint64_t reads, read_bytes, writes, written_bytes, faults;
};

struct mover {
    struct kicked kicked; /* first */
    RamObject *ram;
    int descriptor;
    struct page *page;
    uint64_t address; /* of the page */
    const struct table *table;
    struct counts *counts;
    struct desk *desk;
    unsigned most;            /* frames of a turn */
    uint64_t longest, budget; /* bytes of a frame; and of a turn, about */
};

/* kicked.turn */
int mover_turn(struct kicked *kicked, bool reads);

#endif
