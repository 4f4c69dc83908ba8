/* hw._net: frames between a network interface's queues and a descriptor, where they lie. What is said of the order of things, of
 * bounds, and of all that is not of the commonest form, is hw/devices/net_frames.py's, which is the model of this.
 */
#include "mover.h"

const struct ram_api *net_ram;

typedef struct {
    PyObject_HEAD
    struct mover mover;
    Py_buffer table, counts, desk;
} MoverObject;

static void release(MoverObject *self)
{
    for (Py_buffer *each = &self->table; each <= &self->desk; each++)
        if (each->obj)
            PyBuffer_Release(each);
    Py_CLEAR(self->mover.ram);
}

static void mover_dealloc(MoverObject *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    release(self);
    freefunc free_it = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_it(self);
    Py_DECREF((PyObject *)type);
}

/* Whether all that it was given is what it must be. */
static bool is_sound(const MoverObject *self, PyObject *ram, unsigned long long address)
{
    const struct table *table = self->table.buf;
    return PyObject_TypeCheck(ram, net_ram->ram_type) && !(address & 7) &&
           net_ram->check((RamObject *)ram, address, sizeof(struct page)) &&
           (size_t)self->table.len >= sizeof *table && (size_t)self->counts.len == sizeof(struct counts) &&
           (size_t)self->desk.len == sizeof(struct desk);
}

static PyObject *mover_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    PyObject *ram;
    unsigned long long address, longest, budget;
    int descriptor;
    unsigned most;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    MoverObject *self = (MoverObject *)allocate(type, 0);
    if (!self)
        return NULL;
    if (!PyArg_ParseTuple(args, "OKw*w*w*iKIK", &ram, &address, &self->table, &self->counts, &self->desk, &descriptor,
                          &longest, &most, &budget)) {
        Py_DECREF(self);
        return NULL;
    }
    if (!is_sound(self, ram, address)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "a Ram, the address of a device's page in it, and three arrays of words");
        Py_DECREF(self);
        return NULL;
    }
    self->mover = (struct mover){
        .kicked = {mover_turn},
        .ram = (RamObject *)Py_NewRef(ram),
        .descriptor = descriptor,
        .page = (struct page *)(void *)(((RamObject *)ram)->base + address),
        .address = address,
        .table = self->table.buf,
        .counts = self->counts.buf,
        .desk = self->desk.buf,
        .most = most < ENTRIES_HIGH ? most : ENTRIES_HIGH,
        .longest = longest,
        .budget = budget,
    };
    return (PyObject *)self;
}

static PyObject *turn(MoverObject *self, PyObject *reads)
{
    const int bits = mover_turn(&self->mover.kicked, PyObject_IsTrue(reads) == 1);
    return bits < 0 ? NULL : PyLong_FromLong(bits);
}

static void forget(PyObject *capsule) { Py_XDECREF((PyObject *)PyCapsule_GetContext(capsule)); }

static PyObject *kicked(MoverObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *made = PyCapsule_New(&self->mover.kicked, KICKED_NAME, forget);
    if (made && PyCapsule_SetContext(made, Py_NewRef((PyObject *)self)) < 0)
        Py_CLEAR(made);
    return made;
}

static PyMethodDef mover_methods[] = {
    {"turn", (PyCFunction)turn, METH_O, "turn(reads) -> bits: move what can be moved. Not in a transaction."},
    {"kicked", (PyCFunction)kicked, METH_NOARGS, "kicked() -> capsule, for the kernel's loop."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot mover_slots[] = {
    {Py_tp_new, mover_new},
    {Py_tp_dealloc, mover_dealloc},
    {Py_tp_methods, mover_methods},
    {Py_tp_doc, "Mover(ram, page, table, counts, desk, descriptor, longest, most, budget): hw/_net/mover.h."},
    {0, NULL},
};

static PyType_Spec mover_spec = {"hw._net.Mover", sizeof(MoverObject), 0, Py_TPFLAGS_DEFAULT, mover_slots};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_net", "Frames between queues and a descriptor.", -1, NULL, NULL, NULL, NULL, NULL,
};

static const struct {
    const char *name;
    int value;
} bits[] = {
    {"MOVED", TURN_MOVED},     {"LEFT", TURN_LEFT},       {"MORE", TURN_MORE},
    {"STARVED", TURN_STARVED}, {"CHANGED", TURN_CHANGED}, {"HIGH", TURN_HIGH},
};

static int add_all(PyObject *module)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromSpec(&mover_spec);
    int failed = !type || PyModule_AddType(module, type) < 0;
    Py_XDECREF((PyObject *)type);
    for (size_t i = 0; !failed && i < sizeof bits / sizeof *bits; i++)
        failed = PyModule_AddIntConstant(module, bits[i].name, bits[i].value) < 0;
    return failed;
}

PyMODINIT_FUNC PyInit__net(void)
{
    PyObject *ram = PyImport_ImportModule("hw._ram");
    if (!ram)
        return NULL;
    Py_DECREF(ram); /* it stays loaded */
    net_ram = PyCapsule_Import(RAM_API_NAME, 0);
    PyObject *made = net_ram ? PyModule_Create(&definition) : NULL;
    if (made && add_all(made))
        Py_CLEAR(made);
    return made;
}
