/* The words of a Mapping: what two processes that share memory tell each other by, one load or store at a time.
 *
 * Guarded as read and write are (mapping.c): first with the GIL, waiting for nobody; again without it.
 */
#include "fault.h"

/* NULL with an exception set. */
static uint64_t *find_word(PyObject *self, PyObject *offset)
{
    const struct mapping *mapping = (const struct mapping *)self;
    uint64_t at;
    if (!as_u64(offset, &at))
        return NULL;
    if (at % sizeof at || mapping->size < sizeof at || at > mapping->size - sizeof at || mapping->address % sizeof at) {
        PyErr_Format(PyExc_ValueError, "there is no word at offset %llu of a mapping of %llu bytes: it takes a multiple of 8",
                     (unsigned long long)at, mapping->size);
        return NULL;
    }
    return (uint64_t *)(uintptr_t)(mapping->address + at);
}

static bool load(const uint64_t *word, uint64_t *value)
{
    bool worked = fault_guarded_load(word, value);
    if (worked)
        return true;
    Py_BEGIN_ALLOW_THREADS
    guard_wait_begin();
    worked = fault_guarded_load(word, value);
    guard_wait_end();
    Py_END_ALLOW_THREADS
    if (!worked)
        guard_raise();
    return worked;
}

static bool store(uint64_t *word, uint64_t value)
{
    bool worked = fault_guarded_store(word, value);
    if (worked)
        return true;
    Py_BEGIN_ALLOW_THREADS
    guard_wait_begin();
    worked = fault_guarded_store(word, value);
    guard_wait_end();
    Py_END_ALLOW_THREADS
    if (!worked)
        guard_raise();
    return worked;
}

bool mapping_takes(const char *name, Py_ssize_t count, Py_ssize_t wanted)
{
    if (count != wanted)
        PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, and %zd were given", name, wanted, count);
    return count == wanted;
}

static bool store_at(PyObject *mapping, PyObject *offset, PyObject *object)
{
    uint64_t value;
    uint64_t *word = find_word(mapping, offset);
    return word && as_u64(object, &value) && mapping_may_write((const struct mapping *)mapping) && store(word, value);
}

PyObject *mapping_load_word(PyObject *mapping, PyObject *offset)
{
    uint64_t value;
    const uint64_t *word = find_word(mapping, offset);
    return word && load(word, &value) ? PyLong_FromUnsignedLongLong(value) : NULL;
}

PyObject *mapping_store_word(PyObject *mapping, PyObject *const *args, Py_ssize_t count)
{
    return mapping_takes("store_word", count, 2) && store_at(mapping, args[0], args[1]) ? Py_NewRef(Py_None) : NULL;
}

PyObject *mapping_store_then_load(PyObject *mapping, PyObject *const *args, Py_ssize_t count)
{
    if (!mapping_takes("store_then_load", count, 3) || !store_at(mapping, args[0], args[1]))
        return NULL;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return mapping_load_word(mapping, args[2]);
}
