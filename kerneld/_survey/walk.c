/* From the kernel's record to every slot and object: kerneld/survey.py, step by step. */
#include "survey.h"

#include <stdio.h>

static int damage(struct survey *survey, const char *format, uint64_t first, uint64_t second)
{
    char line[128];
    snprintf(line, sizeof line, format, (unsigned long long)first, (unsigned long long)second);
    PyObject *text = PyUnicode_FromString(line);
    int failed = text ? PyList_Append(survey->damage, text) : -1;
    Py_XDECREF(text);
    return failed;
}

/* Note slots to be read: `count` from `at` on. */
static int add(struct survey *survey, uint64_t at, uint64_t count, uint64_t owner)
{
    uint64_t slot = survey->rules->slot_bytes;
    if (table_find(&survey->ranges, at, count, owner) || (count == 1 && !owner && slot_at(survey, at)))
        return 0;
    if (at % slot || count > survey->ram->size / slot || !inside(survey, at, count * slot))
        return damage(survey, "0x%llx cannot be the address of %llu slots", at, count);
    struct range *range = list_add(&survey->pending, sizeof *range);
    if (!range)
        return -1;
    *range = (struct range){at, count, owner};
    return table_add(&survey->ranges, at, count, owner, 0);
}

static int add_thread(struct survey *survey, uint64_t at)
{
    return at ? add(survey, at, survey->rules->tcb_slots, at) : 0;
}

static int follow_threads(struct survey *survey, uint64_t kind, uint64_t object)
{
    for (size_t i = 0; i < survey->reference_count; i++) {
        const struct reference *reference = &survey->references[i];
        uint64_t at = object + reference->offset;
        if (reference->kind != kind)
            continue;
        if (at % 8 || !inside(survey, at, 8))
            return damage(survey, "an object's record at 0x%llx is outside of RAM", object, 0);
        if (add_thread(survey, word_at(survey, at) & reference->mask) < 0)
            return -1;
    }
    return 0;
}

static int add_inside(struct survey *survey, const struct held *held)
{
    const struct rules *rules = survey->rules;
    uint64_t kind = kind_of(held), object = object_of(held);
    uint64_t most = 1ull << 40, radix = held->word0 >> EXTRA_SHIFT & 63;
    if (kind == rules->cnode)
        return add(survey, object, 1ull << (radix < 40 ? radix : 40), object);
    if (kind == rules->zombie)
        return add(survey, object, held->word1 < most ? held->word1 : most, object);
    if (kind == rules->tcb)
        return add_thread(survey, object);
    return survey->kinds[kind].inside ? add(survey, object, survey->kinds[kind].inside, object) : 0;
}

static int follow(struct survey *survey, const struct held *held)
{
    uint64_t kind = kind_of(held), object = object_of(held), next = held->links & survey->rules->address_mask;
    if (!table_find(&survey->object_at, kind, object, 0)) {
        struct object *found = list_add(&survey->objects, sizeof *found);
        if (!found || table_add(&survey->object_at, kind, object, 0, 0) < 0)
            return -1;
        *found = (struct object){kind, object, held->word0, held->word1};
    }
    if ((held->prev && add(survey, held->prev, 1, 0) < 0) || (next && add(survey, next, 1, 0) < 0))
        return -1;
    return add_inside(survey, held) < 0 ? -1 : follow_threads(survey, kind, object);
}

static int read_slot(struct survey *survey, uint64_t at, uint64_t owner)
{
    struct held held = {at, word_at(survey, at),      word_at(survey, at + 8), word_at(survey, at + 16),
                        word_at(survey, at + 24), owner};
    if (!held.word0) {
        if (held.word1 || held.prev || held.links) {
            uint64_t *stray = list_add(&survey->strays, sizeof *stray);
            if (!stray)
                return -1;
            *stray = at;
        }
        return 0;
    }
    struct held *known = slot_at(survey, at);
    if (known) {
        if (!known->owner)
            known->owner = owner;
        return 0;
    }
    struct held *found = list_add(&survey->slots, sizeof *found);
    if (!found || table_add(&survey->slot_at, at, 0, 0, survey->slots.count - 1) < 0)
        return -1;
    *found = held;
    return follow(survey, &held);
}

int survey_walk(struct survey *survey, const struct range *starts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (add(survey, starts[i].at, starts[i].count, starts[i].owner) < 0)
            return -1;
    while (survey->pending.count) {
        struct range range = ((struct range *)survey->pending.items)[--survey->pending.count];
        for (uint64_t i = 0; i < range.count; i++)
            if (read_slot(survey, range.at + i * survey->rules->slot_bytes, range.owner) < 0)
                return -1;
    }
    return 0;
}
