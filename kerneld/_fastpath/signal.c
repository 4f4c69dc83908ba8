/* Signals: those that wake nobody, and those that the thread hears of that the notification is bound to: it waits for a message,
 * or looks at its channels, and is told that something has come to the kernel.
 */
#include "attempt.h"

/* `hinted`: whom listening.hint tells; 0 for nobody. */
static bool perform_signal(struct attempt *a, uint64_t signals, uint64_t hinted)
{
    const struct layout *at = a->at;
    uint64_t notification = object_of(a->cap);
    const uint64_t hint[4] = {at->outbox_hint, hinted, 0, 0};
    if (!save_trap(a))
        return false;
    if (hinted && !store_words(a, at->outbox_entries, hint, 4))
        return false;
    a->told = hinted != 0;
    STORE(notification + at->notification_signals, signals | a->cap.word1);
    STORE(notification + at->notification_state, at->notification_active);
    return complete(a, a->tcb, 0, 0, NULL, 0);
}

/* notification.send_signal, where the bound thread waits for a message: it is told first, then the one that signals. */
static bool perform_wake(struct attempt *a, uint64_t bound, uint64_t endpoint, uint64_t reply)
{
    const struct layout *at = a->at;
    if (!save_trap(a) || !leave_queue(a, endpoint, bound))
        return false;
    if (reply) {
        STORE(reply + at->reply_tcb, 0);
        STORE(bound + at->tcb_reply, 0);
    }
    STORE(bound + at->tcb_state, at->state_running);
    if (!complete_unchanged(a, bound, SEL4PY_STATUS_DONE, a->cap.word1))
        return false;
    a->told = 1;
    return complete(a, a->tcb, 0, 0, NULL, 0);
}

/* Behind another signal of a burst it is not for the fast path: that one's tell stands for the whole burst. */
static enum outcome try_wake(struct attempt *a, uint64_t bound)
{
    const struct layout *at = a->at;
    const uint64_t flags = load(a, bound + at->tcb_block_word), endpoint = load(a, bound + at->tcb_blocked_on);
    const uint64_t reply = load(a, bound + at->tcb_reply);
    if (a->follows || !runs(a, bound) || load(a, bound + at->tcb_fault_label) ||
        (flags & (at->in_trap | at->told_pending | at->takes_memory)) != at->in_trap)
        return SLOW;
    (void)load(a, endpoint + at->endpoint_tail); /* it and the reply object lie in RAM */
    (void)load(a, reply + at->reply_tcb);
    if (!endpoint || a->outside || load(a, a->tcb + at->tcb_process) != at->process_live)
        return SLOW;
    /* point of no return */
    PERFORM(perform_wake(a, bound, endpoint, reply));
}

enum outcome try_signal(struct attempt *a)
{
    const struct layout *at = a->at;
    uint64_t notification = object_of(a->cap), signals = 0, hinted = 0;
    if (!(rights_of(a->cap) & WRITE))
        return SLOW;
    uint64_t state = load(a, notification + at->notification_state);
    if (state == at->notification_active) {
        signals = load(a, notification + at->notification_signals);
    } else if (state == at->notification_idle) {
        uint64_t bound = load(a, notification + at->notification_bound_tcb);
        if (bound && load(a, bound + at->tcb_state) == at->state_receive)
            return try_wake(a, bound);
        if (bound && load(a, bound + at->tcb_listener)) {
            if (a->follows || type_of(load_slot(a, bound + at->tcb_listen)) != at->cap_endpoint)
                return SLOW; /* behind another signal of a burst, whose tell stands for the whole burst */
            hinted = bound;
        }
        if (load(a, notification + at->notification_listeners) & OBJECT_MASK)
            return SLOW;
    } else {
        return SLOW;
    }
    if (a->outside || load(a, a->tcb + at->tcb_process) != at->process_live)
        return SLOW;
    a->told_itself = !hinted;
    /* point of no return */
    PERFORM(perform_signal(a, signals, hinted));
}
