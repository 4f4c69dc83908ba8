/* Who is told when a thread calls one endpoint often: the SDK, which then may connect a channel.
 *
 * Candidates are named; calls on others are not counted. The observer runs before the call that reached the threshold is
 * submitted, and traps itself, so the message that lies ready is put aside meanwhile.
 */
#include "calls.h"

enum { CANDIDATES = 128 };

static struct candidate {
    uint64_t cptr;
    uint32_t calls;
} candidates[CANDIDATES];
static unsigned candidate_count;
static uint32_t threshold;
static PyObject *observer;

PyObject *cpu_set_upgrade(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned int calls;
    PyObject *callable;
    if (!PyArg_ParseTuple(args, "IO:set_upgrade", &calls, &callable))
        return NULL;
    if (callable != Py_None && (!PyCallable_Check(callable) || !calls)) {
        PyErr_SetString(PyExc_TypeError, "set_upgrade(threshold, observer) takes a number from 1 on and a callable or None");
        return NULL;
    }
    PyObject *before = observer;
    observer = callable == Py_None ? NULL : Py_NewRef(callable);
    threshold = calls;
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

static struct candidate *find(uint64_t cptr)
{
    for (unsigned i = 0; i < candidate_count; i++)
        if (candidates[i].cptr == cptr)
            return &candidates[i];
    return NULL;
}

PyObject *cpu_candidate(PyObject *Py_UNUSED(module), PyObject *object)
{
    uint64_t cptr;
    if (!as_u64(object, &cptr))
        return NULL;
    /* Those that do not fit are called through the kernel. */
    if (!find(cptr) && candidate_count < CANDIDATES)
        candidates[candidate_count++] = (struct candidate){.cptr = cptr};
    Py_RETURN_NONE;
}

PyObject *cpu_forget_candidate(PyObject *Py_UNUSED(module), PyObject *object)
{
    uint64_t cptr;
    if (!as_u64(object, &cptr))
        return NULL;
    struct candidate *found = find(cptr);
    if (found)
        *found = candidates[--candidate_count];
    Py_RETURN_NONE;
}

static bool ask(struct cpu_thread *thread, uint64_t cptr)
{
    uint8_t message[SEL4PY_IPC_BUFFER_BYTES];
    memcpy(message, thread->frame, sizeof message);
    PyObject *asked = Py_NewRef(observer);
    PyObject *result = PyObject_CallFunction(asked, "K", (unsigned long long)cptr);
    Py_DECREF(asked);
    memcpy(thread->frame, message, sizeof message);
    if (!result)
        return false;
    Py_DECREF(result);
    return true;
}

bool upgrade_observe(struct cpu_thread *thread, uint64_t cptr)
{
    /* A call that is bound and yet goes through the kernel (a capability, an answer still owed) needs no channel. */
    if (!observer || calls_find(thread, cptr))
        return true;
    struct candidate *candidate = find(cptr);
    if (!candidate || ++candidate->calls < threshold)
        return true;
    candidate->calls = 0;
    return ask(thread, cptr);
}
