/* hw._ram: the module, and what it hands to other extensions. */
#include "api.h"

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

struct PyModuleDef ram_module = {
    PyModuleDef_HEAD_INIT, "_ram", "RAM window, undo log, record views, and the kernel's half of the trap ring.", -1,
    NULL, NULL, NULL, NULL, NULL,
};

static struct ram_api exported;

static int add_api(PyObject *module)
{
    exported = (struct ram_api){module_state.ram_type, ram_check, ram_store, fresh_show};
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
