/* Map of a frame capability that is not mapped, by a Call: kerneld/objects/frame.py, kerneld/mappings.py. */
#include "mapping_table.h"

enum {
    SPACE_BITS = 28, /* of a frame capability's second word, kerneld/caps.py */
    FRAME_SIZE_SHIFT = RIGHTS_SHIFT + 4,
    FRAME_SIZE = 63,
    FRAME_DEVICE_SHIFT = RIGHTS_SHIFT + 10, /* of a device's memory, which may be registers */
    ATTRIBUTES = 7,
    WORDS = 3,
};

/* message.lookup_extra_caps, of a message with one. */
static bool look_up_extra(struct attempt *a, struct slot *found)
{
    uint64_t cptr = a->tail[(offsetof(struct sel4py_tail, caps)) / 8];
    if (!(a->entry.flags & SEL4PY_ENTRY_INLINE))
        cptr = load(a, a->frame + SEL4PY_IPC_CAPS_OR_BADGES); /* the task's to write: looked at once */
    return look_up(a, cptr, found);
}

static bool perform_map(struct attempt *a, uint64_t space, uint64_t where)
{
    const struct layout *at = a->at;
    const uint64_t address = mapping_address(where), rights = where >> MAPPING_RIGHTS_SHIFT & (READ | WRITE);
    const uint64_t size_bits = (where & MAPPING_SIZE) + PAGE_BITS;
    if (!save_trap(a) || !table_insert(a, space, where, a->cap.address))
        return false;
    STORE(a->cap.address + 8, address >> PAGE_BITS << SPACE_BITS | space >> PAGE_BITS);
    const uint64_t tell[4] = {at->outbox_map, space, address | rights, object_of(a->cap) | size_bits};
    if (!store_words(a, at->outbox_entries, tell, 4))
        return false;
    a->told = 1;
    return complete(a, a->tcb, 0, 0, NULL, 0);
}

enum outcome try_map(struct attempt *a)
{
    const struct layout *at = a->at;
    const struct sel4py_entry *entry = &a->entry;
    struct slot target;
    if (entry->op != SEL4PY_SYSCALL_CALL || entry->info >> 12 != at->label_frame_map || (entry->info >> 7 & 3) != 1 ||
        (entry->info & 127) < WORDS || (entry->info & 127) > SEL4PY_MESSAGE_REGISTERS)
        return SLOW;
    if (a->cap.word1 || a->cap.word0 >> FRAME_DEVICE_SHIFT & 1 || !look_up_extra(a, &target) ||
        type_of(target) != at->cap_vspace)
        return SLOW;
    const uint64_t address = entry->mr[0], space = object_of(target);
    const uint64_t size_bits = a->cap.word0 >> FRAME_SIZE_SHIFT & FRAME_SIZE, size = (uint64_t)1 << size_bits;
    if (size_bits < PAGE_BITS || size_bits > PAGE_BITS + MAPPING_SIZE || address < SEL4PY_MAPPING_BASE ||
        address > SEL4PY_MAPPING_END - size || address & (size - 1))
        return SLOW;
    /* What ends before the last byte may still begin or end inside. */
    uint64_t last;
    if (!table_last_up_to(a, space, address + size - 1, &last) || mapping_address(last) >= address ||
        !ends_before(last, address) || !table_has_room(a, space))
        return SLOW;
    const uint64_t flags = load(a, a->tcb + at->tcb_block_word);
    if (flags & at->takes_memory || load(a, a->tcb + at->tcb_process) != at->process_live || a->outside)
        return SLOW;
    uint64_t rights = rights_of(a->cap) & entry->mr[1] & (READ | WRITE);
    if (!(rights & READ))
        rights = 0;
    a->tells_host = true;
    /* point of no return */
    PERFORM(perform_map(a, space,
                        address | (size_bits - PAGE_BITS) | rights << MAPPING_RIGHTS_SHIFT |
                            (entry->mr[2] & ATTRIBUTES) << MAPPING_ATTRIBUTES_SHIFT));
}
