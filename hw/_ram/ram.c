/* Ram: a window of physical memory. Words and bytes of it, copied once; stores of records go by log.c. */
#include "ram.h"

#include <string.h>
#include <sys/mman.h>

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
        PyErr_SetString(ram_state()->ram_error, "words() takes an aligned address and a count that RAM holds");
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
        PyErr_SetString(ram_state()->ram_error, "write() takes whole words; poke() takes bytes");
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
        PyErr_SetString(ram_state()->ram_error, "buffer and log must be aligned, and the log hold an entry");
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

PyType_Spec ram_spec = {"hw._ram.Ram", sizeof(RamObject), 0, Py_TPFLAGS_DEFAULT, ram_slots};
