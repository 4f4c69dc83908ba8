/* Predicates that look at each slot by itself, and at tables of the kernel's. */
#include "survey.h"

#include <string.h>

/* Each slot, by `held`. */
#define FOR_EACH_SLOT(survey, held)                                                                                   \
    for (const struct held *held = (survey)->slots.items, *end_ = held + (survey)->slots.count; held < end_; held++)

int region_of(const struct survey *survey, const struct held *held, uint64_t *at, uint64_t *bytes)
{
    const struct kind *kind = &survey->kinds[kind_of(held)];
    *at = object_of(held);
    *bytes = kind->fixed;
    if (kind_of(held) == survey->rules->zombie)
        *bytes = survey->kinds[held->word0 >> ZOMBIE_OF_SHIFT & 3].left;
    if (*bytes)
        return 1;
    if (!kind->base)
        return 0;
    uint64_t bits = held->word0 >> kind->shift & 63;
    if (bits > 48)
        return -1;
    *bytes = kind->base << bits;
    return 1;
}

bool holds_cap_type(struct survey *survey)
{
    FOR_EACH_SLOT(survey, held)
        if (kind_of(held) > survey->rules->last_type)
            return false;
    return true;
}

/* Whether so many bytes there are all among RAM's from `user_base` on; for a device's, whether none of them is. */
static bool is_where_it_belongs(const struct rules *rules, uint64_t at, uint64_t bytes, bool on_device)
{
    if (on_device)
        return at >= rules->ram_bytes || (bytes <= rules->user_base && at <= rules->user_base - bytes);
    return at >= rules->user_base && bytes <= rules->ram_bytes && at <= rules->ram_bytes - bytes;
}

bool holds_cap_object(struct survey *survey)
{
    FOR_EACH_SLOT(survey, held) {
        uint64_t at, bytes, device = survey->kinds[kind_of(held)].device;
        int has_memory = region_of(survey, held, &at, &bytes);
        if (has_memory < 0)
            return false;
        if (!has_memory)
            continue;
        if (at % bytes && kind_of(held) != survey->rules->zombie)
            return false;
        bool on_device = device && held->word0 >> device & 1;
        if (!is_where_it_belongs(survey->rules, at, bytes, on_device))
            return false;
    }
    return true;
}

bool holds_free_index(struct survey *survey)
{
    FOR_EACH_SLOT(survey, held)
        if (kind_of(held) == survey->rules->untyped && held->word1 > 1ull << (held->word0 >> EXTRA_SHIFT & 63))
            return false;
    return true;
}

bool holds_bound(struct survey *survey)
{
    const struct rules *rules = survey->rules;
    FOR_EACH_SLOT(survey, held) {
        if (!(held->word0 & rules->bound) || !survey->kinds[kind_of(held)].bindable)
            continue;
        uint64_t owner = held->owner, client = owner + rules->channel_client;
        bool listens = table_find(&survey->object_at, rules->tcb, owner, 0) &&
                       held->at == owner + rules->listen_slot * rules->slot_bytes;
        bool connected = table_find(&survey->object_at, rules->channel, owner, 0) && inside(survey, client, 8) &&
                         client % 8 == 0 && word_at(survey, client) & rules->channel_mask;
        if (!listens && !connected)
            return false;
    }
    return true;
}

bool holds_interrupts(struct survey *survey)
{
    const struct rules *rules = survey->rules;
    uint64_t issued = 0;
    if (rules->irqs > 64)
        return false;
    FOR_EACH_SLOT(survey, held)
        if (kind_of(held) == rules->irq_handler && held->word1 < rules->irqs)
            issued |= 1ull << held->word1;
    for (uint64_t line = 0; line < rules->irqs; line++) {
        bool is_issued = issued >> line & 1;
        uint64_t state = word_at(survey, rules->irq_states + 8 * line) & ~rules->irq_flags;
        uint64_t kind = word_at(survey, rules->irq_slots + rules->slot_bytes * line) >> TYPE_SHIFT;
        if (state != (is_issued ? rules->irq_signal : rules->irq_inactive))
            return false;
        if (kind != rules->null && (kind != rules->notification || !is_issued))
            return false;
    }
    return true;
}

bool holds_io_ports(struct survey *survey)
{
    const struct rules *rules = survey->rules;
    enum { PORTS = 1 << 16 };
    uint8_t covered[PORTS / 8] = {0};
    if (rules->io_ports != PORTS)
        return false;
    FOR_EACH_SLOT(survey, held) {
        if (kind_of(held) != rules->io_port)
            continue;
        for (uint64_t port = held->word1 >> 16; port <= (held->word1 & (PORTS - 1)); port++)
            covered[port / 8] |= (uint8_t)(1 << port % 8);
    }
    return !memcmp(covered, survey->ram->base + rules->io_port_bitmap, sizeof covered);
}

/* What a death notice would find the capability's object by; 0 if it cannot watch it. kerneld/death_notices.py */
static uint64_t key_of(const struct survey *survey, const struct held *held)
{
    const struct kind *kind = &survey->kinds[kind_of(held)];
    uint64_t at, bytes;
    return kind->watchable && region_of(survey, held, &at, &bytes) > 0 ? held->word0 & kind->identity : 0;
}

/* mdb.has_children, of an endpoint capability. */
static bool has_copies(const struct survey *survey, const struct held *held)
{
    const struct rules *rules = survey->rules;
    const struct held *child = slot_at(survey, held->links & rules->address_mask);
    if (kind_of(held) != rules->endpoint || !(held->links & rules->revocable) || !child)
        return false;
    if ((child->word0 ^ held->word0) & survey->kinds[rules->endpoint].identity)
        return false;
    return !held->word1 || (child->word1 == held->word1 && !(child->links & rules->first_badged));
}

static bool is_in(const struct table *table, uint64_t key) { return table_find(table, key, 0, 0); }

static bool add_once(struct survey *survey, struct table *table, uint64_t key)
{
    if (!key || is_in(table, key) || table_add(table, key, 0, 0, 0) == 0)
        return true;
    survey->failed = true;
    return false;
}

/* What notices watch. */
static bool find_watched(struct survey *survey, struct table *watched)
{
    const struct object *object = survey->objects.items;
    for (size_t i = 0; i < survey->objects.count; i++, object++) {
        const uint64_t at = object->at + survey->rules->notice_key;
        if (object->kind != survey->rules->death_notice)
            continue;
        if (at % 8 || !inside(survey, at, 8) || !add_once(survey, watched, word_at(survey, at)))
            return false;
    }
    return true;
}

/* Whether all of it is alive. */
static bool are_alive(struct survey *survey, const struct table *watched, struct table *alive)
{
    FOR_EACH_SLOT(survey, held) {
        const uint64_t key = key_of(survey, held);
        if ((is_in(watched, key) && !add_once(survey, alive, key)) ||
            (held->links & survey->rules->watched && is_in(watched, held->at) && !add_once(survey, alive, held->at)))
            return false;
    }
    return alive->count == watched->count;
}

/* While rings are told, Python looks which of them watch still. */
static bool holds_marks(const struct survey *survey, const struct table *watched)
{
    FOR_EACH_SLOT(survey, held)
        if (held->links & survey->rules->watched &&
            (word_at(survey, survey->rules->telling) || !has_copies(survey, held) || !is_in(watched, held->at)))
            return false;
    return true;
}

bool holds_notice_target(struct survey *survey)
{
    struct table watched = {0}, alive = {0};
    const bool holds =
        find_watched(survey, &watched) && holds_marks(survey, &watched) && are_alive(survey, &watched, &alive);
    PyMem_Free(watched.entries);
    PyMem_Free(alive.entries);
    return holds;
}
