/* Devices' back ends of which the kernel's loop has turns behind their doorbells. */
#ifndef SEL4PY_FASTPATH_BACK_ENDS_H
#define SEL4PY_FASTPATH_BACK_ENDS_H

#include "fastpath.h"
#include "kicked.h"

enum { BACK_ENDS_HIGH = 16 };

struct back_ends {
    unsigned count;
    uint64_t numbers[BACK_ENDS_HIGH]; /* of devices */
    struct kicked *kicked[BACK_ENDS_HIGH];
};

/* From a dictionary of capsules by device number, or NULL. False with an exception set. */
bool back_ends_find(struct back_ends *found, PyObject *kicked);
/* A device's driver has rung. DONE: nothing is left to do; SLOW: something is, or it has none here. FAILED with an exception set. */
enum outcome back_ends_ring(const struct back_ends *back_ends, uint64_t device);

#endif
