/* CNode.Revoke of an endpoint capability whose descendants are copies that nothing hangs on but channels: kerneld/deletion.py.
 * None of them is the last to its object, since the capability that is revoked stays.
 */
#include "attempt.h"

enum {
    MOST = 60, /* descendants: less than a transaction of the slow path deletes */
    WORDS = 2,
};

static bool is_bound(struct attempt *a, struct slot slot) { return slot.word0 & a->at->slot_bound; }

/* The word with the next slot's address and the flags. */
static uint64_t links_of(struct attempt *a, uint64_t slot) { return load(a, slot + a->at->slot_mdb); }

/* mdb.is_mdb_parent_of, of endpoint capabilities. */
static bool is_child(struct attempt *a, struct slot parent, struct slot child)
{
    return type_of(child) == a->at->cap_endpoint && object_of(child) == object_of(parent) &&
           (!parent.word1 || (child.word1 == parent.word1 && !(links_of(a, child.address) & a->at->slot_first_badged)));
}

/* channels.unlink, but for the slot, which is emptied. */
static bool unlink_channel(struct attempt *a, uint64_t channel, uint64_t endpoint)
{
    const struct layout *at = a->at;
    const uint64_t client = load(a, channel + at->channel_client);
    const uint64_t holders[2] = {client + at->tcb_channels, endpoint + at->endpoint_channels};
    const uint64_t prev[2] = {at->channel_client_prev, at->channel_target_prev};
    const uint64_t next[2] = {at->channel_client_next, at->channel_target_next};
    for (unsigned i = 0; i < 2; i++) {
        const uint64_t before = load(a, channel + prev[i]), behind = load(a, channel + next[i]);
        uint64_t first = load(a, holders[i]);
        if (before) {
            STORE(before + next[i], behind);
            STORE(channel + prev[i], 0);
        } else {
            first = (first & ~at->channel_mask) | behind;
        }
        if (behind) {
            STORE(behind + prev[i], before);
            STORE(channel + next[i], 0);
        }
        STORE(holders[i], first - 1); /* the count is in the low bits */
    }
    STORE(channel + at->channel_client, 0);
    const uint64_t tell[4] = {at->outbox_channel_gone, channel, 0, 0};
    if (!store_words(a, at->outbox_entries + a->told * sizeof tell, tell, 4))
        return false;
    a->told++;
    return true;
}

/* mdb.empty, of the slot behind the parent's. */
static bool empty(struct attempt *a, uint64_t parent, uint64_t slot)
{
    static const uint64_t nothing[4] = {0};
    const struct layout *at = a->at;
    const uint64_t links = links_of(a, slot), following = links & at->slot_mask;
    STORE(parent + at->slot_mdb, (links_of(a, parent) & ~at->slot_mask) | following);
    if (following) {
        STORE(following + at->slot_prev, parent);
        if (links & at->slot_first_badged)
            STORE(following + at->slot_mdb, links_of(a, following) | at->slot_first_badged);
    }
    return store_words(a, slot, nothing, 4);
}

/* Whether the channel whose slot this is can be severed here. A bound slot that is no channel's is a listening thread's. */
static bool is_severable(struct attempt *a, struct slot slot)
{
    const struct layout *at = a->at;
    const uint64_t client = load(a, slot.address + at->channel_client);
    return slot.address % at->tcb_size != at->tcb_listen && client && load(a, client + at->tcb_channels) & ~at->channel_mask &&
           load(a, object_of(slot) + at->endpoint_channels) & ~at->channel_mask;
}

/* Deletes one that is_simple(), the first behind the parent. */
static bool delete_first(struct attempt *a, struct slot parent, struct slot child)
{
    if (is_bound(a, child) && !unlink_channel(a, child.address, object_of(parent)))
        return false;
    if (!empty(a, parent.address, child.address))
        return false;
    deletions_add(a->ram, a->tcb, child);
    return true;
}

static bool perform_revoke(struct attempt *a, struct slot parent, const struct slot *children, unsigned count)
{
    if (!save_trap(a))
        return false;
    for (unsigned i = 0; i < count; i++)
        if (!delete_first(a, parent, children[i]))
            return false;
    a->took_memory = true;
    return complete(a, a->tcb, 0, 0, NULL, 0);
}

/* Whether nothing is to be told of but a channel's end. Who watches the copies of a capability is told by the slow path. */
static bool is_simple(struct attempt *a, struct slot child)
{
    return (!is_bound(a, child) || is_severable(a, child)) && !(links_of(a, child.address) & a->at->slot_watched);
}

enum outcome try_revoke(struct attempt *a)
{
    const struct layout *at = a->at;
    const struct sel4py_entry *entry = &a->entry;
    struct slot parent, children[MOST];
    if (entry->op != SEL4PY_SYSCALL_CALL || entry->info >> 12 != at->label_cnode_revoke || (entry->info & 127) < WORDS)
        return SLOW;
    const uint64_t depth = entry->mr[1];
    if (depth < 1 || depth > 64 || !resolve(a, a->cap, entry->mr[0], (unsigned)depth, &parent) || type_of(parent) != at->cap_endpoint)
        return SLOW;
    const uint64_t links = links_of(a, parent.address);
    if (links & at->slot_watched)
        return SLOW;
    unsigned count = 0;
    for (uint64_t next = links & at->slot_mask; next && links & at->slot_revocable; next = links_of(a, next) & at->slot_mask) {
        struct slot child = load_slot(a, next);
        if (!is_child(a, parent, child))
            break;
        if (count == MOST || !is_simple(a, child))
            return SLOW;
        children[count++] = child;
    }
    if (load(a, a->tcb + at->tcb_process) != at->process_live || a->outside)
        return SLOW;
    a->tells_host = true;
    /* point of no return */
    PERFORM(perform_revoke(a, parent, children, count));
}

/* delete_copies(ram, layout, parent, thread, limit) -> how many. In an open transaction: deletes the first descendants of the
 * endpoint capability in the slot `parent`, as long as nothing but channels hangs on them, for the TCB `thread`. */
PyObject *fast_delete_copies(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    struct attempt attempt = {0}, *a = &attempt;
    uint64_t address, limit, done = 0;
    if (count != 5) {
        PyErr_SetString(PyExc_TypeError, "delete_copies(ram, layout, parent, thread, limit)");
        return NULL;
    }
    a->ram = fast_parse(args[0], args[1], &a->at);
    if (!a->ram || !as_u64(args[2], &address) || !as_u64(args[3], &a->tcb) || !as_u64(args[4], &limit))
        return NULL;
    const struct slot parent = load_slot(a, address);
    a->told = load(a, a->at->outbox_length);
    const uint64_t told = a->told;
    while (done < limit && type_of(parent) == a->at->cap_endpoint) {
        const uint64_t links = links_of(a, address), next = links & a->at->slot_mask;
        if (!next || !(links & a->at->slot_revocable) || links & a->at->slot_watched)
            break;
        const struct slot child = load_slot(a, next);
        if (!is_child(a, parent, child) || !is_simple(a, child) || a->outside)
            break;
        if (!delete_first(a, parent, child))
            return NULL;
        done++;
    }
    if (a->told != told && !store(a, a->at->outbox_length, a->told))
        return NULL;
    return PyLong_FromUnsignedLongLong(done);
}
