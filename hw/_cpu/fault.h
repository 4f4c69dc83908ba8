/* Faults, and the copies that may meet with one: what fault.c, fault_machine.c and mapping.c share. */
#ifndef SEL4PY_FAULT_H
#define SEL4PY_FAULT_H

#include "cpu.h"

#include <ucontext.h>

/* One access as the signal tells it. `kind` is PageFault of libsel4py/abi.py. */
struct access {
    uint64_t address, ip;
    uint32_t kind;
};

/* Of the calling thread: how its guarded copy may behave, and what it met with. */
struct guard {
    bool may_wait; /* for the keeper and the pager: the GIL is not held */
    bool is_write;
    uint64_t address;
};

extern _Thread_local struct guard guard_self __attribute__((tls_model("initial-exec")));

/* fault_machine.c: what depends on the processor */
/* Copies forwards. Returns how many bytes are left: not 0 where an access could not be resolved. */
size_t fault_guarded_copy(void *to, const void *from, size_t bytes) __attribute__((visibility("hidden")));
bool fault_is_guarded(uint64_t ip);
/* The guarded copy that was interrupted returns what is left, instead of trying again. */
void fault_leave_guarded(ucontext_t *context);
/* Sets `ip` and `kind`. */
void fault_read_context(const ucontext_t *context, struct access *access);
uintptr_t fault_stack_pointer(const ucontext_t *context);

#endif
