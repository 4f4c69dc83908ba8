/* Recv and NBRecv on an endpoint to which nobody sends: they end with the signals of the bound notification; or else the one
 * waits, and the other finds nothing.
 */
#include "attempt.h"

static bool has_signals(struct attempt *a, uint64_t bound)
{
    return bound && load(a, bound + a->at->notification_state) == a->at->notification_active;
}

bool takes_no_signal(struct attempt *a)
{
    uint64_t bound = load(a, a->tcb + a->at->tcb_bound_notification);
    return !bound || (!has_signals(a, bound) && !load(a, bound + a->at->notification_sched_context));
}

static bool perform_take(struct attempt *a, uint64_t bound)
{
    uint64_t signals = load(a, bound + a->at->notification_signals);
    if (!save_trap(a) || !complete_unchanged(a, a->tcb, SEL4PY_STATUS_DONE, signals))
        return false;
    STORE(bound + a->at->notification_signals, 0);
    STORE(bound + a->at->notification_state, a->at->notification_idle);
    return true;
}

static bool perform_nothing(struct attempt *a)
{
    return save_trap(a) && complete_unchanged(a, a->tcb, SEL4PY_STATUS_EMPTY, 0);
}

static bool perform_wait(struct attempt *a, uint64_t endpoint, uint64_t reply)
{
    const struct layout *at = a->at;
    if (!enter(a))
        return false;
    STORE(reply + at->reply_tcb, a->tcb);
    STORE(a->tcb + at->tcb_reply, reply);
    STORE(a->tcb + at->tcb_blocked_on, endpoint);
    STORE(endpoint + at->endpoint_head, a->tcb);
    STORE(endpoint + at->endpoint_tail, a->tcb | at->endpoint_receive);
    STORE(a->tcb + at->tcb_state, at->state_receive);
    return true;
}

enum outcome try_receive(struct attempt *a)
{
    const struct layout *at = a->at;
    const bool blocks = a->entry.op == SEL4PY_SYSCALL_RECV;
    struct slot reply_cap;
    if (type_of(a->cap) != at->cap_endpoint || !(rights_of(a->cap) & READ))
        return SLOW;
    if (!look_up(a, a->tail[0], &reply_cap) || type_of(reply_cap) != at->cap_reply)
        return SLOW;
    uint64_t endpoint = object_of(a->cap), reply = object_of(reply_cap);
    uint64_t bound = load(a, a->tcb + at->tcb_bound_notification);
    if (load(a, reply + at->reply_tcb) || load(a, a->tcb + at->tcb_process) != at->process_live)
        return SLOW;
    const bool finds = has_signals(a, bound);
    if (!finds && (load(a, endpoint + at->endpoint_head) || load(a, endpoint + at->endpoint_tail) ||
                   (blocks && !takes_no_signal(a))))
        return SLOW;
    if (a->outside)
        return SLOW;
    /* point of no return */
    if (finds)
        PERFORM(perform_take(a, bound));
    if (blocks)
        PERFORM(perform_wait(a, endpoint, reply));
    PERFORM(perform_nothing(a));
}
