#include "back_ends.h"

bool back_ends_find(struct back_ends *found, PyObject *kicked)
{
    PyObject *number, *capsule;
    Py_ssize_t at = 0;
    found->count = 0;
    while (kicked && found->count < BACK_ENDS_HIGH && PyDict_Next(kicked, &at, &number, &capsule)) {
        struct kicked *each = PyCapsule_GetPointer(capsule, KICKED_NAME);
        if (!each || !as_u64(number, &found->numbers[found->count]))
            return false;
        found->kicked[found->count++] = each;
    }
    return true;
}

enum outcome back_ends_ring(const struct back_ends *back_ends, uint64_t device)
{
    for (unsigned i = 0; i < back_ends->count; i++) {
        if (back_ends->numbers[i] != device)
            continue;
        struct kicked *kicked = back_ends->kicked[i];
        const int bits = kicked->turn(kicked, false);
        if (bits < 0)
            return FAILED;
        return bits & ~(TURN_MOVED | TURN_STARVED) ? SLOW : DONE; /* one that is starved was so before, unless that has CHANGED */
    }
    return SLOW;
}
