/* Signals that wake nobody. */
#include "attempt.h"

static bool perform_signal(struct attempt *a, uint64_t signals)
{
    const struct layout *at = a->at;
    uint64_t notification = object_of(a->cap);
    if (!save_trap(a))
        return false;
    STORE(notification + at->notification_signals, signals | a->cap.word1);
    STORE(notification + at->notification_state, at->notification_active);
    return complete(a, a->tcb, 0, 0, NULL, 0);
}

enum outcome try_signal(struct attempt *a)
{
    const struct layout *at = a->at;
    uint64_t notification = object_of(a->cap), signals = 0;
    if (!(rights_of(a->cap) & WRITE))
        return SLOW;
    uint64_t state = load(a, notification + at->notification_state);
    if (state == at->notification_active) {
        signals = load(a, notification + at->notification_signals);
    } else if (state == at->notification_idle) {
        uint64_t bound = load(a, notification + at->notification_bound_tcb);
        if (bound && (load(a, bound + at->tcb_state) == at->state_receive || load(a, bound + at->tcb_listener)))
            return SLOW;
        if (load(a, notification + at->notification_listeners) & OBJECT_MASK)
            return SLOW;
    } else {
        return SLOW;
    }
    if (a->outside || load(a, a->tcb + at->tcb_process) != at->process_live)
        return SLOW;
    a->told_itself = true;
    /* point of no return */
    PERFORM(perform_signal(a, signals));
}
