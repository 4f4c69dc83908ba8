/* The guarded accesses of hw/_cpu/fault_machine.c, alone: a fault at every byte of a copied range, and at a word, is told as
 * what it is, and is left with as many bytes as were not copied, or resolved. Run by tests/unit/test_fault_machine.py, here and in an emulator. */
#include "fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { BYTES = 200 };

static uint8_t *pages; /* the second one is there when it is asked for, if it is */
static size_t page;
static bool resolves;
static struct access seen;
static unsigned faults;

static void on_fault(int Py_UNUSED(number), siginfo_t *info, void *context)
{
    faults++;
    seen.address = (uintptr_t)info->si_addr;
    fault_read_context(context, &seen);
    if (!fault_is_guarded(seen.ip) || fault_stack_pointer(context) < (uintptr_t)&info - (64 << 20))
        abort();
    if (resolves)
        mprotect(pages + page, page, PROT_READ | PROT_WRITE);
    else
        fault_leave_guarded(context);
}

static void expect(bool is_so, const char *what, size_t at)
{
    if (is_so)
        return;
    printf("%s does not hold at %zu: address %p, kind %u, %u faults\n", what, at, (void *)(uintptr_t)seen.address, seen.kind,
           faults);
    exit(1);
}

/* `inside` bytes of the range lie before the page that is not there. */
static void try(size_t inside, bool writes, bool resolved)
{
    static uint8_t other[BYTES], wanted[BYTES];
    for (size_t i = 0; i < BYTES; i++)
        other[i] = (uint8_t)(i + 1);
    mprotect(pages + page, page, PROT_READ | PROT_WRITE);
    uint8_t *range = pages + page - inside;
    for (size_t i = 0; i < BYTES; i++)
        range[i] = (uint8_t)(100 + i);
    memcpy(wanted, writes ? other : range, BYTES);
    mprotect(pages + page, page, PROT_NONE);
    resolves = resolved;
    faults = 0;
    size_t left = writes ? fault_guarded_copy(range, other, BYTES) : fault_guarded_copy(other, range, BYTES);
    expect(faults == 1, "one fault", inside);
    expect(seen.kind == (SEL4PY_FAULT_USER | (writes ? SEL4PY_FAULT_WRITE : 0u)), "its kind", inside);
    /* A pair of words faults as a whole. */
    expect(resolved ? !left : left >= BYTES - inside && left < BYTES - inside + 16, "what is left", inside);
    mprotect(pages + page, page, PROT_READ | PROT_WRITE);
    expect(!memcmp(writes ? range : other, wanted, BYTES - left), "what was copied", inside);
}

static void try_word(bool writes, bool resolved)
{
    uint64_t *word = (uint64_t *)(void *)(pages + page), value = 1;
    mprotect(pages + page, page, PROT_READ | PROT_WRITE);
    *word = 5;
    mprotect(pages + page, page, PROT_NONE);
    resolves = resolved;
    faults = 0;
    bool worked = writes ? fault_guarded_store(word, 6) : fault_guarded_load(word, &value);
    expect(faults == 1, "one fault at a word", writes);
    expect(seen.address == (uintptr_t)word && seen.kind == (SEL4PY_FAULT_USER | (writes ? SEL4PY_FAULT_WRITE : 0u)),
           "a word's fault", writes);
    expect(worked == resolved, "whether it worked", writes);
    mprotect(pages + page, page, PROT_READ | PROT_WRITE);
    expect(value == (resolved && !writes ? 5 : 1) && *word == (resolved && writes ? 6 : 5), "what it did", writes);
}

int main(void)
{
    const struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    page = (size_t)sysconf(_SC_PAGESIZE);
    pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t inside = 0; inside < BYTES; inside++)
        for (int way = 0; way < 4; way++)
            try(inside, way & 1, way & 2);
    for (size_t bytes = 0; bytes < BYTES; bytes++)
        expect(!fault_guarded_copy(pages, pages + BYTES, bytes), "a copy without a fault", bytes);
    for (int way = 0; way < 4; way++)
        try_word(way & 1, way & 2);
    puts("all as it should be");
    return 0;
}
