/* batch(): many invocations, one trap. The entries are checked and copied out of Python first, then stream through the
 * ring without the GIL, at most a ring of them in flight, then the completions become Python objects.
 *
 * A batch is for invocations that do not block. It is not cancelled by a signal: which of its entries had taken effect
 * would be lost with the exception.
 */
#include "cpu.h"

#include <errno.h>

struct item {
    struct sel4py_entry entry;
    struct sel4py_tail tail;
};

/* Refill when half of the ring is free: one look at the doorbell for many entries. */
enum { REFILL = SEL4PY_RING_ENTRIES / 2, INLINE_WORDS = SEL4PY_MESSAGE_REGISTERS + SEL4PY_TAIL_MESSAGE_WORDS };

static bool parse_words(PyObject *tuple, Py_ssize_t limit, const char *what, uint64_t *words, Py_ssize_t index)
{
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) > limit) {
        PyErr_Format(PyExc_ValueError, "batch entry %zd: %s are a tuple of at most %zd; a longer message takes trap()",
                     index, what, limit);
        return false;
    }
    for (Py_ssize_t i = 0; i < PyTuple_Size(tuple); i++)
        if (!as_u64(PyTuple_GetItem(tuple, i), &words[i]))
            return false;
    return true;
}

static bool parse_item(PyObject *source, Py_ssize_t index, struct item *item)
{
    PyObject *cptr, *info, *words, *caps, *reply = NULL;
    uint64_t message[INLINE_WORDS] = {0};
    *item = (struct item){.entry.flags = SEL4PY_ENTRY_INLINE | SEL4PY_ENTRY_HAS_TAIL};
    if (!PyTuple_Check(source)) {
        PyErr_Format(PyExc_TypeError, "batch entry %zd is not a tuple (op, cptr, info, words, caps[, reply])", index);
        return false;
    }
    if (!PyArg_ParseTuple(source, "iOOOO|O:batch entry", &item->entry.op, &cptr, &info, &words, &caps, &reply) ||
        !as_u64(cptr, &item->entry.cptr) || !as_u64(info, &item->entry.info) ||
        !parse_words(words, INLINE_WORDS, "message words", message, index) ||
        !parse_words(caps, SEL4PY_TAIL_CAP_SLOTS, "capabilities", item->tail.caps, index) ||
        (reply && !as_u64(reply, &item->tail.reply)))
        return false;
    for (unsigned i = 0; i < SEL4PY_MESSAGE_REGISTERS; i++)
        item->entry.mr[i] = message[i];
    for (unsigned i = 0; i < SEL4PY_TAIL_MESSAGE_WORDS; i++)
        item->tail.mr[i] = message[SEL4PY_MESSAGE_REGISTERS + i];
    return true;
}

/* NULL if all completions came, else what went wrong. Runs without the GIL. */
static const char *stream(struct cpu_thread *thread, struct item *items, size_t count,
                          struct sel4py_completion *completions)
{
    const uint64_t first_tag = thread->tag + 1;
    size_t sent = 0, received = 0;
    while (received < count) {
        if (sent < count && sent - received <= REFILL) {
            for (; sent < count && sent - received < SEL4PY_RING_ENTRIES; sent++)
                ring_submit(thread, &items[sent].entry, &items[sent].tail);
            if (!ring_publish(thread))
                return "the doorbell does not ring";
        }
        /* A signal's handler runs when the batch is over. */
        ring_wait_uninterrupted(thread);
        park_here(thread);
        for (; received < sent && ring_ready(thread); received++)
            if (!ring_take(thread, first_tag + received, &completions[received]))
                return "a completion answers another entry";
    }
    return NULL;
}

static PyObject *result_list(const struct sel4py_completion *completions, Py_ssize_t count)
{
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *item = completion_tuple(&completions[i]);
        if (!item || PyList_SetItem(list, i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *run(struct cpu_thread *thread, PyObject *entries, Py_ssize_t count, struct item *items,
                     struct sel4py_completion *completions)
{
    for (Py_ssize_t i = 0; i < count; i++)
        if (!parse_item(PyTuple_GetItem(entries, i), i, &items[i]))
            return NULL;
    const char *failure;
    thread->busy = true;
    Py_BEGIN_ALLOW_THREADS
    thread->outside = 1;
    park_here(thread);
    failure = stream(thread, items, (size_t)count, completions);
    thread->outside = 0;
    Py_END_ALLOW_THREADS
    thread->busy = false;
    return failure ? raise_broken(thread, failure) : result_list(completions, count);
}

PyObject *cpu_batch(PyObject *Py_UNUSED(module), PyObject *source)
{
    struct cpu_thread *thread = thread_ready();
    PyObject *entries = thread ? PySequence_Tuple(source) : NULL;
    if (!entries)
        return NULL;
    Py_ssize_t count = PyTuple_Size(entries);
    struct item *items = PyMem_Calloc((size_t)count + 1, sizeof *items);
    struct sel4py_completion *completions = PyMem_Calloc((size_t)count + 1, sizeof *completions);
    PyObject *result = items && completions ? run(thread, entries, count, items, completions) : PyErr_NoMemory();
    PyMem_Free(items);
    PyMem_Free(completions);
    Py_DECREF(entries);
    return result;
}
