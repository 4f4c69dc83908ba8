/* A device's registers by a Mapping: one load or store of the width that is asked for.
 *
 * An item of a memoryview is that too, where Python was compiled so; here it is certain. Always without the GIL, since the
 * access is a system call (access.c), and what it raises is VMFault, where the device was taken away say.
 */
#include "fault.h"

struct target {
    uint8_t *at;
    unsigned width;
};

static bool find_register(PyObject *self, PyObject *offset, PyObject *width, struct target *target)
{
    const struct mapping *mapping = (const struct mapping *)self;
    uint64_t at, bytes;
    if (!as_u64(offset, &at) || !as_u64(width, &bytes))
        return false;
    if (bytes != 1 && bytes != 2 && bytes != 4) {
        PyErr_Format(PyExc_ValueError, "a register of %llu bytes: they have 1, 2 or 4", (unsigned long long)bytes);
        return false;
    }
    if ((mapping->address + at) % bytes || mapping->size < bytes || at > mapping->size - bytes) {
        PyErr_Format(PyExc_ValueError, "no register of %u bytes at offset %llu of a mapping of %llu: it takes a multiple",
                     (unsigned)bytes, (unsigned long long)at, mapping->size);
        return false;
    }
    *target = (struct target){(uint8_t *)(uintptr_t)mapping->address + at, (unsigned)bytes};
    return true;
}

PyObject *mapping_load_register(PyObject *mapping, PyObject *const *args, Py_ssize_t count)
{
    struct target target;
    uint64_t value;
    bool worked;
    if (!mapping_takes("load_register", count, 2) || !find_register(mapping, args[0], args[1], &target))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    guard_wait_begin();
    worked = fault_guarded_load_part(target.at, &value, target.width);
    guard_wait_end();
    Py_END_ALLOW_THREADS
    return worked ? PyLong_FromUnsignedLongLong(value) : guard_raise();
}

PyObject *mapping_store_register(PyObject *mapping, PyObject *const *args, Py_ssize_t count)
{
    struct target target;
    uint64_t value;
    bool worked;
    if (!mapping_takes("store_register", count, 3) || !find_register(mapping, args[0], args[1], &target) ||
        !as_u64(args[2], &value) || !mapping_may_write((const struct mapping *)mapping))
        return NULL;
    if (value >> 8 * target.width) {
        PyErr_Format(PyExc_OverflowError, "%llu does not fit a register of %u bytes", (unsigned long long)value, target.width);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    guard_wait_begin();
    worked = fault_guarded_store_part(target.at, value, target.width);
    guard_wait_end();
    Py_END_ALLOW_THREADS
    return worked ? Py_NewRef(Py_None) : guard_raise();
}
