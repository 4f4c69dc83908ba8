/* Typed views on RAM: Record, and the field descriptors Word, Bits and Ref. A view holds a Ram and an address and
 * nothing else, so there is never a second copy of kernel state. */
#include "ram.h"

typedef struct {
    PyObject_HEAD
    RamObject *ram;
    uint64_t address;
} RecordObject;

typedef struct {
    PyObject_HEAD
    uint64_t offset;
    unsigned shift;      /* Bits */
    uint64_t mask;       /* Bits: of the value; Ref: of the word */
    PyObject *target;    /* Ref: the Record subclass */
} FieldObject;

static void heap_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

/* --- Record --- */

static PyObject *make_record(PyTypeObject *type, RamObject *ram, uint64_t address)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    RecordObject *record = (RecordObject *)allocate(type, 0);
    if (record) {
        record->ram = (RamObject *)Py_NewRef((PyObject *)ram);
        record->address = address;
    }
    return (PyObject *)record;
}

static PyObject *record_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *source;
    unsigned long long address;
    if (keywords || !PyArg_ParseTuple(args, "OK", &source, &address)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "Record(ram, address)");
        return NULL;
    }
    RamObject *ram = as_ram(source);
    return ram ? make_record(type, ram, address) : NULL;
}

static void record_dealloc(PyObject *self)
{
    Py_XDECREF((PyObject *)((RecordObject *)self)->ram);
    heap_dealloc(self);
}

static PyObject *record_compare(PyObject *left, PyObject *right, int operation)
{
    if ((operation != Py_EQ && operation != Py_NE) || !PyObject_TypeCheck(right, ram_state()->record_type))
        Py_RETURN_NOTIMPLEMENTED;
    RecordObject *a = (RecordObject *)left, *b = (RecordObject *)right;
    bool same = a->ram == b->ram && a->address == b->address;
    return PyBool_FromLong(same == (operation == Py_EQ));
}

static Py_hash_t record_hash(PyObject *self)
{
    Py_hash_t hash = (Py_hash_t)(((RecordObject *)self)->address * 0x9E3779B97F4A7C15u >> 3);
    return hash == -1 ? -2 : hash;
}

static PyObject *record_repr(PyObject *self)
{
    PyObject *name = PyObject_GetAttrString((PyObject *)Py_TYPE(self), "__name__");
    if (!name)
        return NULL;
    char at[32]; /* CPython 3.11's own formatting has no hexadecimal for 64 bits */
    PyOS_snprintf(at, sizeof at, "0x%llx", (unsigned long long)((RecordObject *)self)->address);
    PyObject *text = PyUnicode_FromFormat("<%U at %s>", name, at);
    Py_DECREF(name);
    return text;
}

static PyObject *record_get_address(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(((RecordObject *)self)->address);
}

static PyObject *record_get_ram(PyObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef((PyObject *)((RecordObject *)self)->ram);
}

static PyGetSetDef record_getset[] = {
    {"address", record_get_address, NULL, "Physical address in RAM.", NULL},
    {"ram", record_get_ram, NULL, "The Ram that it is a view on.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot record_slots[] = {
    {Py_tp_new, record_new},
    {Py_tp_dealloc, record_dealloc},
    {Py_tp_richcompare, record_compare},
    {Py_tp_hash, record_hash},
    {Py_tp_repr, record_repr},
    {Py_tp_getset, record_getset},
    {Py_tp_doc, "Record(ram, address): a view on RAM; subclasses declare its fields."},
    {0, NULL},
};

static PyType_Spec record_spec = {"hw._ram.Record", sizeof(RecordObject), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, record_slots};

static RecordObject *as_record(PyObject *object)
{
    if (!PyObject_TypeCheck(object, ram_state()->record_type)) {
        PyErr_SetString(PyExc_TypeError, "a field belongs to a Record");
        return NULL;
    }
    return (RecordObject *)object;
}

/* --- fields --- */

static int load_field(const FieldObject *field, PyObject *object, RecordObject **record, uint64_t *word)
{
    *record = as_record(object);
    return *record ? ram_load((*record)->ram, (*record)->address + field->offset, word) : -1;
}

static int no_delete(PyObject *value)
{
    if (value)
        return 0;
    PyErr_SetString(PyExc_AttributeError, "a field cannot be deleted");
    return -1;
}

static int word_init(PyObject *self, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    unsigned long long offset;
    if (!PyArg_ParseTuple(args, "K", &offset))
        return -1;
    ((FieldObject *)self)->offset = offset;
    return 0;
}

static PyObject *word_get(PyObject *self, PyObject *object, PyObject *Py_UNUSED(type))
{
    if (!object || object == Py_None)
        return Py_NewRef(self);
    RecordObject *record;
    uint64_t word;
    if (load_field((FieldObject *)self, object, &record, &word) < 0)
        return NULL;
    return PyLong_FromUnsignedLongLong(word);
}

static int word_set(PyObject *self, PyObject *object, PyObject *value)
{
    uint64_t word;
    RecordObject *record = as_record(object);
    if (!record || no_delete(value) < 0 || !as_u64(value, &word))
        return -1;
    return ram_store(record->ram, record->address + ((FieldObject *)self)->offset, word);
}

static int bits_init(PyObject *self, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    FieldObject *field = (FieldObject *)self;
    unsigned long long offset;
    unsigned shift, width;
    if (!PyArg_ParseTuple(args, "KII", &offset, &shift, &width))
        return -1;
    if (width < 1 || width > 63 || shift > 63 || shift + width > 64) {
        PyErr_SetString(PyExc_ValueError, "Bits(offset, shift, width): the bits must lie in one word");
        return -1;
    }
    field->offset = offset;
    field->shift = shift;
    field->mask = ((uint64_t)1 << width) - 1;
    return 0;
}

static PyObject *bits_get(PyObject *self, PyObject *object, PyObject *Py_UNUSED(type))
{
    if (!object || object == Py_None)
        return Py_NewRef(self);
    FieldObject *field = (FieldObject *)self;
    RecordObject *record;
    uint64_t word;
    if (load_field(field, object, &record, &word) < 0)
        return NULL;
    return PyLong_FromUnsignedLongLong(word >> field->shift & field->mask);
}

static int bits_set(PyObject *self, PyObject *object, PyObject *value)
{
    FieldObject *field = (FieldObject *)self;
    RecordObject *record;
    uint64_t word, bits;
    if (no_delete(value) < 0 || !as_u64(value, &bits) || load_field(field, object, &record, &word) < 0)
        return -1;
    if (bits & ~field->mask) {
        PyErr_Format(PyExc_OverflowError, "%llu does not fit the field", (unsigned long long)bits);
        return -1;
    }
    word = (word & ~(field->mask << field->shift)) | bits << field->shift;
    return ram_store(record->ram, record->address + field->offset, word);
}

static int ref_init(PyObject *self, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    FieldObject *field = (FieldObject *)self;
    unsigned long long offset, mask = UINT64_MAX;
    PyObject *target;
    if (!PyArg_ParseTuple(args, "KO|K", &offset, &target, &mask))
        return -1;
    field->offset = offset;
    field->mask = mask;
    field->target = Py_NewRef(target);
    return 0;
}

/* The target may be given as a callable that returns it, for records that refer to each other. */
static int resolve_target(FieldObject *field)
{
    if (PyType_Check(field->target))
        return 0;
    PyObject *target = PyObject_CallFunctionObjArgs(field->target, NULL);
    if (!target)
        return -1;
    int is_record = PyType_Check(target) ? PyObject_IsSubclass(target, (PyObject *)ram_state()->record_type) : 0;
    if (is_record <= 0) {
        Py_DECREF(target);
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "a Ref refers to a Record type");
        return -1;
    }
    Py_DECREF(field->target);
    field->target = target;
    return 0;
}

static PyObject *ref_get(PyObject *self, PyObject *object, PyObject *Py_UNUSED(type))
{
    if (!object || object == Py_None)
        return Py_NewRef(self);
    FieldObject *field = (FieldObject *)self;
    RecordObject *record;
    uint64_t word;
    if (resolve_target(field) < 0 || load_field(field, object, &record, &word) < 0)
        return NULL;
    word &= field->mask;
    if (word == 0)
        Py_RETURN_NONE;
    return make_record((PyTypeObject *)field->target, record->ram, word);
}

static int ref_set(PyObject *self, PyObject *object, PyObject *value)
{
    FieldObject *field = (FieldObject *)self;
    RecordObject *record;
    uint64_t word, address = 0;
    if (no_delete(value) < 0 || resolve_target(field) < 0 || load_field(field, object, &record, &word) < 0)
        return -1;
    if (value != Py_None) {
        int matches = PyObject_IsInstance(value, field->target);
        if (matches < 0)
            return -1;
        if (!matches) {
            PyErr_SetString(PyExc_TypeError, "the field refers to records of another type");
            return -1;
        }
        address = ((RecordObject *)value)->address;
    }
    if (address & ~field->mask) {
        PyErr_SetString(PyExc_OverflowError, "the record's address does not fit the field");
        return -1;
    }
    return ram_store(record->ram, record->address + field->offset, (word & ~field->mask) | address);
}

static void field_dealloc(PyObject *self)
{
    Py_XDECREF(((FieldObject *)self)->target);
    heap_dealloc(self);
}

static PyObject *field_get_offset(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(((FieldObject *)self)->offset);
}

static PyObject *field_get_shift(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(((FieldObject *)self)->shift);
}

static PyObject *field_get_mask(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(((FieldObject *)self)->mask);
}

static PyGetSetDef field_getset[] = {
    {"offset", field_get_offset, NULL, "Bytes from the record's address.", NULL},
    {"shift", field_get_shift, NULL, "Bits: lowest bit in the word.", NULL},
    {"mask", field_get_mask, NULL, "Bits: mask of the value. Ref: mask of the word.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

#define FIELD_TYPE(lower, title, document)                                                                         \
    static PyType_Slot lower##_slots[] = {                                                                         \
        {Py_tp_init, lower##_init},      {Py_tp_new, PyType_GenericNew},      {Py_tp_dealloc, field_dealloc},      \
        {Py_tp_descr_get, lower##_get},  {Py_tp_descr_set, lower##_set},      {Py_tp_getset, field_getset},        \
        {Py_tp_doc, document},           {0, NULL},                                                                \
    };                                                                                                             \
    static PyType_Spec lower##_spec = {"hw._ram." title, sizeof(FieldObject), 0, Py_TPFLAGS_DEFAULT, lower##_slots}

FIELD_TYPE(word, "Word", "Word(offset): a 64-bit word of a record.");
FIELD_TYPE(bits, "Bits", "Bits(offset, shift, width): some bits of a word.");
FIELD_TYPE(ref, "Ref", "Ref(offset, type or callable, mask=all): another record's address, or 0 for None.");

int add_record_types(PyObject *module, ModuleState *state)
{
    state->record_type = (PyTypeObject *)PyType_FromSpec(&record_spec);
    state->word_type = (PyTypeObject *)PyType_FromSpec(&word_spec);
    state->bits_type = (PyTypeObject *)PyType_FromSpec(&bits_spec);
    state->ref_type = (PyTypeObject *)PyType_FromSpec(&ref_spec);
    if (!state->record_type || !state->word_type || !state->bits_type || !state->ref_type)
        return -1;
    if (PyModule_AddType(module, state->record_type) < 0 || PyModule_AddType(module, state->word_type) < 0 ||
        PyModule_AddType(module, state->bits_type) < 0 || PyModule_AddType(module, state->ref_type) < 0)
        return -1;
    return 0;
}
