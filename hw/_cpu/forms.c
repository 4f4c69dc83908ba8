/* Calls and answers in the forms that interfaces need: numbers and bytes, without a tuple of words in between. */
#include "trap.h"

enum { KIND_MASK = (1 << SEL4PY_VALUE_KIND_BITS) - 1 };

/* False if the object is no integer, or does not fit. */
static bool number_fits(PyObject *object, unsigned kind, uint64_t *word)
{
    if (!PyLong_Check(object))
        return false;
    if (kind == SEL4PY_VALUEKIND_SIGNED) {
        int overflow;
        *word = (uint64_t)PyLong_AsLongLongAndOverflow(object, &overflow);
        return !overflow;
    }
    if (as_u64(object, word))
        return true;
    PyErr_Clear();
    return false;
}

static PyObject *value_of(struct cpu_thread *thread, const struct sel4py_completion *completion, unsigned kind)
{
    const bool done = completion->status == SEL4PY_STATUS_DONE;
    if (done && completion->info == 1 && kind == SEL4PY_VALUEKIND_SIGNED)
        return PyLong_FromLongLong((int64_t)completion->mr[0]);
    if (done && completion->info == 1 && kind == SEL4PY_VALUEKIND_WORD)
        return PyLong_FromUnsignedLongLong(completion->mr[0]);
    if (done && completion->info == 1 && kind == SEL4PY_VALUEKIND_TRUTH)
        return PyBool_FromLong(completion->mr[0] != 0);
    if (done && completion->info == 0 && kind == SEL4PY_VALUEKIND_NOTHING)
        return PyLong_FromLong(0);
    if (done && kind == SEL4PY_VALUEKIND_BYTES && completion->info <= 127 &&
        message_has_bytes((unsigned)completion->info, completion->mr))
        return message_take_bytes(thread->frame, completion->mr);
    return result_of(thread, completion, NULL);
}

static bool parse_call(struct cpu_thread *thread, PyObject *const *args, struct call *call, uint64_t *shape)
{
    return parse_word(thread, AT_CPTR, args[0], &call->entry.cptr) &&
           parse_word(thread, AT_INFO, args[1], &call->entry.info) && parse_word(thread, AT_SHAPE, args[2], shape) &&
           parse_timeout(args[3], &call->timeout_ns);
}

IN_ONE PyObject *cpu_call_numbers(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct cpu_thread *thread = thread_ready();
    struct call call = {.entry.op = SEL4PY_SYSCALL_CALL};
    struct sel4py_completion completion;
    uint64_t shape;
    if (!thread ||
        !has_arguments("call_numbers(cptr, info, shape, timeout_ns, *numbers)", count, 4, 4 + SEL4PY_MESSAGE_REGISTERS) ||
        !parse_call(thread, args, &call, &shape))
        return NULL;
    const unsigned result = shape & KIND_MASK;
    for (unsigned i = 0; i < (unsigned)count - 4; i++) {
        shape >>= SEL4PY_VALUE_KIND_BITS;
        if (!number_fits(args[4 + i], shape & KIND_MASK, &call.entry.mr[i]))
            return Py_NewRef(Py_None);
    }
    return do_call(thread, &call, true, &completion) ? value_of(thread, &completion, result) : NULL;
}

PyObject *cpu_call_bytes(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct cpu_thread *thread = thread_ready();
    struct call call = {.entry.op = SEL4PY_SYSCALL_CALL};
    struct sel4py_completion completion;
    uint64_t shape;
    char *data;
    Py_ssize_t size;
    if (!thread || !has_arguments("call_bytes(cptr, info, result, timeout_ns, data)", count, 5, 5) ||
        !parse_call(thread, args, &call, &shape) || PyBytes_AsStringAndSize(args[4], &data, &size) < 0)
        return NULL;
    if (size > MOST_BYTES)
        return Py_NewRef(Py_None);
    call.entry.info |= message_place_bytes(thread->frame, (const uint8_t *)data, (size_t)size, call.entry.mr);
    return carry_out(thread, &call, true, &completion) ? value_of(thread, &completion, shape & KIND_MASK) : NULL;
}

bool parse_answer(struct cpu_thread *thread, PyObject *answer, struct sel4py_entry *entry)
{
    if (Py_IS_TYPE(answer, &PyLong_Type)) {
        const long long value = PyLong_AsLongLong(answer);
        entry->info = 1;
        entry->mr[0] = (uint64_t)value;
        return !(value == -1 && PyErr_Occurred());
    }
    if (Py_IS_TYPE(answer, &PyTuple_Type) && PyTuple_Size(answer) == 1 + SEL4PY_MESSAGE_REGISTERS) {
        if (!parse_word(thread, AT_INFO, PyTuple_GetItem(answer, 0), &entry->info))
            return false;
        for (unsigned i = 0; i < SEL4PY_MESSAGE_REGISTERS; i++)
            if (!parse_word(thread, AT_MR + i, PyTuple_GetItem(answer, 1 + (Py_ssize_t)i), &entry->mr[i]))
                return false;
        return true;
    }
    if (!Py_IS_TYPE(answer, &PyBytes_Type) || PyBytes_Size(answer) > MOST_BYTES) {
        PyErr_Format(PyExc_TypeError, "an answer is an int, bytes (%d at most), or (info, mr0, mr1, mr2, mr3)", MOST_BYTES);
        return false;
    }
    entry->info = message_place_bytes(thread->frame, (const uint8_t *)PyBytes_AsString(answer),
                                      (size_t)PyBytes_Size(answer), entry->mr);
    return true;
}

bool message_fills(uint64_t info, const uint64_t *mr)
{
    const unsigned length = info & 127;
    return length > SEL4PY_MESSAGE_REGISTERS && !(info & ANY_CAPS) && message_has_bytes(length, mr) &&
           message_byte_words(mr[0]) == length;
}

PyObject *request_of(struct cpu_thread *thread, struct sel4py_completion *completion)
{
    if (completion->status != SEL4PY_STATUS_DONE || !message_fills(completion->info, completion->mr))
        return result_of(thread, completion, NULL);
    PyObject *bytes = message_take_bytes(thread->frame, completion->mr);
    memset(completion->mr, 0, sizeof completion->mr);
    return bytes ? result_of(thread, completion, bytes) : NULL;
}

PyObject *cpu_answer_recv(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct cpu_thread *thread = thread_ready();
    struct call call = {.entry = {.op = SEL4PY_SYSCALL_REPLY_RECV, .flags = SEL4PY_ENTRY_HAS_TAIL}, .timeout_ns = -1};
    struct sel4py_completion completion;
    if (!thread || !has_arguments("answer_recv(cptr, answer, reply)", count, 3, 3) ||
        !parse_word(thread, AT_CPTR, args[0], &call.entry.cptr) ||
        !parse_word(thread, AT_REPLY, args[2], &call.reply) || !parse_answer(thread, args[1], &call.entry) ||
        !carry_out(thread, &call, true, &completion))
        return NULL;
    return request_of(thread, &completion);
}
