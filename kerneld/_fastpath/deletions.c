/* What people may ask for: which capabilities the fast path has deleted lately, and for whom (kerneld/core.py). */
#include "attempt.h"

enum { KEPT = 1024 };

struct deletion {
    const RamObject *ram;
    uint64_t slot, word0, word1, thread;
};

static struct deletion kept[KEPT];
static uint64_t noted, told;

void deletions_add(const RamObject *ram, uint64_t thread, struct slot slot)
{
    kept[noted++ % KEPT] = (struct deletion){ram, slot.address, slot.word0, slot.word1, thread};
}

/* deletions(ram) -> those since it was called last, the oldest first, as (slot, word0, word1, thread). */
PyObject *fast_deletions(PyObject *Py_UNUSED(module), PyObject *ram)
{
    if (noted - told > KEPT)
        told = noted - KEPT;
    PyObject *list = PyList_New(0);
    for (; list && told < noted; told++) {
        const struct deletion *each = &kept[told % KEPT];
        if ((const PyObject *)each->ram != ram)
            continue;
        PyObject *item = Py_BuildValue("(KKKK)", each->slot, each->word0, each->word1, each->thread);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}
