/* RAM as the kernel sees it: one window of memory, an undo log inside it, typed views on it.
 *
 * Rules. Every store to a kernel record goes through ram_store(), which logs the old word first. Nothing here
 * allocates memory for the kernel's state. One thread uses a Ram at a time (it holds the GIL).
 */
#ifndef SEL4PY_RAM_H
#define SEL4PY_RAM_H

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

/* The undo log, at a place in RAM that the machine chooses. All words are written by the kernel alone. */
struct undo_entry {
    uint64_t address;
    uint64_t old_value;
};

struct undo_log {
    uint64_t length;    /* entries that a rollback must undo; 0 when no transaction has stored anything */
    uint64_t committed; /* transactions committed since the machine was made */
    uint64_t reserved[6];
    struct undo_entry entries[];
};

_Static_assert(sizeof(struct undo_log) == 64, "the log's head is one cache line");
_Static_assert(sizeof(struct undo_entry) == 16, "an undo entry is two words");

typedef struct {
    PyObject_HEAD
    Py_buffer buffer;
    uint8_t *base;
    uint64_t size;
    struct undo_log *log;
    uint64_t log_capacity;
    bool open;              /* a transaction is open */
    bool interrupt_armed;   /* test support: raise Interrupted at a store */
    bool interrupt_after;   /* after the store was made, else between log entry and store */
    uint64_t interrupt_countdown;
    uint64_t stores;        /* logged stores of the open, or else the last, transaction */
} RamObject;

typedef struct {
    PyTypeObject *ram_type;
    PyTypeObject *record_type;
    PyTypeObject *word_type;
    PyTypeObject *bits_type;
    PyTypeObject *ref_type;
    PyTypeObject *transaction_type;
    PyObject *interrupted;
    PyObject *ram_error;
} ModuleState;

extern struct PyModuleDef ram_module;

/* Raises RamError unless [address, address+bytes) lies inside RAM. */
bool ram_check(const RamObject *ram, uint64_t address, uint64_t bytes);
/* Reads and logged store of an aligned word; store returns -1 with an exception set. The address is checked. */
int ram_load(const RamObject *ram, uint64_t address, uint64_t *value);
int ram_store(RamObject *ram, uint64_t address, uint64_t value);

ModuleState *ram_state(void);
extern PyType_Spec ram_spec, transaction_spec;
/* Methods of Ram. log.c */
PyObject *ram_begin(PyObject *self, PyObject *ignored);
PyObject *ram_commit(PyObject *self, PyObject *ignored);
PyObject *ram_recover(PyObject *self, PyObject *ignored);
PyObject *ram_transaction(PyObject *self, PyObject *ignored);
PyObject *ram_interrupt_at(PyObject *self, PyObject *args);
PyObject *ram_disarm(PyObject *self, PyObject *ignored);
int add_record_types(PyObject *module, ModuleState *state);
extern PyMethodDef ring_methods[];
/* The trap frame at a physical address; NULL with RamError set. */
uint8_t *ring_frame(RamObject *ram, uint64_t frame);
int ring_publish(RamObject *ram, uint64_t frame_address, uint64_t told_address, uint32_t produced);
PyObject *publish(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *window_map_fixed(PyObject *module, PyObject *args);
PyObject *window_discard(PyObject *module, PyObject *args);
PyObject *window_host_address(PyObject *module, PyObject *args);
PyObject *fresh_make_memories(PyObject *module, PyObject *args);
PyObject *fresh_lay(PyObject *module, PyObject *args);
/* Shows fd at a physical address, of which RAM's own file holds nothing, once the word says so. 0, and nothing done, where it
 * holds something; -1 with errno. The addresses are checked. fresh.c */
int fresh_show(RamObject *ram, int ram_fd, uint64_t address, uint64_t bytes, int fd, uint64_t *word);
PyObject *dma_load(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *dma_store(PyObject *module, PyObject *const *args, Py_ssize_t count);
RamObject *as_ram(PyObject *object);

static inline bool as_u64(PyObject *object, uint64_t *value)
{
    *value = PyLong_AsUnsignedLongLong(object);
    return !(*value == UINT64_MAX && PyErr_Occurred());
}

#endif
