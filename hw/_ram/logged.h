/* The logged store's usual case, in place: every store to a kernel record goes through here, and costs its caller no call.
 * What is unusual (a bad address, no transaction, a full log, a test that interrupts) is ram_store()'s, which log.c has.
 */
#ifndef SEL4PY_RAM_LOGGED_H
#define SEL4PY_RAM_LOGGED_H

#include "ram.h"

/* Logs the old word. The order is the undo log's promise: the entry, its length, and only then the word itself. */
static inline void log_append(RamObject *ram, uint64_t address, uint64_t old_value)
{
    struct undo_log *log = ram->log;
    uint64_t length = log->length;
    log->entries[length].address = address;
    log->entries[length].old_value = old_value;
    __atomic_store_n(&log->length, length + 1, __ATOMIC_RELEASE);
    ram->stores++;
}

/* As ram_store(), which `otherwise` is. */
static inline int ram_store_inline(RamObject *ram, uint64_t address, uint64_t value,
                                   int (*otherwise)(RamObject *, uint64_t, uint64_t))
{
    if ((address & 7) || address > ram->size - 8 || !ram->open || ram->interrupt_armed ||
        ram->log->length >= ram->log_capacity)
        return otherwise(ram, address, value);
    uint64_t *word = (uint64_t *)(void *)(ram->base + address);
    if (*word == value)
        return 0;
    log_append(ram, address, *word);
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    return 0;
}

#endif
