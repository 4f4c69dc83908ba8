/* hw._cpu's functions for channels. hw/cpu.py tells their contract. */
#include "calls.h"

#include <errno.h>

static enum wait wait_event(struct cpu_thread *thread, int64_t deadline)
{
    uint32_t seen = __atomic_load_n(&thread->awaited_event, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&thread->event, __ATOMIC_ACQUIRE) != seen)
        return WAIT_READY;
    int slept = futex_wait_until(&thread->event, seen, deadline, false);
    if (slept == 0)
        look_measured(now_ns() - __atomic_load_n(&thread->told_at, __ATOMIC_RELAXED));
    if (slept == 0 || errno == EAGAIN)
        return WAIT_READY;
    return errno == ETIMEDOUT ? WAIT_TIMEOUT : WAIT_INTERRUPTED;
}

/* The channel with this number, once the keeper has it; NULL with an exception set. *seen: as channel_of_thread(). */
static struct channel *await_channel(struct cpu_thread *thread, uint32_t number, int64_t timeout_ns, uint32_t *seen)
{
    int64_t deadline = deadline_after(timeout_ns);
    for (;;) {
        thread->awaited_event = __atomic_load_n(&thread->event, __ATOMIC_ACQUIRE);
        struct channel *channel = channel_of_thread(thread, number, seen);
        if (channel)
            return channel;
        enum wait result = without_gil(thread, deadline, wait_event);
        if (result == WAIT_INTERRUPTED && PyErr_CheckSignals() < 0)
            return NULL;
        if (result == WAIT_TIMEOUT) {
            PyErr_Format(PyExc_LookupError, "channel %u was not handed to this thread in time", number);
            return NULL;
        }
    }
}

static PyObject *channel_bind(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *address;
    unsigned int number;
    long long timeout_ns = 1000000000;
    uint64_t cptr;
    uint32_t seen;
    if (!PyArg_ParseTuple(args, "OI|L:channel_bind", &address, &number, &timeout_ns) || !as_u64(address, &cptr))
        return NULL;
    struct cpu_thread *thread = thread_ready();
    struct channel *channel = thread ? await_channel(thread, number, timeout_ns, &seen) : NULL;
    if (!channel)
        return NULL;
    if (channel_is_received(channel))
        return PyErr_Format(PyExc_LookupError, "channel %u is one that this thread receives by", number);
    if (channel == calls_find(thread, cptr))
        Py_RETURN_NONE;
    if (!channel_use(channel, seen))
        return PyErr_Format(PyExc_LookupError, "channel %u is bound to another address, or gone", number);
    struct channel *before = calls_unbind(thread, cptr);
    if (before)
        channel_give_back(before);
    if ((errno = calls_bind(thread, cptr, channel))) {
        channel_give_back(channel);
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

static PyObject *channel_unbind(PyObject *Py_UNUSED(module), PyObject *address)
{
    uint64_t cptr;
    struct cpu_thread *thread = as_u64(address, &cptr) ? thread_ready() : NULL;
    if (!thread)
        return NULL;
    struct channel *channel = calls_unbind(thread, cptr);
    if (channel)
        channel_give_back(channel);
    return PyBool_FromLong(channel != NULL);
}

static PyObject *channel_listen(PyObject *Py_UNUSED(module), PyObject *address)
{
    uint64_t cptr;
    struct cpu_thread *thread = as_u64(address, &cptr) ? thread_ready() : NULL;
    if (!thread)
        return NULL;
    if ((errno = receive_listen(thread, cptr)))
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *detach(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    struct cpu_thread *thread = thread_ready();
    if (!thread)
        return NULL;
    thread->detached++;
    return PyLong_FromUnsignedLongLong(receive_detach(thread));
}

static PyObject *answer(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint64_t handle;
    struct channel_message message = {.kind = SEL4PY_STATUS_DONE};
    if (count != 6) {
        PyErr_SetString(PyExc_TypeError, "answer(handle, info, mr0, mr1, mr2, mr3) takes 6 arguments");
        return NULL;
    }
    struct cpu_thread *thread = thread_ready();
    if (!thread || !as_u64(args[0], &handle) || !as_u64(args[1], &message.info))
        return NULL;
    for (unsigned i = 0; i < SEL4PY_MESSAGE_REGISTERS; i++)
        if (!as_u64(args[2 + i], &message.mr[i]))
            return NULL;
    message.info = plain_info(message.info);
    return PyBool_FromLong(receive_answer(thread, handle, &message));
}

/* One signal: by its channel, or by the kernel where there is none any more, or what is there is for calls. */
static bool signal_one(struct cpu_thread *thread, uint64_t cptr)
{
    struct channel *channel = calls_find(thread, cptr);
    if (channel && channel->role == SEL4PY_CHANNELROLE_SIGNALLER && channel->badge) {
        if (channel_signal(channel->page, channel->badge))
            return true;
        channel_give_back(calls_unbind(thread, cptr));
    }
    struct sel4py_entry entry = {.op = SEL4PY_SYSCALL_NB_SEND, .cptr = cptr};
    struct sel4py_completion own;
    thread->busy = true;
    uint64_t tag = ring_submit(thread, &entry, NULL);
    bool sent = ring_publish(thread);
    if (sent)
        ring_wait_uninterrupted(thread);
    sent = sent && ring_take(thread, tag, &own);
    thread->busy = false;
    return sent;
}

static PyObject *signal_many(PyObject *Py_UNUSED(module), PyObject *addresses)
{
    struct cpu_thread *thread = thread_ready();
    PyObject *all = thread ? PySequence_Tuple(addresses) : NULL;
    if (!all)
        return NULL;
    Py_ssize_t count = PyTuple_Size(all);
    for (Py_ssize_t i = 0; i < count; i++) {
        uint64_t cptr;
        if (!as_u64(PyTuple_GetItem(all, i), &cptr) ||
            (!signal_one(thread, cptr) && !raise_broken(thread, "a signal got another entry's completion"))) {
            Py_DECREF(all);
            return NULL;
        }
    }
    Py_DECREF(all);
    Py_RETURN_NONE;
}

static PyObject *channel_statistics(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    struct cpu_thread *thread = thread_ready();
    if (!thread)
        return NULL;
    const struct channel_counters *of = &thread->counters;
    return Py_BuildValue("KKKKK", (unsigned long long)of->calls, (unsigned long long)of->taken,
                         (unsigned long long)of->sleeps, (unsigned long long)of->kernel_receives,
                         (unsigned long long)of->abandoned);
}

PyMethodDef channel_methods[] = {
    {"channel_bind", channel_bind, METH_VARARGS,
     "channel_bind(cptr, number, timeout_ns=1000000000)\n\nLet this thread's calls on cptr go by the channel that was\n"
     "connected under this number. Raises LookupError if the kernel does not hand it over in time."},
    {"channel_unbind", channel_unbind, METH_O, "channel_unbind(cptr) -> whether calls on cptr went by a channel."},
    {"channel_listen", channel_listen, METH_O,
     "channel_listen(cptr)\n\nLet this thread's receives on cptr look at its channels, after LISTEN.\n"
     "0, before LISTEN 0, gives them back; what was taken is not answered any more.\n"
     "Raises OSError where the host cannot wait for several words (Linux before 5.16)."},
    {"detach", detach, METH_NOARGS,
     "detach() -> handle\n\nAnswer the request that the last receive returned later; 0 if it came by the kernel."},
    {"answer", (PyCFunction)(void (*)(void))answer, METH_FASTCALL,
     "answer(handle, info, mr0, mr1, mr2, mr3) -> whether the request was still owed an answer."},
    {"signal_many", signal_many, METH_O, "signal_many(cptrs)\n\nSignal each notification, by its channel where it has one."},
    {"channel_statistics", channel_statistics, METH_NOARGS,
     "channel_statistics() -> (calls, taken, sleeps, kernel_receives, abandoned) of this thread."},
    {"set_upgrade", cpu_set_upgrade, METH_VARARGS,
     "set_upgrade(threshold, observer)\n\nCall observer(cptr) before each threshold-th call on a candidate by the kernel."},
    {"candidate", cpu_candidate, METH_O, "candidate(cptr)\n\nCount calls on cptr for set_upgrade."},
    {"forget_candidate", cpu_forget_candidate, METH_O, "forget_candidate(cptr)\n\nCount calls on cptr no more."},
    {NULL, NULL, 0, NULL},
};
