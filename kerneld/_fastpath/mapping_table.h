/* The table of a space's mappings, as the fast path reads it and adds to it. mapping_table.c */
#ifndef SEL4PY_FASTPATH_MAPPING_TABLE_H
#define SEL4PY_FASTPATH_MAPPING_TABLE_H

#include "attempt.h"

enum {
    DEPTH_HIGH = 64, /* more than a balanced tree has in a RAM of 2^40 bytes: what is deeper is damaged */
    PAGE_BITS = 12,
    MAPPING_SIZE = 31, /* of a node's first word: size bits - PAGE_BITS */
    MAPPING_RIGHTS_SHIFT = 5,
    MAPPING_ATTRIBUTES_SHIFT = 7,
};

static inline uint64_t mapping_address(uint64_t where) { return where >> PAGE_BITS << PAGE_BITS; }

/* Whether a mapping with this first word (0: none) ends at the address or before it, which it does not begin behind. */
static inline bool ends_before(uint64_t where, uint64_t address)
{
    return !where || (address - mapping_address(where)) >> ((where & MAPPING_SIZE) + PAGE_BITS);
}

/* The first word of the mapping with the highest address up to this one; 0 for none. False where the tree is damaged. */
bool table_last_up_to(struct attempt *a, uint64_t space, uint64_t address, uint64_t *where);
bool table_has_room(struct attempt *a, uint64_t space);

/* Within a transaction. The caller has looked that there is room, and that nothing overlaps. */
bool table_insert(struct attempt *a, uint64_t space, uint64_t where, uint64_t slot);

#endif
