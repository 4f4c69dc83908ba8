/* Signals: those that wake nobody, and those that the thread hears of that the notification is bound to: it waits for a message,
 * or looks at its channels, and is told that something has come to the kernel. They come from a thread, or from a device's line.
 */
#include "attempt.h"

/* What a signal does. */
struct effect {
    uint64_t signals;                /* that there are already */
    uint64_t bound, endpoint, reply; /* who waits for a message, where, by what; or 0 */
    uint64_t hinted;                 /* whom listening.hint tells; or 0 */
};

/* False where it is for the slow path. The notification is `a->cap`'s. */
static bool look_at_waiter(struct attempt *a, struct effect *effect, uint64_t bound)
{
    const struct layout *at = a->at;
    const uint64_t flags = load(a, bound + at->tcb_block_word);
    effect->bound = bound;
    effect->endpoint = load(a, bound + at->tcb_blocked_on);
    effect->reply = load(a, bound + at->tcb_reply);
    if (!runs(a, bound) || load(a, bound + at->tcb_fault_label) ||
        (flags & (at->in_trap | at->told_pending)) != at->in_trap)
        return false;
    (void)load(a, effect->endpoint + at->endpoint_tail); /* it and the reply object lie in RAM */
    (void)load(a, effect->reply + at->reply_tcb);
    return effect->endpoint != 0;
}

static bool look_at_signal(struct attempt *a, struct effect *effect)
{
    const struct layout *at = a->at;
    const uint64_t notification = object_of(a->cap), state = load(a, notification + at->notification_state);
    *effect = (struct effect){0};
    if (state == at->notification_active) {
        effect->signals = load(a, notification + at->notification_signals);
        return true;
    }
    if (state != at->notification_idle)
        return false;
    const uint64_t bound = load(a, notification + at->notification_bound_tcb);
    if (bound && load(a, bound + at->tcb_state) == at->state_receive)
        return look_at_waiter(a, effect, bound);
    if (bound && load(a, bound + at->tcb_listener)) {
        if (type_of(load_slot(a, bound + at->tcb_listen)) != at->cap_endpoint)
            return false;
        effect->hinted = bound;
    }
    return !(load(a, notification + at->notification_listeners) & OBJECT_MASK);
}

/* notification.send_signal, where the bound thread waits for a message. */
static bool wake(struct attempt *a, const struct effect *effect)
{
    const struct layout *at = a->at;
    if (!leave_queue(a, effect->endpoint, effect->bound))
        return false;
    if (effect->reply) {
        STORE(effect->reply + at->reply_tcb, 0);
        STORE(effect->bound + at->tcb_reply, 0);
    }
    STORE(effect->bound + at->tcb_state, at->state_running);
    return complete_unchanged(a, effect->bound, SEL4PY_STATUS_DONE, a->cap.word1);
}

/* What it tells is the outbox's first; `a->told` counts it. */
static bool signal_it(struct attempt *a, const struct effect *effect)
{
    const struct layout *at = a->at;
    const uint64_t notification = object_of(a->cap), hint[4] = {at->outbox_hint, effect->hinted, 0, 0};
    if (effect->bound) {
        const bool woken = wake(a, effect);
        a->told = 1;
        return woken;
    }
    if (effect->hinted && !store_words(a, at->outbox_entries, hint, 4))
        return false;
    a->told = effect->hinted != 0;
    STORE(notification + at->notification_signals, effect->signals | a->cap.word1);
    STORE(notification + at->notification_state, at->notification_active);
    return true;
}

static bool perform_signal(struct attempt *a, const struct effect *effect)
{
    return save_trap(a) && signal_it(a, effect) && complete(a, a->tcb, 0, 0, NULL, 0);
}

/* Behind another signal of a burst, whose tell stands for the whole burst, one that somebody hears of is not for the fast path. */
enum outcome try_signal(struct attempt *a)
{
    struct effect effect;
    if (!(rights_of(a->cap) & WRITE) || !look_at_signal(a, &effect) || (a->follows && (effect.bound || effect.hinted)))
        return SLOW;
    if (a->outside || load(a, a->tcb + a->at->tcb_process) != a->at->process_live)
        return SLOW;
    a->told_itself = !effect.bound && !effect.hinted;
    /* point of no return */
    PERFORM(perform_signal(a, &effect));
}

static bool perform_raise(struct attempt *a, const struct effect *effect, uint64_t state)
{
    STORE(state, a->at->irq_signal | a->at->irq_masked);
    if (!signal_it(a, effect))
        return false;
    STORE(a->at->outbox_length, a->told);
    return true;
}

enum outcome fast_raise(RamObject *ram, const struct layout *at, uint64_t line)
{
    struct attempt attempt = {.ram = ram, .at = at}, *a = &attempt;
    struct effect effect;
    const uint64_t state = at->irq_states + 8 * line;
    if (line >= LINES || ram->open || ram->log->length || load(a, at->outbox_length) || load(a, state) != at->irq_signal)
        return SLOW;
    a->cap = load_slot(a, at->irq_slots + SLOT_BYTES * line);
    if (type_of(a->cap) != at->cap_notification || !look_at_signal(a, &effect) || a->outside)
        return SLOW;
    /* point of no return */
    PERFORM(perform_raise(a, &effect, state));
}
