/* Mapping: managed memory as a Python object. Its buffer is the memory itself, without a copy; read, write and copy are
 * guarded: where an access cannot be resolved they raise VMFault, and the thread goes on.
 *
 * A guarded access first copies with the GIL held, waiting for nobody. What does not go so, and whatever is long, is copied
 * without it: the process's other threads run on while the pager works, and one of them may be the pager.
 */
#include "fault.h"

#include <structmember.h>

/* Bytes: a microsecond or two, below what giving the GIL away may cost. */
enum { COPY_WITH_GIL = 32 << 10 };

static PyTypeObject *mapping_type;

static uint8_t *bytes_of(const struct mapping *mapping) { return (uint8_t *)(uintptr_t)mapping->address; }

PyObject *guard_raise(void)
{
    PyObject *module = PyImport_ImportModule("hw.cpu");
    PyObject *class = module ? PyObject_GetAttrString(module, "VMFault") : NULL;
    PyObject *fault = class ? PyObject_CallFunction(class, "Ks", (unsigned long long)guard_self.address,
                                                    guard_self.is_write ? "write" : "read")
                            : NULL;
    if (fault)
        PyErr_SetObject(class, fault);
    Py_XDECREF(fault);
    Py_XDECREF(class);
    Py_XDECREF(module);
    return NULL;
}

void guard_wait_begin(void)
{
    if (cpu_self)
        cpu_self->outside = 1; /* it may be stopped right here */
    guard_self.may_wait = true;
}

void guard_wait_end(void)
{
    guard_self.may_wait = false;
    if (cpu_self) {
        park_here(cpu_self);
        cpu_self->outside = 0;
    }
}

/* False with VMFault set. */
static bool copy_guarded(uint8_t *to, const uint8_t *from, size_t bytes)
{
    size_t left = bytes <= COPY_WITH_GIL ? fault_guarded_copy(to, from, bytes) : bytes;
    if (!left)
        return true;
    Py_BEGIN_ALLOW_THREADS
    guard_wait_begin();
    left = fault_guarded_copy(to + bytes - left, from + bytes - left, left);
    guard_wait_end();
    Py_END_ALLOW_THREADS
    if (left)
        guard_raise();
    return !left;
}

static bool has_bytes(const struct mapping *mapping, unsigned long long offset, unsigned long long bytes)
{
    if (offset <= mapping->size && bytes <= mapping->size - offset)
        return true;
    PyErr_Format(PyExc_ValueError, "%llu bytes from offset %llu on are not in a mapping of %llu bytes", bytes, offset,
                 mapping->size);
    return false;
}

bool mapping_may_write(const struct mapping *mapping)
{
    if (!mapping->writable)
        PyErr_SetString(PyExc_TypeError, "the mapping is read-only: make it with writable=True where the memory may be "
                                         "written");
    return mapping->writable;
}

static PyObject *mapping_read(PyObject *self, PyObject *args)
{
    struct mapping *mapping = (struct mapping *)self;
    unsigned long long offset, bytes;
    PyObject *at, *count;
    if (!PyArg_ParseTuple(args, "OO:read", &at, &count) || !as_u64(at, (uint64_t *)&offset) ||
        !as_u64(count, (uint64_t *)&bytes) || !has_bytes(mapping, offset, bytes))
        return NULL;
    PyObject *result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)bytes);
    if (result && !copy_guarded((uint8_t *)PyBytes_AsString(result), bytes_of(mapping) + offset, bytes))
        Py_CLEAR(result);
    return result;
}

static PyObject *mapping_write(PyObject *self, PyObject *args)
{
    struct mapping *mapping = (struct mapping *)self;
    unsigned long long offset;
    PyObject *at;
    Py_buffer data;
    if (!PyArg_ParseTuple(args, "Oy*:write", &at, &data))
        return NULL;
    bool worked = as_u64(at, (uint64_t *)&offset) && mapping_may_write(mapping) &&
                  has_bytes(mapping, offset, (unsigned long long)data.len) &&
                  copy_guarded(bytes_of(mapping) + offset, data.buf, (size_t)data.len);
    PyBuffer_Release(&data);
    return worked ? Py_NewRef(Py_None) : NULL;
}

static PyObject *mapping_copy(PyObject *self, PyObject *args)
{
    struct mapping *mapping = (struct mapping *)self;
    uint64_t words[3];
    PyObject *items[3], *other;
    if (!PyArg_ParseTuple(args, "OO!OO:copy", &items[0], mapping_type, &other, &items[1], &items[2]))
        return NULL;
    for (int i = 0; i < 3; i++)
        if (!as_u64(items[i], &words[i]))
            return NULL;
    const struct mapping *source = (const struct mapping *)other;
    const uint64_t bytes = words[2];
    if (!mapping_may_write(mapping) || !has_bytes(mapping, words[0], bytes) || !has_bytes(source, words[1], bytes))
        return NULL;
    const uint64_t to = mapping->address + words[0], from = source->address + words[1];
    if (to < from + bytes && from < to + bytes && to != from) {
        PyErr_SetString(PyExc_ValueError, "the two ranges overlap: copy by way of read() and write()");
        return NULL;
    }
    return copy_guarded(bytes_of(mapping) + words[0], bytes_of(source) + words[1], bytes) ? Py_NewRef(Py_None) : NULL;
}

static int mapping_buffer(PyObject *self, Py_buffer *view, int flags)
{
    struct mapping *mapping = (struct mapping *)self;
    if (!mapping->size) {
        PyErr_SetString(PyExc_ValueError, "the mapping was released");
        return -1;
    }
    if (PyBuffer_FillInfo(view, self, bytes_of(mapping), (Py_ssize_t)mapping->size, !mapping->writable, flags) < 0)
        return -1;
    mapping->views++;
    return 0;
}

static void mapping_buffer_done(PyObject *self, Py_buffer *Py_UNUSED(view)) { ((struct mapping *)self)->views--; }

static PyObject *mapping_release(PyObject *self, PyObject *Py_UNUSED(none))
{
    struct mapping *mapping = (struct mapping *)self;
    if (mapping->views)
        return PyErr_Format(PyExc_BufferError, "%zd views of the mapping are in use: release them (or arrays of them) first",
                            mapping->views);
    mapping->size = 0;
    Py_RETURN_NONE;
}

static Py_ssize_t mapping_length(PyObject *self) { return (Py_ssize_t)((struct mapping *)self)->size; }

static PyObject *mapping_repr(PyObject *self)
{
    const struct mapping *mapping = (const struct mapping *)self;
    /* PyUnicode_FromFormat() knows no long hexadecimal before 3.12 */
    PyObject *address = PyLong_FromUnsignedLongLong(mapping->address), *hex = address ? PyNumber_ToBase(address, 16) : NULL;
    PyObject *text = hex ? PyUnicode_FromFormat("Mapping(%U, %llu%s)", hex, mapping->size,
                                                mapping->writable ? ", writable=True" : "")
                         : NULL;
    Py_XDECREF(hex);
    Py_XDECREF(address);
    return text;
}

static PyObject *mapping_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"address", "size", "writable", NULL};
    PyObject *items[2];
    uint64_t address, size;
    int writable = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO|p:Mapping", names, &items[0], &items[1], &writable) ||
        !as_u64(items[0], &address) || !as_u64(items[1], &size))
        return NULL;
    if (address < SEL4PY_MAPPING_BASE || address > SEL4PY_MAPPING_END || !size || size > SEL4PY_MAPPING_END - address) {
        PyErr_SetString(PyExc_ValueError, "a mapping has bytes, all from abi.MAPPING_BASE up to abi.MAPPING_END");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct mapping *mapping = (struct mapping *)allocate(type, 0);
    if (!mapping)
        return NULL;
    mapping->address = address;
    mapping->size = size;
    mapping->writable = (char)writable;
    return (PyObject *)mapping;
}

static void mapping_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(mapping_doc,
"Mapping(address, size, writable=False)\n\n"
"Memory of this process that the kernel maps, from address on, size bytes. It says where memory is, and owns nothing.\n"
"Its buffer (memoryview(), numpy.frombuffer()) is that memory, not a copy: an access to what is not there waits for the\n"
"thread's pager with the GIL held, and stops the thread where there is none. read(), write() and copy() raise\n"
"hw.cpu.VMFault then. Raises ValueError outside of abi.MAPPING_BASE to abi.MAPPING_END.");

static PyMethodDef mapping_methods[] = {
    {"read", mapping_read, METH_VARARGS,
     "read(offset, size) -> bytes\n\nA guarded copy. Raises ValueError outside of the mapping, VMFault."},
    {"write", mapping_write, METH_VARARGS,
     "write(offset, data)\n\nA guarded copy of an object's bytes into the memory; after VMFault some may have been written.\n"
     "Raises ValueError outside of the mapping, TypeError if it is read-only, VMFault."},
    {"copy", mapping_copy, METH_VARARGS,
     "copy(offset, source, source_offset, size)\n\nA guarded copy out of another mapping, or another place of this one.\n"
     "Raises ValueError outside of either or if they overlap, TypeError if this one is read-only, VMFault."},
    {"load_word", mapping_load_word, METH_O,
     "load_word(offset) -> int\n\nA word of 64 bits by one guarded load, acquiring: what is loaded later is as new at least.\n"
     "Raises ValueError if the offset is no multiple of 8 or outside of the mapping, VMFault."},
    {"store_word", (PyCFunction)(void (*)(void))mapping_store_word, METH_FASTCALL,
     "store_word(offset, value)\n\nOne guarded store, releasing: who loads it sees what was stored earlier. Raises ValueError,\n"
     "OverflowError, TypeError if the mapping is read-only, VMFault."},
    {"store_then_load", (PyCFunction)(void (*)(void))mapping_store_then_load, METH_FASTCALL,
     "store_then_load(offset, value, look) -> int\n\nAs store_word; only after it as load_word, at offset look. Raises likewise."},
    {"load_register", (PyCFunction)(void (*)(void))mapping_load_register, METH_FASTCALL,
     "load_register(offset, width) -> int\n\nOf a device's registers: 1, 2 or 4 bytes by one guarded load. Raises ValueError if\n"
     "the offset is no multiple of width or outside of the mapping, VMFault."},
    {"store_register", (PyCFunction)(void (*)(void))mapping_store_register, METH_FASTCALL,
     "store_register(offset, width, value)\n\nOne guarded store. Raises likewise, OverflowError, TypeError if the mapping is\n"
     "read-only."},
    {"release", mapping_release, METH_NOARGS,
     "release()\n\nNothing can be accessed by it from now on: it has no bytes any more. Raises BufferError while its buffer is\n"
     "in use (a memoryview, an array)."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef mapping_members[] = {
    {"address", T_ULONGLONG, offsetof(struct mapping, address), READONLY, "Its first byte's, in this process."},
    {"size", T_ULONGLONG, offsetof(struct mapping, size), READONLY, "Bytes."},
    {"writable", T_BOOL, offsetof(struct mapping, writable), READONLY, "Whether its buffer may be written."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot mapping_slots[] = {
    {Py_tp_doc, (void *)mapping_doc},   {Py_tp_new, mapping_new},           {Py_tp_dealloc, mapping_dealloc},
    {Py_tp_methods, mapping_methods},   {Py_tp_members, mapping_members},   {Py_tp_repr, mapping_repr},
    {Py_mp_length, mapping_length},     {Py_bf_getbuffer, mapping_buffer},  {Py_bf_releasebuffer, mapping_buffer_done},
    {0, NULL},
};

static PyType_Spec mapping_spec = {
    .name = "hw.cpu.Mapping",
    .basicsize = sizeof(struct mapping),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = mapping_slots,
};

int mapping_add_type(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&mapping_spec);
    if (!type)
        return -1;
    mapping_type = (PyTypeObject *)type;
    return PyModule_AddObjectRef(module, "Mapping", type);
}
