/* Faults, and the copies that may meet with one: what fault.c, fault_machine.c and mapping.c share. */
#ifndef SEL4PY_FAULT_H
#define SEL4PY_FAULT_H

#include "cpu.h"

#include <ucontext.h>

/* One access as the signal tells it. `kind` is PageFault of libsel4py/abi.py. */
struct access {
    uint64_t address, ip;
    uint32_t kind;
    bool is_nested;         /* it came while another access of this thread was being resolved, */
    uint64_t outer_address; /* at this address */
};

/* Of the calling thread: how its guarded copy may behave, and what it met with; what it has tried again, and resolves. */
struct guard {
    bool may_wait; /* for the keeper and the pager: the GIL is not held */
    bool is_write;
    uint64_t address;
    uint64_t tried; /* of a thread that cannot ask: since its keeper had done so many messages, and one; 0: not yet */
    bool resolving; /* the handler is at work on an access to managed memory, at this address */
    uint64_t resolving_address;
};

extern _Thread_local struct guard guard_self __attribute__((tls_model("initial-exec")));

/* fault_machine.c: what depends on the processor */
/* Copies forwards. Returns how many bytes are left: not 0 where an access could not be resolved. */
size_t fault_guarded_copy(void *to, const void *from, size_t bytes) __attribute__((visibility("hidden")));
/* One word, by one access: an acquiring load, a releasing store. False where it could not be resolved. */
bool fault_guarded_load(const uint64_t *from, uint64_t *value) __attribute__((visibility("hidden")));
bool fault_guarded_store(uint64_t *to, uint64_t value) __attribute__((visibility("hidden")));
/* 1, 2 or 4 bytes (`width`), of a device's registers. */
bool fault_guarded_load_part(const void *from, uint64_t *value, unsigned width) __attribute__((visibility("hidden")));
bool fault_guarded_store_part(void *to, uint64_t value, unsigned width) __attribute__((visibility("hidden")));
bool fault_is_guarded(uint64_t ip);
/* The guarded copy that was interrupted returns what is left, instead of trying again. */
void fault_leave_guarded(ucontext_t *context);
/* Sets `ip` and `kind`. */
void fault_read_context(const ucontext_t *context, struct access *access);
uintptr_t fault_stack_pointer(const ucontext_t *context);
void fault_set_ip(ucontext_t *context, uint64_t ip);

/* access.c */
/* Message register 3 of FAULT: the access as the kernel may do it itself; 0 where the instruction is no plain one. */
uint64_t access_wanted(const struct access *access, const ucontext_t *context);
/* The kernel has: the thread goes on behind the instruction. False where `access_wanted` was 0. */
bool access_done(const struct access *access, ucontext_t *context, uint64_t value);

/* mapping.c, words.c, registers.c */
struct mapping {
    PyObject_HEAD
    unsigned long long address, size; /* size 0: released */
    Py_ssize_t views;                 /* of its buffer, in use */
    char writable;
};

PyObject *mapping_load_word(PyObject *mapping, PyObject *offset);
PyObject *mapping_store_word(PyObject *mapping, PyObject *const *args, Py_ssize_t count);
PyObject *mapping_store_then_load(PyObject *mapping, PyObject *const *args, Py_ssize_t count);
PyObject *mapping_load_register(PyObject *mapping, PyObject *const *args, Py_ssize_t count);
PyObject *mapping_store_register(PyObject *mapping, PyObject *const *args, Py_ssize_t count);
bool mapping_may_write(const struct mapping *mapping);
/* TypeError where a method was given another number of arguments. */
bool mapping_takes(const char *name, Py_ssize_t count, Py_ssize_t wanted);
/* Around a guarded access without the GIL: it may wait for the keeper and the pager, and the thread be stopped meanwhile. */
void guard_wait_begin(void);
void guard_wait_end(void);
/* Sets VMFault for what the calling thread's last guarded access met with; NULL. */
PyObject *guard_raise(void);

#endif
