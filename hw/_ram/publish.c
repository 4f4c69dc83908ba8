/* The tells of a transaction that only ends system calls, carried out in one call: publish the completions, wake who
 * sleeps, empty the outbox. Where the records' fields lie is told by the kernel (kerneld/host/completions.py).
 *
 * A kernel that is killed in here carries out the same tells again: the outbox's length is stored last.
 */
#include "abi.h"
#include "ram.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Addresses in RAM; offsets in a TCB record. */
struct layout {
    uint64_t outbox_length, outbox_entries; /* addresses */
    uint64_t deliver;                       /* the kind that is carried out here */
    uint64_t frame_word, frame_type;        /* where the trap frame's capability is, and its type bits */
    uint64_t produced, told, flags, told_pending;
};

struct tell {
    uint64_t kind, subject, detail, more;
};

enum { ENTRIES_HIGH = 1024, CAP_TYPE_SHIFT = 59 };
static const uint64_t OBJECT_MASK = (1ull << 40) - 1;

static uint64_t *record_word(RamObject *ram, uint64_t address)
{
    if ((address & 7) || !ram_check(ram, address, 8)) {
        if (!PyErr_Occurred())
            PyErr_SetString(ram_state()->ram_error, "a record's word is aligned");
        return NULL;
    }
    return (uint64_t *)(void *)(ram->base + address);
}

/* Publishes one thread's completion; nothing to do where the thread has lost its trap frame. */
static int publish_one(RamObject *ram, const struct layout *layout, uint64_t tcb)
{
    uint64_t *capability = record_word(ram, tcb + layout->frame_word);
    uint64_t *produced = record_word(ram, tcb + layout->produced);
    if (!capability || !produced)
        return -1;
    uint64_t frame = *capability & OBJECT_MASK;
    const uint64_t *flags = record_word(ram, tcb + layout->flags);
    if (!flags)
        return -1;
    if (*capability >> CAP_TYPE_SHIFT != layout->frame_type || !(*flags & layout->told_pending))
        return 0; /* or it was published before the rest of the transaction was carried out */
    if (!ram_check(ram, frame, SEL4PY_TRAP_FRAME_BYTES))
        return -1;
    uint32_t *seen = (uint32_t *)(void *)(ram->base + frame + SEL4PY_COMPLETE_PRODUCED);
    int sleeps = 1;
    /* What was published before the kernel was killed must not be written again: the thread may have gone on, and be
     * composing its next message where this one's words would land. */
    if (__atomic_load_n(seen, __ATOMIC_ACQUIRE) != (uint32_t)*produced) {
        sleeps = ring_publish(ram, frame, tcb + layout->told, (uint32_t)*produced - 1);
        if (sleeps < 0)
            return -1;
    }
    if (sleeps)
        syscall(SYS_futex, seen, FUTEX_WAKE, 1, NULL, NULL, 0);
    return 0;
}

static PyObject *publish_all(RamObject *ram, const struct layout *layout, const struct tell *tells, uint64_t length)
{
    PyObject *subjects = PyTuple_New((Py_ssize_t)length);
    for (uint64_t i = 0; subjects && i < length; i++) {
        PyObject *item = PyLong_FromUnsignedLongLong(tells[i].subject);
        if (!item || publish_one(ram, layout, tells[i].subject) < 0 ||
            PyTuple_SetItem(subjects, (Py_ssize_t)i, Py_NewRef(item)) < 0)
            Py_CLEAR(subjects);
        Py_XDECREF(item);
    }
    for (uint64_t i = 0; subjects && i < length; i++) {
        uint64_t *flags = record_word(ram, tells[i].subject + layout->flags);
        if (flags)
            *flags &= ~layout->told_pending;
        else
            Py_CLEAR(subjects);
    }
    return subjects;
}

/* publish(ram, layout, first=0) -> the TCBs whose completions were published, (), or None where the outbox holds other tells
 * as well, or completions that may have to wait, and nothing was done. The tells before `first` are carried out. */
PyObject *publish(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct layout layout;
    char *bytes;
    Py_ssize_t size;
    uint64_t first = 0;
    RamObject *ram = count == 2 || (count == 3 && as_u64(args[2], &first)) ? as_ram(args[0]) : NULL;
    if (!ram || PyBytes_AsStringAndSize(args[1], &bytes, &size) < 0 || size != sizeof layout || ram->open) {
        if (!PyErr_Occurred())
            PyErr_SetString(ram_state()->ram_error, "publish(ram, layout, first) takes nine words, outside of transactions");
        return NULL;
    }
    memcpy(&layout, bytes, sizeof layout);
    uint64_t *length = record_word(ram, layout.outbox_length);
    if (!length)
        return NULL;
    if (!*length)
        return PyTuple_New(0);
    if (*length > ENTRIES_HIGH || !record_word(ram, layout.outbox_entries) ||
        !ram_check(ram, layout.outbox_entries, *length * sizeof(struct tell))) {
        PyErr_SetString(ram_state()->ram_error, "the outbox says more tells than it holds");
        return NULL;
    }
    const struct tell *tells = (const void *)(ram->base + layout.outbox_entries);
    if (first > *length)
        first = *length;
    for (uint64_t i = first; i < *length; i++)
        if (tells[i].kind != layout.deliver || tells[i].detail)
            Py_RETURN_NONE;
    PyObject *subjects = publish_all(ram, &layout, tells + first, *length - first);
    if (subjects)
        __atomic_store_n(length, 0, __ATOMIC_RELEASE);
    return subjects;
}
