/* What other extensions may call: handed out as the capsule hw._ram.C_API. */
#ifndef SEL4PY_RAM_API_H
#define SEL4PY_RAM_API_H

#include "ram.h"

#define RAM_API_NAME "hw._ram.C_API"

struct ram_api {
    PyTypeObject *ram_type;
    bool (*check)(const RamObject *ram, uint64_t address, uint64_t bytes);
    int (*store)(RamObject *ram, uint64_t address, uint64_t value);
    int (*show_fresh)(RamObject *ram, int ram_fd, uint64_t address, uint64_t bytes, int fd, uint64_t *word);
};

#endif
