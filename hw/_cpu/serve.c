/* A server's loop: receive, call the method, answer with the next receive, for as long as nothing unusual happens.
 *
 * Who is known, and what is called, are the Python objects of libsel4py.server_loop, found by the badge that the kernel
 * gave and by the message's label. A request that no row of a table fits, a method that raises, an answer that is put
 * off: all of that goes back to Python, which takes the loop up again afterwards.
 */
#include "trap.h"

enum { KIND_MASK = (1 << SEL4PY_VALUE_KIND_BITS) - 1, LABEL_SHIFT = 12 };

/* Then the interpreter has its turn, for other threads and for the handlers of signals: a method that is C's own, as a cached
 * one is, runs no bytecode and gives it none. */
enum { MOST_REQUESTS = 64 };

/* What was called last, which is the likeliest next time. Holds references. */
struct row {
    PyObject *badge;                       /* the number below, by which connections are known */
    PyObject *connection, *caller, *table; /* table: label -> entry */
    PyObject *entry, *handle;
    PyObject *function, *pack; /* what takes numbers as they are; NULL: `handle` takes the message */
    uint64_t badge_word, label, info, shape;
};

struct loop {
    PyObject *loop, *server, *receive; /* of serve()'s arguments */
    PyObject *connections;
    Py_buffer changes; /* of a word that counts them */
    uint64_t changed;  /* what it was at first */
    struct row row;
};

static PyObject *name_caller, *name_entry, *name_changes, *name_slot, *name_connections;

static bool make_names(void)
{
    if (name_connections)
        return true;
    name_caller = PyUnicode_InternFromString("caller");
    name_entry = PyUnicode_InternFromString("entry");
    name_changes = PyUnicode_InternFromString("changes");
    name_slot = PyUnicode_InternFromString("slot");
    name_connections = PyUnicode_InternFromString("connections");
    return name_caller && name_entry && name_changes && name_slot && name_connections;
}

static void forget_entry(struct row *row)
{
    Py_CLEAR(row->entry);
    Py_CLEAR(row->handle);
    Py_CLEAR(row->function);
    Py_CLEAR(row->pack);
}

static void forget_row(struct row *row)
{
    forget_entry(row);
    Py_CLEAR(row->badge);
    Py_CLEAR(row->connection);
    Py_CLEAR(row->caller);
    Py_CLEAR(row->table);
}

/* A value of a dict by a number; NULL without an exception if there is none. A new reference. */
static PyObject *find(PyObject *dict, uint64_t number)
{
    PyObject *key = PyLong_FromUnsignedLongLong(number);
    PyObject *found = key ? PyDict_GetItemWithError(dict, key) : NULL;
    Py_XINCREF(found);
    Py_XDECREF(key);
    return found;
}

/* Whose badge it is: as a dict has it now, by a number that is made once. NULL as find() has it. A new reference. */
static PyObject *find_connection(const struct loop *loop, uint64_t badge)
{
    const struct row *row = &loop->row;
    if (!row->badge || row->badge_word != badge)
        return find(loop->connections, badge);
    return Py_XNewRef(PyDict_GetItemWithError(loop->connections, row->badge));
}

APART static bool know_connection(struct loop *loop, PyObject *connection, uint64_t badge)
{
    struct row *row = &loop->row;
    forget_row(row);
    row->badge = PyLong_FromUnsignedLongLong(badge);
    row->badge_word = badge;
    row->connection = Py_NewRef(connection);
    row->caller = PyObject_GetAttr(connection, name_caller);
    PyObject *provided = PyObject_GetAttrString(connection, "provided");
    row->table = provided ? PyObject_GetAttrString(provided, "table") : NULL;
    Py_XDECREF(provided);
    return row->badge && row->caller && row->table;
}

/* What of an entry is looked at for each request. `numbers` is None, or (function, info, shape). */
APART static bool know_entry(struct loop *loop, PyObject *entry, uint64_t label)
{
    struct row *row = &loop->row;
    forget_entry(row);
    row->label = label;
    row->handle = PyObject_GetAttrString(entry, "handle");
    PyObject *numbers = row->handle ? PyObject_GetAttrString(entry, "numbers") : NULL;
    bool worked = numbers;
    if (worked && numbers != Py_None) {
        PyObject *function = PyTuple_GetItem(numbers, 0);
        worked = function && as_u64(PyTuple_GetItem(numbers, 1), &row->info) &&
                 as_u64(PyTuple_GetItem(numbers, 2), &row->shape) &&
                 (row->pack = PyObject_GetAttrString(entry, "pack"));
        row->function = worked ? Py_NewRef(function) : NULL;
    }
    Py_XDECREF(numbers);
    row->entry = worked ? Py_NewRef(entry) : NULL;
    return worked;
}

/* FOUND: `row` is the request's, and `loop` says so. UNKNOWN: who called, or what, is Python's to tell. */
enum found { UNKNOWN, FOUND, BROKEN };

static enum found look_up(struct loop *loop, const struct sel4py_completion *request)
{
    struct row *row = &loop->row;
    PyObject *connection = find_connection(loop, request->badge);
    if (!connection)
        return PyErr_Occurred() ? BROKEN : UNKNOWN;
    const bool same_caller = connection == row->connection;
    const bool worked = same_caller || know_connection(loop, connection, request->badge);
    Py_DECREF(connection);
    if (!worked || (!same_caller && PyObject_SetAttr(loop->loop, name_caller, row->caller) < 0))
        return BROKEN;
    const uint64_t label = request->info >> LABEL_SHIFT;
    if (row->entry && row->label == label)
        return FOUND;
    PyObject *entry = find(row->table, label);
    if (!entry)
        return PyErr_Occurred() ? BROKEN : UNKNOWN;
    const bool known = know_entry(loop, entry, label) && PyObject_SetAttr(loop->loop, name_entry, entry) == 0;
    Py_DECREF(entry);
    return known ? FOUND : BROKEN;
}

static PyObject *number_of(uint64_t word, unsigned kind)
{
    switch (kind) {
    case SEL4PY_VALUEKIND_SIGNED:
        return PyLong_FromLongLong((int64_t)word);
    case SEL4PY_VALUEKIND_TRUTH:
        return PyBool_FromLong(word != 0);
    default:
        return PyLong_FromUnsignedLongLong(word);
    }
}

static PyObject *call_with_numbers(const struct row *row, const uint64_t *words)
{
    PyObject *values[SEL4PY_MESSAGE_REGISTERS + 1] = {NULL};
    const unsigned count = message_length(row->info);
    unsigned made = 0;
    for (; made < count; made++) {
        values[made] = number_of(words[made], row->shape >> SEL4PY_VALUE_KIND_BITS * (made + 1) & KIND_MASK);
        if (!values[made])
            break;
    }
    PyObject *result = NULL;
    if (made == count)
        result = PyObject_CallFunctionObjArgs(row->function, values[0], values[1], values[2], values[3], NULL);
    for (unsigned i = 0; i < made; i++)
        Py_DECREF(values[i]);
    return result;
}

/* A result that a plain answer carries, as the entry's message. Everything else, `pack` makes an answer of or refuses. */
static bool plain_answer(PyObject *result, unsigned kind, struct sel4py_entry *answer)
{
    answer->info = kind != SEL4PY_VALUEKIND_NOTHING;
    if (kind == SEL4PY_VALUEKIND_NOTHING)
        return true;
    if (kind == SEL4PY_VALUEKIND_TRUTH) {
        answer->mr[0] = result == Py_True;
        return result == Py_True || result == Py_False;
    }
    if (!Py_IS_TYPE(result, &PyLong_Type))
        return false;
    int overflow;
    const int64_t value = PyLong_AsLongLongAndOverflow(result, &overflow);
    answer->mr[0] = (uint64_t)value;
    return !overflow && (kind == SEL4PY_VALUEKIND_SIGNED || value >= 0);
}

static PyObject *call_with_message(struct cpu_thread *thread, const struct row *row,
                                   const struct sel4py_completion *request)
{
    PyObject *values[1 + SEL4PY_MESSAGE_REGISTERS] = {PyLong_FromUnsignedLongLong(request->info)};
    uint64_t words[SEL4PY_MESSAGE_REGISTERS];
    memcpy(words, request->mr, sizeof words);
    unsigned at = 1;
    if (message_fills(request->info, words)) {
        values[at++] = message_take_bytes(thread->frame, words);
        memset(words, 0, sizeof words);
    }
    for (; at <= SEL4PY_MESSAGE_REGISTERS; at++)
        values[at] = PyLong_FromUnsignedLongLong(words[at - 1]);
    PyObject *answer = NULL;
    if (values[0] && values[1] && values[2] && values[3] && values[4])
        answer = PyObject_CallFunctionObjArgs(row->handle, values[0], values[1], values[2], values[3], values[4], NULL);
    for (unsigned i = 0; i <= SEL4PY_MESSAGE_REGISTERS; i++)
        Py_XDECREF(values[i]);
    return answer;
}

/* Calls the method. The answer is in `entry`, or it is an object, `*made`. False if something raised. */
static bool call_method(struct cpu_thread *thread, const struct row *row, const struct sel4py_completion *request,
                        struct sel4py_entry *entry, PyObject **made)
{
    *made = NULL;
    if (!row->function || request->info != row->info) {
        *made = call_with_message(thread, row, request);
        return *made;
    }
    PyObject *result = call_with_numbers(row, request->mr);
    if (!result)
        return false;
    const bool is_plain = plain_answer(result, row->shape & KIND_MASK, entry);
    if (!is_plain)
        *made = PyObject_CallFunctionObjArgs(row->pack, result, NULL);
    Py_DECREF(result);
    return is_plain || *made;
}

/* (RAISED, the exception, info) of what is set; NULL, and it stays set, where it is to end the loop. */
static PyObject *raised(uint64_t info)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return Py_BuildValue("iNK", SEL4PY_SERVED_RAISED, value, (unsigned long long)info);
}

/* (ANSWER, the answer, 0). Takes `made` over, or makes it of `entry`, a plain one. */
static PyObject *answered(PyObject *made, const struct sel4py_entry *entry)
{
    if (made)
        return Py_BuildValue("iNi", SEL4PY_SERVED_ANSWER, made, 0);
    return Py_BuildValue("i(KKiii)i", SEL4PY_SERVED_ANSWER, (unsigned long long)entry->info,
                         (unsigned long long)entry->mr[0], 0, 0, 0, 0);
}

static uint64_t changes_of(const struct loop *loop) { return *(const uint64_t *)loop->changes.buf; }

/* Whether the loop goes on by itself: nobody has stopped it or changed whom it serves, and a slot is ready for a capability
 * if one is wanted. -1 with an exception. */
static int goes_on(const struct loop *loop)
{
    const bool same = changes_of(loop) == loop->changed;
    if (!same || loop->receive == Py_None)
        return same;
    PyObject *slot = PyObject_GetAttr(loop->receive, name_slot);
    if (!slot)
        return -1;
    Py_DECREF(slot);
    return slot != Py_None;
}

/* A number, or nothing, as the answer, and the next request: the commonest way of all, where all that is known of the system
 * call is known to the end. */
IN_ONE APART static bool answer_number(struct cpu_thread *thread, uint64_t cptr, uint64_t reply, uint64_t info,
                                       uint64_t number, struct sel4py_completion *request)
{
    const struct call call = {
        .entry = {.op = SEL4PY_SYSCALL_REPLY_RECV, .flags = SEL4PY_ENTRY_HAS_TAIL, .cptr = cptr, .info = info, .mr = {number}},
        .reply = reply,
        .timeout_ns = -1,
    };
    return do_call(thread, &call, true, request);
}

static PyObject *serve(struct loop *loop, struct call *call)
{
    bool is_number = false; /* what is to be answered */
    for (int requests = 1;; requests++) {
        struct cpu_thread *thread = thread_ready();
        struct sel4py_completion request;
        const struct sel4py_entry *entry = &call->entry;
        if (!thread || !(is_number ? answer_number(thread, entry->cptr, call->reply, entry->info, entry->mr[0], &request)
                                   : carry_out(thread, call, true, &request)))
            return NULL;
        /* The next answer is another client's, who may read all words of its page, whatever the message's length. */
        memset(call->entry.mr, 0, sizeof call->entry.mr);
        const enum found found = request.status == SEL4PY_STATUS_DONE ? look_up(loop, &request) : UNKNOWN;
        if (found == BROKEN)
            return NULL;
        if (found == UNKNOWN)
            return Py_BuildValue("iNi", SEL4PY_SERVED_REQUEST, request_of(thread, &request), 0);
        const uint32_t detached = thread->detached;
        PyObject *made;
        if (!call_method(thread, &loop->row, &request, &call->entry, &made))
            return raised(request.info);
        const int on = goes_on(loop);
        if (on < 0) {
            Py_XDECREF(made);
            return NULL;
        }
        if (!on || thread->detached != detached || requests == MOST_REQUESTS)
            return answered(made, &call->entry);
        if (made && !parse_answer(thread, made, &call->entry)) {
            Py_DECREF(made);
            return NULL;
        }
        is_number = !made;
        Py_XDECREF(made);
        call->entry.op = SEL4PY_SYSCALL_REPLY_RECV;
    }
}

/* What of the server is looked at. False with an exception set. */
static bool know_server(struct loop *loop)
{
    loop->connections = PyObject_GetAttr(loop->server, name_connections);
    PyObject *changes = loop->connections ? PyObject_GetAttr(loop->server, name_changes) : NULL;
    const bool worked = changes && PyObject_GetBuffer(changes, &loop->changes, PyBUF_SIMPLE) == 0;
    Py_XDECREF(changes);
    if (!worked)
        return false;
    if (!PyDict_Check(loop->connections) || loop->changes.len != sizeof loop->changed) {
        PyErr_SetString(PyExc_TypeError, "serve(): the server's connections are a dict, its changes an array of one word");
        return false;
    }
    loop->changed = changes_of(loop);
    return true;
}

PyObject *cpu_serve(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct cpu_thread *thread = thread_ready();
    struct call call = {.entry = {.op = SEL4PY_SYSCALL_RECV, .flags = SEL4PY_ENTRY_HAS_TAIL}, .timeout_ns = -1};
    if (!thread || !make_names() || !has_arguments("serve(cptr, answer, reply, loop, server, receive)", count, 6, 6) ||
        !as_u64(args[0], &call.entry.cptr) || !as_u64(args[2], &call.reply))
        return NULL;
    if (args[1] != Py_None) {
        call.entry.op = SEL4PY_SYSCALL_REPLY_RECV;
        if (!parse_answer(thread, args[1], &call.entry))
            return NULL;
    }
    struct loop loop = {.loop = args[3], .server = args[4], .receive = args[5]};
    PyObject *outcome = know_server(&loop) ? serve(&loop, &call) : NULL;
    forget_row(&loop.row);
    Py_XDECREF(loop.connections);
    if (loop.changes.obj)
        PyBuffer_Release(&loop.changes);
    return outcome;
}
