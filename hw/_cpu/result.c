/* What a system call returns to Python: a tuple of status, badge, info and the message registers.
 *
 * What need not be made anew is given out again.
 */
#include "cpu.h"

enum { AT_FIRST_WORD = 3 }; /* behind status, badge and info */

static PyObject *make_tuple(const struct sel4py_completion *completion)
{
    PyObject *tuple = PyTuple_New(AT_FIRST_WORD + SEL4PY_MESSAGE_REGISTERS);
    if (!tuple)
        return NULL;
    PyObject *status = PyLong_FromLong(completion->status);
    if (!status || PyTuple_SetItem(tuple, 0, status) < 0)
        goto failed;
    for (unsigned i = 0; i < 2 + SEL4PY_MESSAGE_REGISTERS; i++) {
        uint64_t word = i == 0 ? completion->badge : i == 1 ? completion->info : completion->mr[i - 2];
        PyObject *item = PyLong_FromUnsignedLongLong(word);
        if (!item || PyTuple_SetItem(tuple, (Py_ssize_t)i + 1, item) < 0)
            goto failed;
    }
    return tuple;
failed:
    Py_DECREF(tuple);
    return NULL;
}

/* Most completions say that it worked, and nothing else: those are one and the same tuple. */
PyObject *completion_tuple(const struct sel4py_completion *completion)
{
    static PyObject *nothing;
    uint64_t any = (uint32_t)completion->status | completion->badge | completion->info;
    for (unsigned i = 0; i < SEL4PY_MESSAGE_REGISTERS; i++)
        any |= completion->mr[i];
    if (any)
        return make_tuple(completion);
    if (!nothing)
        nothing = make_tuple(completion);
    return nothing ? Py_NewRef(nothing) : NULL;
}

static bool put(PyObject *tuple, Py_ssize_t index, PyObject *item)
{
    return item && PyTuple_SetItem(tuple, index, item) == 0;
}

/* The word of the tuple's that was `last`; in place, since a copy of words that have just been stored one by one costs more
 * than all the rest. */
static bool put_word(PyObject *tuple, Py_ssize_t index, uint64_t *last, uint64_t word)
{
    if (*last == word)
        return true;
    *last = word;
    return put(tuple, index, PyLong_FromUnsignedLongLong(word));
}

/* A new tuple, from now on the thread's last. Takes `bytes` over. */
APART static PyObject *make_result(struct cpu_thread *thread, const struct sel4py_completion *completion, PyObject *bytes)
{
    /* Making one may collect garbage, whose finalizers may make system calls: only afterwards is it the last one. */
    PyObject *made = make_tuple(completion), *former = thread->result;
    if (!made)
        Py_CLEAR(bytes);
    else if (bytes && PyTuple_SetItem(made, AT_FIRST_WORD, bytes) < 0)
        Py_CLEAR(made);
    thread->result = Py_XNewRef(made);
    thread->last = *completion;
    thread->last_has_bytes = bytes;
    Py_XDECREF(former);
    return made;
}

PyObject *result_of(struct cpu_thread *thread, const struct sel4py_completion *completion, PyObject *bytes)
{
    PyObject *tuple = thread->result;
    /* From 3.14 on a tuple keeps its hash, which would be that of its former words. */
    if (!tuple || Py_REFCNT(tuple) != 1 || Py_Version >= 0x030e0000)
        return make_result(thread, completion, bytes);
    struct sel4py_completion *last = &thread->last;
    bool made = (completion->status == last->status || put(tuple, 0, PyLong_FromLong(completion->status))) &&
                put_word(tuple, 1, &last->badge, completion->badge) && put_word(tuple, 2, &last->info, completion->info);
    last->status = completion->status;
    if (bytes || thread->last_has_bytes) {
        made = put(tuple, AT_FIRST_WORD, bytes ? bytes : PyLong_FromUnsignedLongLong(completion->mr[0])) && made;
        last->mr[0] = completion->mr[0];
        thread->last_has_bytes = bytes;
    }
    for (unsigned i = 0; made && i < SEL4PY_MESSAGE_REGISTERS; i++)
        made = put_word(tuple, AT_FIRST_WORD + (Py_ssize_t)i, &last->mr[i], completion->mr[i]);
    if (!made) {
        forget_objects(thread);
        return NULL;
    }
    return Py_NewRef(tuple);
}

void forget_objects(struct cpu_thread *thread)
{
    Py_CLEAR(thread->result);
    for (unsigned i = 0; i < POSITIONS; i++)
        Py_CLEAR(thread->known[i].object);
}
