/* The derivation order: whether it is one, and whether an object's capabilities stand together in it. */
#include "survey.h"

#include <string.h>

bool holds_order_linked(struct survey *survey)
{
    uint64_t mask = survey->rules->address_mask;
    for (size_t i = 0; i < survey->slots.count; i++) {
        const struct held *held = slot_number(survey, i), *near;
        uint64_t next = held->links & mask;
        if (!held->at) /* 0 stands for no slot */
            return false;
        if (next && (!(near = slot_at(survey, next)) || near->prev != held->at))
            return false;
        if (held->prev && (!(near = slot_at(survey, held->prev)) || (near->links & mask) != held->at))
            return false;
    }
    return true;
}

/* Each slot has one neighbour on either side, so a list from a beginning never comes back to where it was. */
bool holds_order_acyclic(struct survey *survey)
{
    size_t count = survey->slots.count, reached = 0;
    uint32_t *order = PyMem_Malloc((count + 1) * sizeof *order);
    if (!order || count > UINT32_MAX) {
        PyMem_Free(order);
        survey->failed = true;
        PyErr_NoMemory();
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const struct held *held = slot_number(survey, i);
        while (!slot_number(survey, i)->prev && held && reached < count) {
            order[reached++] = (uint32_t)(held - slot_number(survey, 0));
            held = slot_at(survey, held->links & survey->rules->address_mask);
        }
    }
    if (reached != count) {
        PyMem_Free(order);
        return false;
    }
    survey->order = order;
    return true;
}

bool holds_object_together(struct survey *survey)
{
    struct table seen = {0};
    uint64_t last[2] = {0};
    bool holds = true;
    for (size_t i = 0; holds && i < survey->slots.count; i++) {
        const struct held *held = slot_number(survey, survey->order[i]);
        const struct kind *kind = &survey->kinds[kind_of(held)];
        uint64_t identity[2] = {held->word0 & kind->identity, kind->by_number ? held->word1 : 0};
        if (!kind->identity) {
            memset(last, 0, sizeof last);
        } else if (memcmp(identity, last, sizeof last)) {
            holds = !table_find(&seen, identity[0], identity[1], 0);
            if (holds && table_add(&seen, identity[0], identity[1], 0, 0) < 0) {
                survey->failed = true;
                holds = false;
            }
            memcpy(last, identity, sizeof last);
        }
    }
    PyMem_Free(seen.entries);
    return holds;
}
