#include "api.h"

#include <string.h>
#include <sys/mman.h>

static ModuleState module_state;

ModuleState *ram_state(void) { return &module_state; }

RamObject *as_ram(PyObject *object)
{
    if (!PyObject_TypeCheck(object, module_state.ram_type)) {
        PyErr_SetString(PyExc_TypeError, "expected a Ram");
        return NULL;
    }
    return (RamObject *)object;
}

/* CPython 3.11's own formatting has no hexadecimal for 64 bits. */
static bool refuse(const char *format, uint64_t first, uint64_t second, uint64_t third)
{
    char text[160];
    PyOS_snprintf(text, sizeof text, format, (unsigned long long)first, (unsigned long long)second,
                  (unsigned long long)third);
    PyErr_SetString(module_state.ram_error, text);
    return false;
}

bool ram_check(const RamObject *ram, uint64_t address, uint64_t bytes)
{
    if (address > ram->size || bytes > ram->size - address)
        return refuse("%llu bytes at 0x%llx are outside RAM of 0x%llx bytes", bytes, address, ram->size);
    return true;
}

static bool check_word(const RamObject *ram, uint64_t address)
{
    if (address & 7)
        return refuse("a word of %llu bytes at 0x%llx is not aligned", 8, address, 0);
    return ram_check(ram, address, 8);
}

int ram_load(const RamObject *ram, uint64_t address, uint64_t *value)
{
    if (!check_word(ram, address))
        return -1;
    *value = *(volatile uint64_t *)(ram->base + address);
    return 0;
}

static int interrupt(RamObject *ram)
{
    ram->interrupt_armed = false;
    PyErr_Format(module_state.interrupted, "interrupted at store %llu", (unsigned long long)ram->stores);
    return -1;
}

int ram_store(RamObject *ram, uint64_t address, uint64_t value)
{
    if (!check_word(ram, address))
        return -1;
    if (!ram->open) {
        PyErr_SetString(module_state.ram_error, "a kernel record is stored to only inside a transaction");
        return -1;
    }
    uint64_t *word = (uint64_t *)(ram->base + address);
    if (*word == value)
        return 0;
    struct undo_log *log = ram->log;
    uint64_t length = log->length;
    if (length >= ram->log_capacity) {
        PyErr_Format(module_state.ram_error, "the undo log of %llu entries is full: the transaction does unbounded work",
                     (unsigned long long)ram->log_capacity);
        return -1;
    }
    bool now = ram->interrupt_armed && ram->interrupt_countdown-- == 0;
    log->entries[length].address = address;
    log->entries[length].old_value = *word;
    __atomic_store_n(&log->length, length + 1, __ATOMIC_RELEASE);
    ram->stores++;
    if (now && !ram->interrupt_after)
        return interrupt(ram);
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    return now ? interrupt(ram) : 0;
}

/* Undo from the newest entry to the oldest; an interrupted rollback can be repeated. Entries come from RAM that
 * only the kernel writes, but a damaged image must not make us write outside of it. */
static int64_t undo(RamObject *ram)
{
    struct undo_log *log = ram->log;
    uint64_t length = log->length;
    if (length > ram->log_capacity) {
        PyErr_Format(module_state.ram_error, "the undo log says %llu entries and holds %llu",
                     (unsigned long long)length, (unsigned long long)ram->log_capacity);
        return -1;
    }
    for (uint64_t i = length; i-- > 0;) {
        struct undo_entry *entry = &log->entries[i];
        if (!check_word(ram, entry->address))
            return -1;
        __atomic_store_n((uint64_t *)(ram->base + entry->address), entry->old_value, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&log->length, 0, __ATOMIC_RELEASE);
    return (int64_t)length;
}

static PyObject *ram_begin(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    RamObject *ram = (RamObject *)self;
    if (ram->open) {
        PyErr_SetString(module_state.ram_error, "a transaction is already open");
        return NULL;
    }
    if (ram->log->length != 0) {
        PyErr_SetString(module_state.ram_error, "an interrupted transaction must be rolled back first (recover)");
        return NULL;
    }
    ram->open = true;
    ram->stores = 0;
    Py_RETURN_NONE;
}

static PyObject *ram_commit(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    RamObject *ram = (RamObject *)self;
    if (!ram->open) {
        PyErr_SetString(module_state.ram_error, "no transaction is open");
        return NULL;
    }
    ram->open = false;
    ram->log->committed++;
    __atomic_store_n(&ram->log->length, 0, __ATOMIC_RELEASE);
    Py_RETURN_NONE;
}

static PyObject *ram_recover(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    RamObject *ram = (RamObject *)self;
    ram->open = false;
    int64_t undone = undo(ram);
    return undone < 0 ? NULL : PyLong_FromLongLong(undone);
}

static PyObject *ram_transaction(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyObject_CallFunctionObjArgs((PyObject *)module_state.transaction_type, self, NULL);
}

static PyObject *ram_interrupt_at(PyObject *self, PyObject *args)
{
    RamObject *ram = (RamObject *)self;
    unsigned long long store;
    int after = 0;
    if (!PyArg_ParseTuple(args, "K|p", &store, &after))
        return NULL;
    ram->interrupt_armed = true;
    ram->interrupt_countdown = store;
    ram->interrupt_after = after;
    Py_RETURN_NONE;
}

static PyObject *ram_disarm(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    ((RamObject *)self)->interrupt_armed = false;
    Py_RETURN_NONE;
}

static PyObject *ram_word(PyObject *self, PyObject *argument)
{
    uint64_t address, value;
    if (!as_u64(argument, &address) || ram_load((RamObject *)self, address, &value) < 0)
        return NULL;
    return PyLong_FromUnsignedLongLong(value);
}

static PyObject *ram_set_word(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    uint64_t address, value;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "set_word(address, value)");
        return NULL;
    }
    if (!as_u64(args[0], &address) || !as_u64(args[1], &value) || ram_store((RamObject *)self, address, value) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *ram_read(PyObject *self, PyObject *args)
{
    RamObject *ram = (RamObject *)self;
    unsigned long long address, bytes;
    if (!PyArg_ParseTuple(args, "KK", &address, &bytes) || !ram_check(ram, address, bytes))
        return NULL;
    return PyBytes_FromStringAndSize((const char *)ram->base + address, (Py_ssize_t)bytes);
}

static PyObject *ram_words(PyObject *self, PyObject *args)
{
    RamObject *ram = (RamObject *)self;
    unsigned long long address, count;
    if (!PyArg_ParseTuple(args, "KK", &address, &count))
        return NULL;
    if (count > ram->size / 8 || (address & 7)) {
        PyErr_SetString(module_state.ram_error, "words() takes an aligned address and a count that RAM holds");
        return NULL;
    }
    if (!ram_check(ram, address, count * 8))
        return NULL;
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (uint64_t i = 0; tuple && i < count; i++) {
        uint64_t value = ((volatile uint64_t *)(ram->base + address))[i];
        PyObject *item = PyLong_FromUnsignedLongLong(value);
        if (!item || PyTuple_SetItem(tuple, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *ram_write(PyObject *self, PyObject *args)
{
    RamObject *ram = (RamObject *)self;
    unsigned long long address;
    Py_buffer data;
    if (!PyArg_ParseTuple(args, "Ky*", &address, &data))
        return NULL;
    int failed = 0;
    if (data.len % 8) {
        PyErr_SetString(module_state.ram_error, "write() takes whole words; poke() takes bytes");
        failed = 1;
    }
    for (Py_ssize_t at = 0; !failed && at < data.len; at += 8) {
        uint64_t value;
        memcpy(&value, (const char *)data.buf + at, 8);
        failed = ram_store(ram, address + (uint64_t)at, value) < 0;
    }
    PyBuffer_Release(&data);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *ram_poke(PyObject *self, PyObject *args)
{
    RamObject *ram = (RamObject *)self;
    unsigned long long address;
    Py_buffer data;
    if (!PyArg_ParseTuple(args, "Ky*", &address, &data))
        return NULL;
    bool fits = ram_check(ram, address, (uint64_t)data.len);
    if (fits)
        memcpy(ram->base + address, data.buf, (size_t)data.len);
    PyBuffer_Release(&data);
    if (!fits)
        return NULL;
    Py_RETURN_NONE;
}

/* Zero memory that no object uses. Whole pages of a shared mapping are given back to the host. */
static PyObject *ram_zero(PyObject *self, PyObject *args)
{
    enum { PAGE = 4096, LARGE = 16 * PAGE };
    RamObject *ram = (RamObject *)self;
    unsigned long long address, bytes;
    if (!PyArg_ParseTuple(args, "KK", &address, &bytes) || !ram_check(ram, address, bytes))
        return NULL;
    uint8_t *start = ram->base + address, *end = start + bytes;
    uint8_t *first = (uint8_t *)(((uintptr_t)start + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
    uint8_t *last = (uint8_t *)((uintptr_t)end & ~(uintptr_t)(PAGE - 1));
    if (bytes >= LARGE && first < last && madvise(first, (size_t)(last - first), MADV_REMOVE) == 0) {
        memset(start, 0, (size_t)(first - start));
        memset(last, 0, (size_t)(end - last));
    } else {
        memset(start, 0, (size_t)bytes);
    }
    Py_RETURN_NONE;
}

static PyObject *ram_get_size(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(((RamObject *)self)->size);
}

static PyObject *ram_get_open(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((RamObject *)self)->open);
}

static PyObject *ram_get_stores(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(((RamObject *)self)->stores);
}

static PyObject *ram_get_committed(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(((RamObject *)self)->log->committed);
}

static int ram_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"buffer", "log_address", "log_bytes", NULL};
    RamObject *ram = (RamObject *)self;
    PyObject *source;
    unsigned long long log_address, log_bytes;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OKK", names, &source, &log_address, &log_bytes))
        return -1;
    if (ram->base) {
        PyErr_SetString(PyExc_TypeError, "a Ram is initialised once");
        return -1;
    }
    if (PyObject_GetBuffer(source, &ram->buffer, PyBUF_WRITABLE | PyBUF_SIMPLE) < 0)
        return -1;
    ram->base = ram->buffer.buf;
    ram->size = (uint64_t)ram->buffer.len;
    if (((uintptr_t)ram->base & 7) || (log_address & 63) || log_bytes < 64 + sizeof(struct undo_entry)) {
        PyErr_SetString(module_state.ram_error, "buffer and log must be aligned, and the log hold an entry");
        return -1;
    }
    if (!ram_check(ram, log_address, log_bytes))
        return -1;
    ram->log = (struct undo_log *)(ram->base + log_address);
    ram->log_capacity = (log_bytes - sizeof(struct undo_log)) / sizeof(struct undo_entry);
    return 0;
}

static void ram_dealloc(PyObject *self)
{
    RamObject *ram = (RamObject *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (ram->base)
        PyBuffer_Release(&ram->buffer);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef ram_methods[] = {
    {"begin", ram_begin, METH_NOARGS, "Open a transaction."},
    {"commit", ram_commit, METH_NOARGS, "Make the open transaction's stores final."},
    {"recover", ram_recover, METH_NOARGS, "Roll back what an open or interrupted transaction stored; return how many stores."},
    {"transaction", ram_transaction, METH_NOARGS, "Context manager: commits, or rolls back if the body raises."},
    {"interrupt_at", ram_interrupt_at, METH_VARARGS, "Test support: raise Interrupted at the n-th logged store from now."},
    {"disarm", ram_disarm, METH_NOARGS, "Test support: forget interrupt_at."},
    {"word", ram_word, METH_O, "The word at an address."},
    {"set_word", (PyCFunction)(void (*)(void))ram_set_word, METH_FASTCALL, "Logged store of a word."},
    {"read", ram_read, METH_VARARGS, "A copy of bytes: read(address, bytes)."},
    {"words", ram_words, METH_VARARGS, "A copy of words: words(address, count)."},
    {"write", ram_write, METH_VARARGS, "Logged store of whole words."},
    {"poke", ram_poke, METH_VARARGS, "Store bytes without the log: for memory that holds no kernel record."},
    {"zero", ram_zero, METH_VARARGS, "Zero memory that holds no object, without the log: zero(address, bytes)."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef ram_getset[] = {
    {"size", ram_get_size, NULL, "Bytes.", NULL},
    {"in_transaction", ram_get_open, NULL, "Whether a transaction is open.", NULL},
    {"stores", ram_get_stores, NULL, "Logged stores of the open, or else the last, transaction.", NULL},
    {"committed", ram_get_committed, NULL, "Transactions committed since the machine was made.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot ram_slots[] = {
    {Py_tp_init, ram_init},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, ram_dealloc},
    {Py_tp_methods, ram_methods},
    {Py_tp_getset, ram_getset},
    {Py_tp_doc, "Ram(buffer, log_address, log_bytes): a window of physical memory with an undo log inside it."},
    {0, NULL},
};

static PyType_Spec ram_spec = {"hw._ram.Ram", sizeof(RamObject), 0, Py_TPFLAGS_DEFAULT, ram_slots};

/* with ram.transaction(): */
typedef struct {
    PyObject_HEAD
    PyObject *ram;
} TransactionObject;

static int transaction_init(PyObject *self, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    PyObject *ram;
    if (!PyArg_ParseTuple(args, "O", &ram) || !as_ram(ram))
        return -1;
    ((TransactionObject *)self)->ram = Py_NewRef(ram);
    return 0;
}

static PyObject *transaction_enter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *ram = ((TransactionObject *)self)->ram;
    PyObject *begun = ram_begin(ram, NULL);
    if (!begun)
        return NULL;
    Py_DECREF(begun);
    return Py_NewRef(ram);
}

static PyObject *transaction_exit(PyObject *self, PyObject *args)
{
    PyObject *ram = ((TransactionObject *)self)->ram, *type, *value, *traceback;
    if (!PyArg_ParseTuple(args, "OOO", &type, &value, &traceback))
        return NULL;
    PyObject *ended = type == Py_None ? ram_commit(ram, NULL) : ram_recover(ram, NULL);
    if (!ended)
        return NULL;
    Py_DECREF(ended);
    Py_RETURN_FALSE;
}

static void transaction_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((TransactionObject *)self)->ram);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef transaction_methods[] = {
    {"__enter__", transaction_enter, METH_NOARGS, NULL},
    {"__exit__", transaction_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot transaction_slots[] = {
    {Py_tp_init, transaction_init},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, transaction_dealloc},
    {Py_tp_methods, transaction_methods},
    {0, NULL},
};

static PyType_Spec transaction_spec = {"hw._ram.Transaction", sizeof(TransactionObject), 0, Py_TPFLAGS_DEFAULT,
                                       transaction_slots};

struct PyModuleDef ram_module = {
    PyModuleDef_HEAD_INIT, "_ram", "RAM window, undo log, record views, and the kernel's half of the trap ring.", -1,
    NULL, NULL, NULL, NULL, NULL,
};

static struct ram_api exported;

static int add_api(PyObject *module)
{
    exported = (struct ram_api){module_state.ram_type, ram_check, ram_store, ring_publish};
    PyObject *capsule = PyCapsule_New(&exported, RAM_API_NAME, NULL);
    int failed = !capsule || PyModule_AddObjectRef(module, "C_API", capsule) < 0;
    Py_XDECREF(capsule);
    return failed ? -1 : 0;
}

PyMODINIT_FUNC PyInit__ram(void)
{
    ram_module.m_methods = ring_methods;
    PyObject *module = PyModule_Create(&ram_module);
    if (!module)
        return NULL;
    ModuleState *state = &module_state;
    state->ram_type = (PyTypeObject *)PyType_FromSpec(&ram_spec);
    state->transaction_type = (PyTypeObject *)PyType_FromSpec(&transaction_spec);
    state->ram_error = PyErr_NewExceptionWithDoc("hw._ram.RamError", "A wrong use of RAM: a bug of the caller.", NULL, NULL);
    state->interrupted = PyErr_NewExceptionWithDoc("hw._ram.Interrupted", "Test support: the crash that interrupt_at asked for.",
                                                   PyExc_BaseException, NULL);
    if (!state->ram_type || !state->transaction_type || !state->ram_error || !state->interrupted ||
        PyModule_AddType(module, state->ram_type) < 0 || PyModule_AddType(module, state->transaction_type) < 0 ||
        PyModule_AddObjectRef(module, "RamError", state->ram_error) < 0 ||
        PyModule_AddObjectRef(module, "Interrupted", state->interrupted) < 0 || add_record_types(module, state) < 0 ||
        add_api(module) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
