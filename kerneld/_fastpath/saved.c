/* A thread's system call in its record: saved when it is taken, completed when it ends. */
#include "attempt.h"

/* kernel.take: the saved system call, as hw.ring.take_into writes it. */
bool save_trap(struct attempt *a)
{
    const struct sel4py_entry *entry = &a->entry;
    const uint64_t words[8] = {(uint64_t)(int64_t)entry->op, entry->flags, entry->cptr,  entry->info, entry->mr[0],
                               entry->mr[1],                 entry->mr[2], entry->mr[3]};
    const uint64_t trap = a->tcb + a->at->tcb_trap;
    if (!store_words(a, trap, words, 8) || !store_words(a, a->tcb + a->at->tcb_tail, a->tail, 8))
        return false;
    STORE(trap + 64, entry->tag);
    STORE(a->tcb + a->at->tcb_consumed, load(a, a->tcb + a->at->tcb_consumed) + 1);
    return true;
}

/* completion.complete, and what settle tells of it. `words` counts those of the message that are not zeroed. */
static bool complete_as(struct attempt *a, uint64_t tcb, uint64_t status, uint64_t badge, uint64_t info,
                        const uint64_t *mr, unsigned words)
{
    const uint64_t told = tcb + a->at->tcb_told;
    uint64_t message[7] = {status, badge, info, 0, 0, 0, 0};
    for (unsigned i = 0; i < words; i++)
        message[3 + i] = mr[i];
    if (!store_words(a, told, message, 7))
        return false;
    STORE(told + 56, load(a, tcb + a->at->tcb_trap + 64));
    STORE(tcb + a->at->tcb_told_area, 0);
    STORE(tcb + a->at->tcb_produced, load(a, tcb + a->at->tcb_produced) + 1);
    uint64_t flags = load(a, tcb + a->at->tcb_block_word);
    const uint64_t gone = a->at->in_trap | (a->took_memory ? a->at->takes_memory : 0);
    STORE(tcb + a->at->tcb_block_word, (flags & ~gone) | a->at->told_pending);
    const uint64_t tell[4] = {a->at->outbox_deliver, tcb, a->took_memory, 0};
    if (!store_words(a, a->at->outbox_entries + a->told * sizeof tell, tell, 4))
        return false;
    STORE(a->at->outbox_length, a->told + 1);
    return true;
}

bool complete(struct attempt *a, uint64_t tcb, uint64_t badge, uint64_t info, const uint64_t *mr, unsigned words)
{
    return complete_as(a, tcb, SEL4PY_STATUS_DONE, badge, info, mr, words);
}

bool complete_unchanged(struct attempt *a, uint64_t tcb, uint64_t status, uint64_t badge)
{
    const uint64_t trap = tcb + a->at->tcb_trap;
    const uint64_t info = load(a, trap + 24);
    const uint64_t mr[4] = {load(a, trap + 32), load(a, trap + 40), load(a, trap + 48), load(a, trap + 56)};
    return complete_as(a, tcb, status, badge, info, mr, 4);
}
