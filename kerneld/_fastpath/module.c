/* kerneld._fastpath: what Python calls. */
#include "fastpath.h"

const struct ram_api *fast_api;

static const char *const layout_names[] = {
#define NAME(name) #name,
    LAYOUT(NAME)
#undef NAME
};

RamObject *fast_parse(PyObject *ram, PyObject *bytes, const struct layout **layout)
{
    char *data;
    Py_ssize_t size;
    if (!PyObject_TypeCheck(ram, fast_api->ram_type)) {
        PyErr_SetString(PyExc_TypeError, "expected a Ram");
        return NULL;
    }
    if (PyBytes_AsStringAndSize(bytes, &data, &size) < 0)
        return NULL;
    const struct layout *found = (const void *)data;
    const uint64_t most = 1 << 16; /* ports */
    if ((size_t)size < sizeof *found || found->doorbells > most || found->latches > most ||
        (size_t)size != sizeof *found + found->doorbells * sizeof(struct doorbell) + found->latches * sizeof(struct latch)) {
        PyErr_SetString(PyExc_ValueError, "the layout is what layout() made, and as many doorbells and latches as it says");
        return NULL;
    }
    *layout = found;
    return (RamObject *)ram;
}

/* layout(offsets) -> bytes: a dictionary of names to numbers, as the other functions take it. */
static PyObject *fast_layout(PyObject *Py_UNUSED(module), PyObject *offsets)
{
    uint64_t words[FIELDS];
    if (!PyDict_Check(offsets) || PyDict_Size(offsets) != FIELDS) {
        PyErr_Format(PyExc_ValueError, "the layout names %d things", (int)FIELDS);
        return NULL;
    }
    for (unsigned i = 0; i < FIELDS; i++) {
        PyObject *value = PyDict_GetItemString(offsets, layout_names[i]);
        if (!value) {
            PyErr_Format(PyExc_KeyError, "the layout lacks %s", layout_names[i]);
            return NULL;
        }
        if (!as_u64(value, &words[i]))
            return NULL;
    }
    return PyBytes_FromStringAndSize((const char *)words, sizeof words);
}

/* take(ram, layout, tcb) -> whether the thread's next submission was carried out; its tell is in the outbox. */
static PyObject *fast_take(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    const struct layout *layout;
    uint64_t tcb;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "take(ram, layout, tcb)");
        return NULL;
    }
    RamObject *ram = fast_parse(args[0], args[1], &layout);
    if (!ram || !as_u64(args[2], &tcb))
        return NULL;
    enum outcome outcome = fast_attempt(ram, layout, tcb);
    return outcome == FAILED ? NULL : PyBool_FromLong(outcome == DONE);
}

/* hand(ram, layout, shared) -> whether the Map that the outbox tells is carried out at the host, as serve() does it. */
static PyObject *fast_hand_one(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    const struct layout *layout;
    bool handed;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "hand(ram, layout, shared)");
        return NULL;
    }
    RamObject *ram = fast_parse(args[0], args[1], &layout);
    return ram && fast_hand(ram, layout, args[2], &handed) ? PyBool_FromLong(handed) : NULL;
}

static PyMethodDef methods[] = {
    {"layout", fast_layout, METH_O, "layout(offsets) -> bytes."},
    {"take", (PyCFunction)(void (*)(void))fast_take, METH_FASTCALL,
     "take(ram, layout, tcb) -> whether the next submission was carried out."},
    {"delete_copies", (PyCFunction)(void (*)(void))fast_delete_copies, METH_FASTCALL,
     "delete_copies(ram, layout, parent, thread, limit) -> how many of an endpoint capability's descendants are gone."},
    {"deletions", fast_deletions, METH_O, "deletions(ram) -> [(slot, word0, word1, thread)], since it was called last."},
    {"hand", (PyCFunction)(void (*)(void))fast_hand_one, METH_FASTCALL,
     "hand(ram, layout, shared) -> whether the Map that the outbox tells is carried out at the host."},
    {"interrupt", (PyCFunction)(void (*)(void))fast_interrupt, METH_FASTCALL,
     "interrupt(ram, layout, line) -> the TCB that was woken, or 0; None: it is for the slow path."},
    {"serve", fast_serve, METH_VARARGS, 
     "serve(ram, layout, rings, first, nanoseconds, attention, pages, hands) -> (index, next, taken, unwatched)."},
    {"hear", fast_hear, METH_VARARGS,
     "hear(ram, layout, frame, tcb, doorbell, serves, pages, hands) -> (taken, unwatched)."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_fastpath", "The kernel's fast path.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__fastpath(void)
{
    PyObject *ram = PyImport_ImportModule("hw._ram");
    if (!ram)
        return NULL;
    Py_DECREF(ram); /* it stays loaded */
    fast_api = PyCapsule_Import(RAM_API_NAME, 0);
    return fast_api ? PyModule_Create(&definition) : NULL;
}
