/* Sets and lists of this extension: what they hold grows, and is freed at once. */
#include "survey.h"

#include <string.h>

static uint64_t mixed(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t hash = (a ^ b << 21 ^ b >> 43 ^ c << 42 ^ c >> 22) * 0x9E3779B97F4A7C15ull;
    return hash ^ hash >> 29;
}

static struct entry *place(const struct table *table, uint64_t a, uint64_t b, uint64_t c)
{
    for (size_t at = mixed(a, b, c);; at++) {
        struct entry *entry = &table->entries[at & table->mask];
        if (!entry->used || (entry->a == a && entry->b == b && entry->c == c))
            return entry;
    }
}

struct entry *table_find(const struct table *table, uint64_t a, uint64_t b, uint64_t c)
{
    if (!table->entries)
        return NULL;
    struct entry *entry = place(table, a, b, c);
    return entry->used ? entry : NULL;
}

static int grow(struct table *table)
{
    struct table larger = {.mask = table->entries ? table->mask * 2 + 1 : 255};
    larger.entries = PyMem_Calloc(larger.mask + 1, sizeof *larger.entries);
    if (!larger.entries) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; table->entries && i <= table->mask; i++) {
        const struct entry *entry = &table->entries[i];
        if (entry->used)
            *place(&larger, entry->a, entry->b, entry->c) = *entry;
    }
    larger.count = table->count;
    PyMem_Free(table->entries);
    *table = larger;
    return 0;
}

int table_add(struct table *table, uint64_t a, uint64_t b, uint64_t c, uint64_t value)
{
    if ((!table->entries || table->count * 2 > table->mask) && grow(table) < 0)
        return -1;
    *place(table, a, b, c) = (struct entry){a, b, c, value, true};
    table->count++;
    return 0;
}

void *list_add(struct list *list, size_t bytes)
{
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 64;
        void *items = PyMem_Realloc(list->items, room * bytes);
        if (!items) {
            PyErr_NoMemory();
            return NULL;
        }
        list->items = items;
        list->room = room;
    }
    return (char *)list->items + list->count++ * bytes;
}
