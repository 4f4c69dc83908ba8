/* trap(): one system call of the calling thread, as one C function.
 *
 * A call ends in one of three ways: its completion; its time-out; an exception that a Python signal handler raises
 * while it waits. The last two cancel it first, by an entry CANCEL behind it, and wait for the completions of both, so
 * that the rings are in step again. What completed before the cancellation reached the kernel counts as completed.
 */
#include "trap.h"

#include <errno.h>

/* Looks with the GIL held: below the cost of giving the GIL away and taking it back. */
enum { RING_LOOKS_WITH_GIL = 4 };

PyObject *raise_broken(struct cpu_thread *thread, const char *what)
{
    thread->broken = true;
    PyErr_Format(PyExc_RuntimeError, "trap ring: %s; the kernel does not keep to libsel4py.abi", what);
    return NULL;
}

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

bool parse_timeout(PyObject *object, int64_t *timeout_ns)
{
    *timeout_ns = PyLong_AsLongLong(object);
    return !(*timeout_ns == -1 && PyErr_Occurred());
}

APART bool parse_another(struct cpu_thread *thread, enum position at, PyObject *object, uint64_t *word)
{
    struct argument *known = &thread->known[at];
    if (!as_u64(object, word))
        return false;
    PyObject *before = known->object;
    *known = (struct argument){.object = Py_NewRef(object), .word = *word};
    Py_XDECREF(before); /* last: a number may be of a class whose finalizer makes system calls */
    return true;
}

/* cptr, info and the message registers. */
static bool parse_message(struct cpu_thread *thread, PyObject *const *args, struct sel4py_entry *entry)
{
    if (!parse_word(thread, AT_CPTR, args[0], &entry->cptr) || !parse_word(thread, AT_INFO, args[1], &entry->info))
        return false;
    UNROLLED
    for (unsigned i = 0; i < SEL4PY_MESSAGE_REGISTERS; i++)
        if (!parse_word(thread, AT_MR + i, args[2 + i], &entry->mr[i]))
            return false;
    return true;
}

bool has_arguments(const char *signature, Py_ssize_t count, Py_ssize_t least, Py_ssize_t most)
{
    if (count >= least && count <= most)
        return true;
    PyErr_Format(PyExc_TypeError, "%s takes %zd to %zd arguments, not %zd", signature, least, most, count);
    return false;
}

static bool parse(struct cpu_thread *thread, PyObject *const *args, Py_ssize_t count, struct call *call)
{
    *call = (struct call){.timeout_ns = -1};
    if (!has_arguments("trap(op, cptr, info, mr0, mr1, mr2, mr3, reply=0, dest=0, timeout_ns=-1)", count, 7, 10) ||
        !parse_op(args[0], &call->entry.op) || !parse_message(thread, args + 1, &call->entry))
        return false;
    if ((count > 7 && !parse_word(thread, AT_REPLY, args[7], &call->reply)) ||
        (count > 8 && !as_u64(args[8], &call->dest)) || (count > 9 && !parse_timeout(args[9], &call->timeout_ns)))
        return false;
    if (call->reply || call->dest)
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
        route = receive_by_channel(thread, entry, call->reply, call->timeout_ns, completion);
    return route;
}

APART static void park_first(struct cpu_thread *thread)
{
    Py_BEGIN_ALLOW_THREADS
    park_here(thread);
    Py_END_ALLOW_THREADS
}

/* By the kernel, unless a channel has been connected just now. */
APART static enum route by_kernel(struct cpu_thread *thread, const struct call *call, bool may_use_channel,
                                  struct sel4py_completion *completion)
{
    if (may_use_channel && call->entry.op == SEL4PY_SYSCALL_CALL) {
        thread->busy = false;
        if (!upgrade_observe(thread, call->entry.cptr))
            return FAILED;
        thread->busy = true;
        enum route route = calls_find(thread, call->entry.cptr) ? by_channel(thread, call, completion) : BY_KERNEL;
        if (route != BY_KERNEL)
            return route;
    }
    struct sel4py_entry entry = call->entry;
    const struct sel4py_tail tail = {.reply = call->reply, .dest = call->dest};
    const bool has_tail = entry.flags & SEL4PY_ENTRY_HAS_TAIL;
    return transact(thread, &entry, has_tail ? &tail : NULL, call->timeout_ns, completion) ? BY_KERNEL : FAILED;
}

/* Here and in what it comes to nobody is given the address of `call`, so that its words need not be in memory, and those
 * that are known are known to the end. Who is APART gets a copy. */
bool do_call(struct cpu_thread *thread, const struct call *call, bool may_use_channel,
             struct sel4py_completion *completion)
{
    thread->busy = true;
    if (park_asked(thread))
        park_first(thread);
    enum route route = may_use_channel ? by_channel(thread, call, completion) : BY_KERNEL;
    if (route == BY_KERNEL) {
        const struct call passed = *call;
        route = by_kernel(thread, &passed, may_use_channel, completion);
    }
    thread->busy = false;
    return route != FAILED;
}

IN_ONE APART bool carry_out(struct cpu_thread *thread, const struct call *call, bool may_use_channel,
                            struct sel4py_completion *completion)
{
    return do_call(thread, call, may_use_channel, completion);
}

static PyObject *outcome(struct cpu_thread *thread, const struct call *call, bool may_use_channel)
{
    struct sel4py_completion completion;
    return do_call(thread, call, may_use_channel, &completion) ? result_of(thread, &completion, NULL) : NULL;
}

PyObject *cpu_trap(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct cpu_thread *thread = thread_ready();
    struct call call;
    return thread && parse(thread, args, count, &call) ? outcome(thread, &call, true) : NULL;
}

PyObject *cpu_kernel_trap(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct cpu_thread *thread = thread_ready();
    struct call call;
    return thread && parse(thread, args, count, &call) ? outcome(thread, &call, false) : NULL;
}

IN_ONE PyObject *cpu_call(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct cpu_thread *thread = thread_ready();
    struct call call = {.entry.op = SEL4PY_SYSCALL_CALL, .timeout_ns = -1};
    if (!thread || !has_arguments("call(cptr, info, mr0, mr1, mr2, mr3, timeout_ns=-1)", count, 6, 7) ||
        !parse_message(thread, args, &call.entry) || (count > 6 && !parse_timeout(args[6], &call.timeout_ns)))
        return NULL;
    return outcome(thread, &call, true);
}

IN_ONE PyObject *cpu_reply_recv(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct cpu_thread *thread = thread_ready();
    struct call call = {.entry = {.op = SEL4PY_SYSCALL_REPLY_RECV, .flags = SEL4PY_ENTRY_HAS_TAIL}, .timeout_ns = -1};
    if (!thread || !has_arguments("reply_recv(cptr, info, mr0, mr1, mr2, mr3, reply, timeout_ns=-1)", count, 7, 8) ||
        !parse_message(thread, args, &call.entry) || !parse_word(thread, AT_REPLY, args[6], &call.reply) ||
        (count > 7 && !parse_timeout(args[7], &call.timeout_ns)))
        return NULL;
    return outcome(thread, &call, true);
}

PyObject *cpu_recv(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct cpu_thread *thread = thread_ready();
    struct call call = {.entry = {.op = SEL4PY_SYSCALL_RECV, .flags = SEL4PY_ENTRY_HAS_TAIL}, .timeout_ns = -1};
    if (!thread || !has_arguments("recv(cptr, reply, timeout_ns=-1)", count, 2, 3) || !as_u64(args[0], &call.entry.cptr) ||
        !as_u64(args[1], &call.reply) || (count > 2 && !parse_timeout(args[2], &call.timeout_ns)))
        return NULL;
    return outcome(thread, &call, true);
}
