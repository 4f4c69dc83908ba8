/* The table of a space's mappings (kerneld/mapping_table.py): a look-up, and a mapping that is added to its balanced tree
 * (kerneld/balanced_tree.py), of which this is a copy in effect.
 */
#include "mapping_table.h"

enum { HEIGHT_SHIFT = 40, NODE_BYTES = 32 };

bool table_last_up_to(struct attempt *a, uint64_t space, uint64_t address, uint64_t *where)
{
    const struct layout *at = a->at;
    uint64_t node = load(a, space + at->space_root);
    *where = 0;
    for (unsigned depth = 0; node; depth++) {
        if (depth == DEPTH_HIGH || a->outside)
            return false;
        const uint64_t here = load(a, node);
        if (mapping_address(here) <= address) {
            *where = here;
            node = load(a, node + at->node_higher);
        } else {
            node = load(a, node + at->node_lower) & at->node_mask;
        }
    }
    return !a->outside;
}

bool table_has_room(struct attempt *a, uint64_t space)
{
    const struct layout *at = a->at;
    const uint64_t bits = load(a, space + at->space_size_bits);
    if (bits > 63 || load(a, space + at->space_limited))
        return false;
    uint64_t bytes = ((uint64_t)1 << bits) / at->table_share;
    if (bytes < at->table_min_bytes)
        bytes = at->table_min_bytes;
    return load(a, space + at->space_count) < (bytes - at->space_nodes) / NODE_BYTES;
}

/* --- the tree --------------------------------------------------------------------------------------------------------- */

/* From the root down: a node, and by which of its links it is left. */
struct path {
    uint64_t node[DEPTH_HIGH];
    bool higher[DEPTH_HIGH];
    unsigned length;
};

static uint64_t lower(struct attempt *a, uint64_t node) { return load(a, node + a->at->node_lower) & a->at->node_mask; }

static uint64_t higher(struct attempt *a, uint64_t node) { return load(a, node + a->at->node_higher); }

static uint64_t child(struct attempt *a, uint64_t node, bool is_higher)
{
    return is_higher ? higher(a, node) : lower(a, node);
}

static uint64_t height(struct attempt *a, uint64_t node)
{
    return node ? load(a, node + a->at->node_lower) >> HEIGHT_SHIFT : 0;
}

static bool set_child(struct attempt *a, uint64_t node, bool is_higher, uint64_t to)
{
    if (is_higher)
        return store(a, node + a->at->node_higher, to);
    const uint64_t before = load(a, node + a->at->node_lower);
    return store(a, node + a->at->node_lower, (before & ~a->at->node_mask) | to);
}

static uint64_t measured(struct attempt *a, uint64_t node)
{
    const uint64_t left = height(a, lower(a, node)), right = height(a, higher(a, node));
    return 1 + (left > right ? left : right);
}

static bool measure(struct attempt *a, uint64_t node)
{
    return store(a, node + a->at->node_lower, measured(a, node) << HEIGHT_SHIFT | lower(a, node));
}

/* Puts a node's child into its place, and the node below that. */
static bool rotate(struct attempt *a, uint64_t node, bool is_higher, uint64_t *top)
{
    *top = child(a, node, is_higher);
    return set_child(a, node, is_higher, child(a, *top, !is_higher)) && set_child(a, *top, !is_higher, node) &&
           measure(a, node) && measure(a, *top);
}

/* The heights of a node's children differ by two. */
static bool balance(struct attempt *a, uint64_t node, uint64_t *top)
{
    const bool is_higher = height(a, lower(a, node)) <= height(a, higher(a, node));
    const uint64_t heavy = child(a, node, is_higher);
    if (height(a, child(a, heavy, !is_higher)) > height(a, child(a, heavy, is_higher))) {
        uint64_t turned;
        if (!rotate(a, heavy, !is_higher, &turned) || !set_child(a, node, is_higher, turned))
            return false;
    }
    return rotate(a, node, is_higher, top);
}

/* Hangs `below` at the end of the path, and balances upwards as far as heights change. */
static bool retrace(struct attempt *a, uint64_t space, struct path *path, uint64_t below)
{
    const struct layout *at = a->at;
    while (path->length) {
        const uint64_t node = path->node[--path->length], before = height(a, node);
        if (!set_child(a, node, path->higher[path->length], below))
            return false;
        const uint64_t left = height(a, lower(a, node)), right = height(a, higher(a, node));
        below = node;
        if (left > right + 1 || right > left + 1) {
            if (!balance(a, node, &below))
                return false;
            continue;
        }
        if (!measure(a, node))
            return false;
        if (height(a, node) == before)
            return true;
    }
    return store(a, space + at->space_root, below);
}

static bool take_node(struct attempt *a, uint64_t space, uint64_t *node)
{
    const struct layout *at = a->at;
    *node = load(a, space + at->space_free_nodes);
    if (*node) {
        STORE(space + at->space_free_nodes, higher(a, *node));
        return store(a, *node + at->node_higher, 0);
    }
    const uint64_t used = load(a, space + at->space_nodes_used);
    *node = space + at->space_nodes + used * NODE_BYTES;
    return store(a, space + at->space_nodes_used, used + 1);
}

bool table_insert(struct attempt *a, uint64_t space, uint64_t where, uint64_t slot)
{
    const struct layout *at = a->at;
    struct path path = {.length = 0};
    for (uint64_t at_node = load(a, space + at->space_root); at_node && path.length < DEPTH_HIGH; path.length++) {
        const bool is_higher = mapping_address(where) > mapping_address(load(a, at_node));
        path.node[path.length] = at_node;
        path.higher[path.length] = is_higher;
        at_node = child(a, at_node, is_higher);
    }
    uint64_t node;
    if (!take_node(a, space, &node))
        return false;
    STORE(node, where);
    STORE(node + at->node_slot, slot);
    STORE(space + at->space_count, load(a, space + at->space_count) + 1);
    STORE(node + at->node_lower, (uint64_t)1 << HEIGHT_SHIFT);
    return retrace(a, space, &path, node);
}
