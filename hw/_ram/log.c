/* The undo log: every store to a kernel record goes through ram_store(), which logs the old word first; a transaction is
 * what lies between begin and commit, and whatever interrupts it, RAM rolls back to where it began. */
#include "logged.h"

/* CPython 3.11's own formatting has no hexadecimal for 64 bits. */
static bool refuse(const char *format, uint64_t first, uint64_t second, uint64_t third)
{
    char text[160];
    PyOS_snprintf(text, sizeof text, format, (unsigned long long)first, (unsigned long long)second,
                  (unsigned long long)third);
    PyErr_SetString(ram_state()->ram_error, text);
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
    PyErr_Format(ram_state()->interrupted, "interrupted at store %llu", (unsigned long long)ram->stores);
    return -1;
}

static int store_unusually(RamObject *ram, uint64_t address, uint64_t value)
{
    if (!check_word(ram, address))
        return -1;
    if (!ram->open) {
        PyErr_SetString(ram_state()->ram_error, "a kernel record is stored to only inside a transaction");
        return -1;
    }
    uint64_t *word = (uint64_t *)(ram->base + address);
    if (*word == value)
        return 0;
    if (ram->log->length >= ram->log_capacity) {
        PyErr_Format(ram_state()->ram_error, "the undo log of %llu entries is full: the transaction does unbounded work",
                     (unsigned long long)ram->log_capacity);
        return -1;
    }
    bool now = ram->interrupt_armed && ram->interrupt_countdown-- == 0;
    log_append(ram, address, *word);
    if (now && !ram->interrupt_after)
        return interrupt(ram);
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    return now ? interrupt(ram) : 0;
}

int ram_store(RamObject *ram, uint64_t address, uint64_t value)
{
    return ram_store_inline(ram, address, value, store_unusually);
}

/* Undo from the newest entry to the oldest; an interrupted rollback can be repeated. Entries come from RAM that
 * only the kernel writes, but a damaged image must not make us write outside of it. */
static int64_t undo(RamObject *ram)
{
    struct undo_log *log = ram->log;
    uint64_t length = log->length;
    if (length > ram->log_capacity) {
        PyErr_Format(ram_state()->ram_error, "the undo log says %llu entries and holds %llu",
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

PyObject *ram_begin(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    RamObject *ram = (RamObject *)self;
    if (ram->open) {
        PyErr_SetString(ram_state()->ram_error, "a transaction is already open");
        return NULL;
    }
    if (ram->log->length != 0) {
        PyErr_SetString(ram_state()->ram_error, "an interrupted transaction must be rolled back first (recover)");
        return NULL;
    }
    ram->open = true;
    ram->stores = 0;
    Py_RETURN_NONE;
}

PyObject *ram_commit(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    RamObject *ram = (RamObject *)self;
    if (!ram->open) {
        PyErr_SetString(ram_state()->ram_error, "no transaction is open");
        return NULL;
    }
    ram->open = false;
    ram->log->committed++;
    __atomic_store_n(&ram->log->length, 0, __ATOMIC_RELEASE);
    Py_RETURN_NONE;
}

PyObject *ram_recover(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    RamObject *ram = (RamObject *)self;
    ram->open = false;
    int64_t undone = undo(ram);
    return undone < 0 ? NULL : PyLong_FromLongLong(undone);
}

PyObject *ram_transaction(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyObject_CallFunctionObjArgs((PyObject *)ram_state()->transaction_type, self, NULL);
}

PyObject *ram_interrupt_at(PyObject *self, PyObject *args)
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

PyObject *ram_disarm(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    ((RamObject *)self)->interrupt_armed = false;
    Py_RETURN_NONE;
}

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

PyType_Spec transaction_spec = {"hw._ram.Transaction", sizeof(TransactionObject), 0, Py_TPFLAGS_DEFAULT,
                                       transaction_slots};
