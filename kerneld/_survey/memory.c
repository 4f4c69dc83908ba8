/* Memory: what was made from untyped memory lies inside what that has given out, and apart from the rest. */
#include "survey.h"

#include <stdlib.h>

struct region { /* `family`: the address of the slot of the untyped memory that it was made from, 0 for none */
    uint64_t family, at, bytes;
};

static int compared(const void *first, const void *second)
{
    const struct region *a = first, *b = second;
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    if (a->at != b->at)
        return a->at < b->at ? -1 : 1;
    return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

static bool are_disjoint(struct region *regions, size_t count)
{
    qsort(regions, count, sizeof *regions, compared);
    for (size_t i = 1; i < count; i++) {
        const struct region *before = &regions[i - 1], *now = &regions[i];
        if (before->family != now->family || !compared(before, now)) /* another one's; several capabilities to one */
            continue;
        if (now->at < before->at + before->bytes)
            return false;
    }
    return true;
}

/* The memory of every slot, with its family. How many there are; -1: what was made from some reaches beyond it. */
static ptrdiff_t collect(struct survey *survey, struct region *regions, const struct held **above)
{
    ptrdiff_t found = 0;
    size_t depth = 0;
    for (size_t i = 0; i < survey->slots.count; i++) {
        const struct held *held = slot_number(survey, survey->order[i]);
        struct region now = {0};
        if (!held->prev)
            depth = 0;
        int has_memory = region_of(survey, held, &now.at, &now.bytes);
        if (has_memory < 0)
            return -1;
        if (!has_memory)
            continue;
        for (; depth; depth--) {
            uint64_t start = object_of(above[depth - 1]);
            uint64_t end = start + (1ull << (above[depth - 1]->word0 >> EXTRA_SHIFT & 63));
            if (start <= now.at && now.at + now.bytes <= end)
                break;
        }
        if (depth) {
            const struct held *parent = above[depth - 1];
            now.family = parent->at;
            if (now.at + now.bytes - object_of(parent) > parent->word1)
                return -1;
        }
        if (kind_of(held) == survey->rules->untyped)
            above[depth++] = held;
        regions[found++] = now;
    }
    return found;
}

bool holds_memory(struct survey *survey)
{
    size_t count = survey->slots.count + 1;
    struct region *regions = PyMem_Malloc(count * sizeof *regions);
    const struct held **above = PyMem_Malloc(count * sizeof *above);
    bool holds = false;
    if (!regions || !above) {
        survey->failed = true;
        PyErr_NoMemory();
    } else {
        ptrdiff_t found = collect(survey, regions, above);
        holds = found >= 0 && are_disjoint(regions, (size_t)found);
    }
    PyMem_Free(regions);
    PyMem_Free(above);
    return holds;
}
