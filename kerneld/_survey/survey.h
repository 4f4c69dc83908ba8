/* A look at all of RAM, as kerneld/survey.py has it, and what of kerneld/capability_invariants.py goes by every slot.
 *
 * Rules. RAM may hold anything: every address is checked before it is followed, and nothing is stored there. What the
 * walk finds, and in which order, is what kerneld/survey.py finds. A predicate may be said to hold only where the one in
 * Python finds nothing; where it is not said, the one in Python decides. Memory is this process's own; there is an
 * exception set wherever a function says that it has failed.
 */
#ifndef SEL4PY_SURVEY_H
#define SEL4PY_SURVEY_H

#include "api.h"

#include <stddef.h>

#define RULES(X)                                                                                                      \
    X(slot_bytes) X(address_mask) X(user_base) X(ram_bytes) X(tcb_slots) X(irq_slots) X(irq_states) X(irqs) X(irq_flags)           \
    X(irq_signal) X(irq_inactive) X(io_port_bitmap) X(io_ports) X(listen_slot) X(channel_client) X(channel_mask)      \
    X(notice_key) X(null) X(untyped) X(notification) X(cnode) X(tcb) X(irq_handler) X(io_port) X(zombie) X(channel)   \
    X(death_notice) X(last_type) X(bound) X(watched)                       \
    X(revocable) X(first_badged) X(endpoint) X(telling)

/* What is to be known of a capability type; kerneld/fast_survey.py fills it in. */
#define KIND(X)                                                                                                       \
    X(identity)  /* the bits of word 0 that name the object; 0: no two capabilities ever name the same */             \
    X(by_number) /* word 1 names it as well */                                                                        \
    X(fixed)     /* bytes of the object; 0: see the next two, or it has no memory */                                  \
    X(base) X(shift) /* the object has base << (word 0 >> shift & 63) bytes */                                        \
    X(device)    /* this bit of word 0: its memory is a device's */                                                   \
    X(inside)    /* slots at the start of the object */                                                               \
    X(watchable) /* a death notice can watch it */                                                                    \
    X(bindable)  /* a channel or a thread that listens can hang on it */                                              \
    X(left)      /* of the zombie of this number: bytes of its object, 0 for a CNode's */

#define FIELD(name) uint64_t name;
struct rules {
    RULES(FIELD)
};
struct kind {
    KIND(FIELD)
};
#undef FIELD

enum { KINDS = 32, TYPE_SHIFT = 59, EXTRA_SHIFT = 40, ZOMBIE_OF_SHIFT = EXTRA_SHIFT + 6 };
static const uint64_t OBJECT_MASK = (1ull << EXTRA_SHIFT) - 1;

struct held { /* a slot that is not empty */
    uint64_t at, word0, word1, prev, links, owner;
};

struct object { /* one that is alive: the first capability that was found to name it */
    uint64_t kind, at, word0, word1;
};

struct range {
    uint64_t at, count, owner;
};

struct reference { /* where an object's record names a thread */
    uint64_t kind, offset, mask;
};

/* A set of triples, each with a number. table.c */
struct entry {
    uint64_t a, b, c, value;
    bool used;
};
struct table {
    struct entry *entries;
    size_t mask, count;
};
/* The entry of a triple; NULL if there is none. */
struct entry *table_find(const struct table *table, uint64_t a, uint64_t b, uint64_t c);
/* Adds a triple that is not there. 0, or -1: no memory. */
int table_add(struct table *table, uint64_t a, uint64_t b, uint64_t c, uint64_t value);

struct list { /* of items of one size */
    void *items;
    size_t count, room;
};
/* Room for one item more, counted; NULL: no memory. */
void *list_add(struct list *list, size_t bytes);

struct survey {
    const RamObject *ram;
    const struct rules *rules;
    const struct kind *kinds;
    const struct reference *references;
    size_t reference_count;
    struct list slots, objects, pending, strays; /* of held, object, range, uint64_t */
    struct table slot_at, object_at, ranges;
    PyObject *damage;
    /* Once the order is known to be sound: slots' numbers in it. order.c */
    uint32_t *order;
    bool failed; /* an exception is set */
};

static inline struct held *slot_number(const struct survey *survey, size_t number)
{
    return (struct held *)survey->slots.items + number;
}

static inline uint64_t kind_of(const struct held *held)
{
    return held->word0 >> TYPE_SHIFT;
}

static inline uint64_t object_of(const struct held *held)
{
    return held->word0 & OBJECT_MASK;
}

/* Whether [at, at + bytes) lies inside RAM. */
static inline bool inside(const struct survey *survey, uint64_t at, uint64_t bytes)
{
    return bytes <= survey->ram->size && at <= survey->ram->size - bytes;
}

/* A word that is inside, and aligned. */
static inline uint64_t word_at(const struct survey *survey, uint64_t at)
{
    return *(const volatile uint64_t *)(survey->ram->base + at);
}

/* The slot at an address; NULL if it is empty, or was not found. */
static inline struct held *slot_at(const struct survey *survey, uint64_t at)
{
    const struct entry *found = table_find(&survey->slot_at, at, 0, 0);
    return found ? slot_number(survey, found->value) : NULL;
}

/* Finds every slot and object that these lead to. 0, or -1 with an exception. walk.c */
int survey_walk(struct survey *survey, const struct range *starts, size_t count);

/* Whether a predicate of kerneld/capability_invariants.py (bound: channel_invariants.py; notice-target:
 * notice_invariants.py) is known to hold. */
typedef bool holds(struct survey *survey);
holds holds_cap_type, holds_cap_object, holds_free_index, holds_bound, holds_interrupts, holds_io_ports,
    holds_notice_target;                               /* each.c */
holds holds_order_linked, holds_order_acyclic, holds_object_together; /* order.c; each stands on the one before */
holds holds_memory;                                    /* memory.c: inside-parent and disjoint; stands on the order */

/* The memory that the capability's object fills: 1; 0: it has none; -1: its size cannot be. each.c */
int region_of(const struct survey *survey, const struct held *held, uint64_t *at, uint64_t *bytes);

#endif
