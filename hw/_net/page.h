/* A virtio device's page of RAM as a network interface has it (hw/devices/virtio_registers.py, hw/devices/net.py; a test compares),
 * and what its queues are in the driver's memory (VIRTIO 1.2, section 2.7).
 */
#ifndef SEL4PY_NET_PAGE_H
#define SEL4PY_NET_PAGE_H

#include <stdint.h>

enum { QUEUES = 4, ENTRIES_HIGH = 256 };

struct queue {
    uint64_t size, ready, descriptors, driver, device, taken, used, reserved;
    uint64_t in_flight[ENTRIES_HIGH / 64], free[4];
};

struct page {
    uint64_t status, interrupt, device_select, driver_select, features, queue_select, generation, cause;
    struct queue queues[QUEUES];
    uint64_t resets, is_down, received, received_bytes, sent, sent_bytes, dropped, refused;
};

_Static_assert(sizeof(struct queue) == 128, "QueueRecord.SIZE");

enum { LIVE = 4, LIVE_MASK = 4 | 64, USED_INTERRUPT = 1 }; /* of status: DRIVER_OK, without NEEDS_RESET */
enum { NEXT = 1, DEVICE_WRITES = 2, INDIRECT = 4 };        /* flags of a descriptor */
enum { NO_INTERRUPT = 1 };                                 /* of the available ring */
enum { NO_NOTIFY = 1 };                                    /* of the used ring */

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

struct used_entry {
    uint32_t head, written;
};

_Static_assert(sizeof(struct descriptor) == 16 && sizeof(struct used_entry) == 8, "VIRTIO 1.2, section 2.7");

#endif
