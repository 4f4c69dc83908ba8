/* batch(): many invocations, one trap. The entries are checked and copied out of Python first, then stream through the
 * ring without the GIL, at most a ring of them in flight, then the completions become Python objects.
 *
 * A batch is for invocations that do not block. It is not cancelled by a signal: which of its entries had taken effect
 * would be lost with the exception.
 */
#include "cpu.h"

#include <errno.h>
#include <string.h>

struct item {
    struct sel4py_entry entry;
    struct sel4py_tail tail; /* not set where the entry has none */
};

/* Refill when half of the ring is free: one look at the doorbell for many entries. */
enum { REFILL = SEL4PY_RING_ENTRIES / 2, REGISTERS = SEL4PY_MESSAGE_REGISTERS, MOST_CAPS = SEL4PY_MESSAGE_MAX_EXTRA_CAPS };

/* Items of a tuple; -1 with an exception set if there are more, or it is none. */
static Py_ssize_t count_of(PyObject *tuple, Py_ssize_t limit, const char *what, Py_ssize_t index)
{
    Py_ssize_t count = PyTuple_Check(tuple) ? PyTuple_Size(tuple) : limit + 1;
    if (count <= limit)
        return count;
    PyErr_Format(PyExc_ValueError, "batch entry %zd: %s are a tuple of at most %zd; a longer message takes trap()", index,
                 what, limit);
    return -1;
}

static bool parse_words(PyObject *tuple, Py_ssize_t first, Py_ssize_t end, uint64_t *words)
{
    for (Py_ssize_t i = first; i < end; i++)
        if (!as_u64(PyTuple_GetItem(tuple, i), &words[i - first]))
            return false;
    return true;
}

/* What does not fit the entry itself. */
static bool parse_tail(PyObject *words, Py_ssize_t word_count, PyObject *caps, Py_ssize_t cap_count, PyObject *reply,
                       struct item *item)
{
    if (word_count <= REGISTERS && !cap_count && !reply)
        return true;
    item->entry.flags |= SEL4PY_ENTRY_HAS_TAIL;
    item->tail = (struct sel4py_tail){.reply = 0};
    return (word_count <= REGISTERS || parse_words(words, REGISTERS, word_count, item->tail.mr)) &&
           parse_words(caps, 0, cap_count, item->tail.caps) && (!reply || as_u64(reply, &item->tail.reply));
}

/* As many capabilities as a message can have lie in the message area, where there is room for one message's. */
struct area {
    uint64_t caps[MOST_CAPS];
    bool is_used;
};

static bool parse_most_caps(PyObject *caps, Py_ssize_t word_count, PyObject *reply, struct item *item, struct area *area)
{
    if (word_count > REGISTERS || reply || area->is_used) {
        PyErr_SetString(PyExc_ValueError, "one entry of a batch may have 3 capabilities, if it has 4 words at most");
        return false;
    }
    item->entry.flags = 0;
    area->is_used = true;
    return parse_words(caps, 0, MOST_CAPS, area->caps);
}

static bool parse_item(PyObject *source, Py_ssize_t index, struct item *item, struct area *area)
{
    Py_ssize_t fields = PyTuple_Check(source) ? PyTuple_Size(source) : 0;
    if (fields < 5 || fields > 6) {
        PyErr_Format(PyExc_TypeError, "batch entry %zd is not a tuple (op, cptr, info, words, caps[, reply])", index);
        return false;
    }
    PyObject *words = PyTuple_GetItem(source, 3), *caps = PyTuple_GetItem(source, 4);
    PyObject *reply = fields > 5 ? PyTuple_GetItem(source, 5) : NULL;
    item->entry = (struct sel4py_entry){.flags = SEL4PY_ENTRY_INLINE};
    if (!parse_op(PyTuple_GetItem(source, 0), &item->entry.op) ||
        !as_u64(PyTuple_GetItem(source, 1), &item->entry.cptr) ||
        !as_u64(PyTuple_GetItem(source, 2), &item->entry.info))
        return false;
    if (item->entry.op == SEL4PY_SYSCALL_REPLY_RECV && PyTuple_Check(words) && PyTuple_Size(words) <= REGISTERS)
        item->entry.flags = 0; /* its result is a message, which may have more words and capabilities */
    Py_ssize_t word_count = count_of(words, REGISTERS + SEL4PY_TAIL_MESSAGE_WORDS, "message words", index);
    Py_ssize_t cap_count = word_count < 0 ? -1 : count_of(caps, MOST_CAPS, "capabilities", index);
    return cap_count >= 0 &&
           parse_words(words, 0, word_count < REGISTERS ? word_count : REGISTERS, item->entry.mr) &&
           (cap_count > SEL4PY_TAIL_CAP_SLOTS ? parse_most_caps(caps, word_count, reply, item, area)
                                              : parse_tail(words, word_count, caps, cap_count, reply, item));
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
                ring_submit(thread, &items[sent].entry,
                            items[sent].entry.flags & SEL4PY_ENTRY_HAS_TAIL ? &items[sent].tail : NULL);
            if (!ring_publish(thread))
                return "the doorbell does not ring";
        }
        /* A signal's handler runs when the batch is over. Woken for each completion, a thread on the kernel's processor
         * would take that away from it each time. */
        ring_wait_for(thread, (unsigned)(sent - received - (sent < count ? REFILL : 0)));
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
    struct area area = {.is_used = false};
    for (Py_ssize_t i = 0; i < count; i++)
        if (!parse_item(PyTuple_GetItem(entries, i), i, &items[i], &area))
            return NULL;
    if (area.is_used)
        memcpy(thread->frame + SEL4PY_IPC_CAPS_OR_BADGES, area.caps, sizeof area.caps);
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
    struct item *items = PyMem_New(struct item, (size_t)count + 1);
    struct sel4py_completion *completions = PyMem_New(struct sel4py_completion, (size_t)count + 1);
    PyObject *result = items && completions ? run(thread, entries, count, items, completions) : PyErr_NoMemory();
    PyMem_Free(items);
    PyMem_Free(completions);
    Py_DECREF(entries);
    return result;
}
