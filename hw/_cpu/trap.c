/* trap(): one system call of the calling thread, as one C function.
 *
 * A call ends in one of three ways: its completion; its time-out; an exception that a Python signal handler raises
 * while it waits. The last two cancel it first, by an entry CANCEL behind it, and wait for the completions of both, so
 * that the rings are in step again. What completed before the cancellation reached the kernel counts as completed.
 */
#include "calls.h"

#include <errno.h>

/* Looks with the GIL held: below the cost of giving the GIL away and taking it back. */
enum { RING_LOOKS_WITH_GIL = 4, EXTRA_CAPS = 3 << 7 };

PyObject *raise_broken(struct cpu_thread *thread, const char *what)
{
    thread->broken = true;
    PyErr_Format(PyExc_RuntimeError, "trap ring: %s; the kernel does not keep to libsel4py.abi", what);
    return NULL;
}

static PyObject *make_tuple(const struct sel4py_completion *completion)
{
    PyObject *tuple = PyTuple_New(3 + SEL4PY_MESSAGE_REGISTERS);
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

/* As completion_tuple. Where nobody has kept the tuple that the thread got last it is given out again, and only the words
 * that differ are made anew. */
static PyObject *result_of(struct cpu_thread *thread, const struct sel4py_completion *completion)
{
    PyObject *tuple = thread->result;
    if (!tuple || Py_REFCNT(tuple) != 1) {
        /* Making one may collect garbage, whose finalizers may make system calls: only afterwards is it the last one. */
        PyObject *made = make_tuple(completion), *former = thread->result;
        thread->result = Py_XNewRef(made);
        thread->last = *completion;
        Py_XDECREF(former);
        return made;
    }
    const struct sel4py_completion before = thread->last;
    thread->last = *completion;
    bool made = completion->status == before.status || put(tuple, 0, PyLong_FromLong(completion->status));
    made = made && (completion->badge == before.badge || put(tuple, 1, PyLong_FromUnsignedLongLong(completion->badge)));
    made = made && (completion->info == before.info || put(tuple, 2, PyLong_FromUnsignedLongLong(completion->info)));
    for (unsigned i = 0; made && i < SEL4PY_MESSAGE_REGISTERS; i++)
        made = completion->mr[i] == before.mr[i] ||
               put(tuple, 3 + (Py_ssize_t)i, PyLong_FromUnsignedLongLong(completion->mr[i]));
    if (!made) {
        forget_result(thread);
        return NULL;
    }
    return Py_NewRef(tuple);
}

void forget_result(struct cpu_thread *thread) { Py_CLEAR(thread->result); }

enum wait without_gil(struct cpu_thread *thread, int64_t deadline, enum wait (*wait)(struct cpu_thread *, int64_t))
{
    PyThreadState *state = PyEval_SaveThread();
    thread->outside = 1;
    enum wait result = wait(thread, deadline);
    park_here(thread);
    thread->outside = 0;
    PyEval_RestoreThread(state);
    return result;
}

int64_t deadline_after(int64_t timeout_ns)
{
    int64_t deadline = NO_DEADLINE;
    if (timeout_ns >= 0 && __builtin_add_overflow(now_ns(), timeout_ns, &deadline))
        deadline = NO_DEADLINE;
    return deadline;
}

static enum wait uninterrupted(struct cpu_thread *thread, int64_t Py_UNUSED(deadline))
{
    ring_wait_uninterrupted(thread);
    return WAIT_READY;
}

/* A signal while we look interrupts nothing: its Python handler must run before we sleep. */
static enum wait look(struct cpu_thread *thread, int64_t deadline)
{
    enum wait result = ring_look(thread, deadline);
    return result == WAIT_INTERRUPTED && !thread->runs_handlers ? ring_sleep(thread, deadline) : result;
}

static bool take_checked(struct cpu_thread *thread, uint64_t tag, struct sel4py_completion *completion)
{
    if (ring_take(thread, tag, completion))
        return true;
    raise_broken(thread, "a completion answers another entry");
    return false;
}

static bool publish(struct cpu_thread *thread)
{
    if (ring_publish(thread))
        return true;
    thread->broken = true;
    PyErr_SetFromErrno(PyExc_OSError);
    return false;
}

/* Ends the call with this tag, with the Python exception (if one is set) put aside meanwhile. */
static bool cancel(struct cpu_thread *thread, uint64_t tag, struct sel4py_completion *completion)
{
    struct sel4py_entry entry = {.op = SEL4PY_SYSCALL_CANCEL};
    struct sel4py_completion own;
    uint64_t cancel_tag = ring_submit(thread, &entry, NULL);
    if (!publish(thread))
        return false;
    without_gil(thread, NO_DEADLINE, uninterrupted);
    if (!take_checked(thread, tag, completion))
        return false;
    without_gil(thread, NO_DEADLINE, uninterrupted);
    return take_checked(thread, cancel_tag, &own);
}

static bool cancel_for_exception(struct cpu_thread *thread, uint64_t tag, struct sel4py_completion *completion)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!cancel(thread, tag, completion))
        PyErr_Clear(); /* The rings are marked broken, and the handler's exception is the one to tell. */
    PyErr_Restore(type, value, traceback);
    return false;
}

static bool transact(struct cpu_thread *thread, struct sel4py_entry *entry, const struct sel4py_tail *tail,
                     int64_t timeout_ns, struct sel4py_completion *completion)
{
    uint64_t tag = ring_submit(thread, entry, tail);
    if (!publish(thread))
        return false;
    bool ready = false;
    for (int i = 0; i < RING_LOOKS_WITH_GIL && !ready; i++)
        ready = ring_ready(thread);
    if (ready && !park_asked(thread))
        return take_checked(thread, tag, completion);
    int64_t deadline = deadline_after(timeout_ns);
    enum wait result = without_gil(thread, deadline, look);
    while (result == WAIT_INTERRUPTED) {
        /* Does nothing but in the main thread, and there runs the handlers of the signals that came. */
        if (PyErr_CheckSignals() < 0)
            return cancel_for_exception(thread, tag, completion);
        result = without_gil(thread, deadline, ring_sleep);
    }
    return result == WAIT_TIMEOUT ? cancel(thread, tag, completion) : take_checked(thread, tag, completion);
}

bool parse_op(PyObject *object, int32_t *op)
{
    long value = PyLong_AsLong(object);
    if (value == -1 && PyErr_Occurred())
        return false;
    if (value < INT32_MIN || value > INT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "op is a number of libsel4py.abi.Syscall (32 bits, signed)");
        return false;
    }
    *op = (int32_t)value;
    return true;
}

static bool parse_timeout(PyObject *object, int64_t *timeout_ns)
{
    *timeout_ns = PyLong_AsLongLong(object);
    return !(*timeout_ns == -1 && PyErr_Occurred());
}

struct call {
    struct sel4py_entry entry;
    struct sel4py_tail tail;
    int64_t timeout_ns;
};

static bool parse_words(PyObject *const *args, uint64_t *words, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!as_u64(args[i], &words[i]))
            return false;
    return true;
}

/* cptr, info and the message registers. */
static bool parse_message(PyObject *const *args, struct sel4py_entry *entry)
{
    return as_u64(args[0], &entry->cptr) && as_u64(args[1], &entry->info) &&
           parse_words(args + 2, entry->mr, SEL4PY_MESSAGE_REGISTERS);
}

static bool has_arguments(const char *signature, Py_ssize_t count, Py_ssize_t least, Py_ssize_t most)
{
    if (count >= least && count <= most)
        return true;
    PyErr_Format(PyExc_TypeError, "%s takes %zd to %zd arguments, not %zd", signature, least, most, count);
    return false;
}

static bool parse(PyObject *const *args, Py_ssize_t count, struct call *call)
{
    *call = (struct call){.timeout_ns = -1};
    if (!has_arguments("trap(op, cptr, info, mr0, mr1, mr2, mr3, reply=0, dest=0, timeout_ns=-1)", count, 7, 10) ||
        !parse_op(args[0], &call->entry.op) || !parse_message(args + 1, &call->entry))
        return false;
    if ((count > 7 && !as_u64(args[7], &call->tail.reply)) || (count > 8 && !as_u64(args[8], &call->tail.dest)) ||
        (count > 9 && !parse_timeout(args[9], &call->timeout_ns)))
        return false;
    if (call->tail.reply || call->tail.dest)
        call->entry.flags = SEL4PY_ENTRY_HAS_TAIL;
    return true;
}

/* By a channel, where that is what this thread has one for. A message with capabilities is the kernel's to move. */
static enum route by_channel(struct cpu_thread *thread, const struct call *call, struct sel4py_completion *completion)
{
    const struct sel4py_entry *entry = &call->entry;
    const bool calls = entry->op == SEL4PY_SYSCALL_CALL || entry->op == SEL4PY_SYSCALL_SEND;
    enum route route = BY_KERNEL;
    if (calls && thread->bindings && !(entry->info & EXTRA_CAPS))
        route = call_by_channel(thread, entry, call->timeout_ns, completion);
    if (route == BY_KERNEL && thread->receiver)
        route = receive_by_channel(thread, entry, &call->tail, call->timeout_ns, completion);
    return route;
}

static PyObject *carry_out(struct cpu_thread *thread, const struct call *call, bool may_use_channel)
{
    struct sel4py_completion completion;
    thread->busy = true;
    if (park_asked(thread)) {
        Py_BEGIN_ALLOW_THREADS
        park_here(thread);
        Py_END_ALLOW_THREADS
    }
    enum route route = may_use_channel ? by_channel(thread, call, &completion) : BY_KERNEL;
    if (route == BY_KERNEL && may_use_channel && call->entry.op == SEL4PY_SYSCALL_CALL) {
        thread->busy = false;
        if (!upgrade_observe(thread, call->entry.cptr))
            return NULL;
        thread->busy = true;
        if (calls_find(thread, call->entry.cptr))
            route = by_channel(thread, call, &completion);
    }
    if (route == BY_KERNEL) {
        struct sel4py_entry entry = call->entry;
        const struct sel4py_tail *tail = entry.flags & SEL4PY_ENTRY_HAS_TAIL ? &call->tail : NULL;
        route = transact(thread, &entry, tail, call->timeout_ns, &completion) ? BY_KERNEL : FAILED;
    }
    thread->busy = false;
    return route == FAILED ? NULL : result_of(thread, &completion);
}

PyObject *cpu_trap(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct cpu_thread *thread = thread_ready();
    struct call call;
    return thread && parse(args, count, &call) ? carry_out(thread, &call, true) : NULL;
}

PyObject *cpu_kernel_trap(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct cpu_thread *thread = thread_ready();
    struct call call;
    return thread && parse(args, count, &call) ? carry_out(thread, &call, false) : NULL;
}

PyObject *cpu_call(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct cpu_thread *thread = thread_ready();
    struct call call = {.entry.op = SEL4PY_SYSCALL_CALL, .timeout_ns = -1};
    if (!thread || !has_arguments("call(cptr, info, mr0, mr1, mr2, mr3, timeout_ns=-1)", count, 6, 7) ||
        !parse_message(args, &call.entry) || (count > 6 && !parse_timeout(args[6], &call.timeout_ns)))
        return NULL;
    return carry_out(thread, &call, true);
}

PyObject *cpu_reply_recv(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct cpu_thread *thread = thread_ready();
    struct call call = {.entry = {.op = SEL4PY_SYSCALL_REPLY_RECV, .flags = SEL4PY_ENTRY_HAS_TAIL}, .timeout_ns = -1};
    if (!thread || !has_arguments("reply_recv(cptr, info, mr0, mr1, mr2, mr3, reply, timeout_ns=-1)", count, 7, 8) ||
        !parse_message(args, &call.entry) || !as_u64(args[6], &call.tail.reply) ||
        (count > 7 && !parse_timeout(args[7], &call.timeout_ns)))
        return NULL;
    return carry_out(thread, &call, true);
}

PyObject *cpu_recv(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct cpu_thread *thread = thread_ready();
    struct call call = {.entry = {.op = SEL4PY_SYSCALL_RECV, .flags = SEL4PY_ENTRY_HAS_TAIL}, .timeout_ns = -1};
    if (!thread || !has_arguments("recv(cptr, reply, timeout_ns=-1)", count, 2, 3) || !as_u64(args[0], &call.entry.cptr) ||
        !as_u64(args[1], &call.tail.reply) || (count > 2 && !parse_timeout(args[2], &call.timeout_ns)))
        return NULL;
    return carry_out(thread, &call, true);
}
