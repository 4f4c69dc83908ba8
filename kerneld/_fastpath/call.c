/* Call and ReplyRecv of at most four words between threads that run on their own time; the answer to a page fault. */
#include "attempt.h"

static const uint64_t QUEUE_MASK = ~31ull; /* of an endpoint's tail word: the rest is its state */

bool runs(struct attempt *a, uint64_t tcb)
{
    uint64_t context = load(a, tcb + a->at->tcb_sched_context);
    return context && load(a, context + a->at->context_refill_max) && !load(a, context + a->at->context_period) &&
           load(a, tcb + a->at->tcb_process) == a->at->process_live &&
           !(load(a, tcb + a->at->tcb_block_word) & a->at->takes_memory);
}

/* queues._leave_run. */
static bool leave_run(struct attempt *a, uint64_t tcb, uint64_t before, uint64_t behind)
{
    const struct layout *at = a->at;
    const uint64_t last = load(a, tcb + at->tcb_run_last), first = load(a, tcb + at->tcb_run_first);
    if (last) {
        STORE(tcb + at->tcb_run_last, 0);
        if (behind != last)
            STORE(behind + at->tcb_run_last, last);
        STORE(last + at->tcb_run_first, behind != last ? behind : 0);
    } else if (first) {
        STORE(tcb + at->tcb_run_first, 0);
        if (before != first)
            STORE(before + at->tcb_run_first, first);
        STORE(first + at->tcb_run_last, before != first ? before : 0);
    }
    return true;
}

bool leave_queue(struct attempt *a, uint64_t endpoint, uint64_t tcb)
{
    const struct layout *at = a->at;
    const uint64_t before = load(a, tcb + at->tcb_queue_prev), behind = load(a, tcb + at->tcb_queue_next);
    const uint64_t tail = load(a, endpoint + at->endpoint_tail);
    STORE(tcb + at->tcb_blocked_on, 0);
    if (!before && !behind) {
        STORE(endpoint + at->endpoint_head, 0);
        STORE(endpoint + at->endpoint_tail, tail & ~QUEUE_MASK & ~(uint64_t)3);
        return true;
    }
    if (!leave_run(a, tcb, before, behind))
        return false;
    if (before) {
        STORE(before + at->tcb_queue_next, behind);
        STORE(tcb + at->tcb_queue_prev, 0);
    } else {
        STORE(endpoint + at->endpoint_head, behind);
    }
    if (behind) {
        STORE(behind + at->tcb_queue_prev, before);
        STORE(tcb + at->tcb_queue_next, 0);
    } else {
        STORE(endpoint + at->endpoint_tail, (tail & ~QUEUE_MASK) | before);
    }
    return true;
}

bool enter(struct attempt *a)
{
    if (!save_trap(a))
        return false;
    uint64_t flags = load(a, a->tcb + a->at->tcb_block_word);
    return store(a, a->tcb + a->at->tcb_block_word, flags | a->at->in_trap);
}

/* The info word that a message of registers arrives with: label and length alone. */
static uint64_t delivered_info(uint64_t info) { return (info & ~(uint64_t)0xfff) | (info & 127); }

bool deliver_call(struct attempt *a, struct slot cap, uint64_t receiver, uint64_t reply, uint64_t info,
                  const uint64_t *mr)
{
    const struct layout *at = a->at;
    if (!leave_queue(a, object_of(cap), receiver) || !complete(a, receiver, cap.word1, info, mr, info & 127))
        return false;
    STORE(receiver + at->tcb_reply, 0);
    STORE(receiver + at->tcb_state, at->state_running);
    STORE(reply + at->reply_tcb, a->tcb);
    STORE(a->tcb + at->tcb_reply, reply);
    STORE(a->tcb + at->tcb_state, at->state_reply);
    return true;
}

bool find_receiver(struct attempt *a, struct slot cap, uint64_t *receiver, uint64_t *reply)
{
    const struct layout *at = a->at;
    uint64_t endpoint = object_of(cap);
    if (!(rights_of(cap) & WRITE) || !(rights_of(cap) & (GRANT | GRANT_REPLY)))
        return false;
    if ((load(a, endpoint + at->endpoint_tail) & 3) != at->endpoint_receive)
        return false;
    *receiver = load(a, endpoint + at->endpoint_head);
    if (!*receiver || load(a, *receiver + at->tcb_queue_prev) || !runs(a, *receiver))
        return false;
    *reply = load(a, *receiver + at->tcb_reply);
    return *reply && !a->outside;
}

static bool perform_call(struct attempt *a, uint64_t receiver, uint64_t reply)
{
    return enter(a) && deliver_call(a, a->cap, receiver, reply, delivered_info(a->entry.info), a->entry.mr);
}

enum outcome try_call(struct attempt *a)
{
    uint64_t receiver, reply;
    if (!find_receiver(a, a->cap, &receiver, &reply))
        return SLOW;
    /* point of no return */
    PERFORM(perform_call(a, receiver, reply));
}

/* Whether the caller goes on by this message: it waits for a plain call's answer; or its page fault is answered so that
 * the access is tried again (fault_messages.handle_reply), and its system call FAULT ends with that. */
static bool is_answered(struct attempt *a, uint64_t caller)
{
    const struct layout *at = a->at;
    const uint64_t fault = load(a, caller + at->tcb_fault_label);
    if (!fault)
        return true;
    return fault == SEL4PY_FAULTLABEL_VM_FAULT && !(a->entry.info >> 12) &&
           load(a, caller + at->tcb_block_word) & at->in_trap;
}

static bool end_wait(struct attempt *a, uint64_t caller)
{
    if (!load(a, caller + a->at->tcb_fault_label))
        return complete(a, caller, 0, delivered_info(a->entry.info), a->entry.mr, a->entry.info & 127);
    STORE(caller + a->at->tcb_fault_label, 0);
    return complete(a, caller, 0, 0, NULL, 0);
}

static bool perform_reply_recv(struct attempt *a, uint64_t endpoint, uint64_t reply, uint64_t caller)
{
    const struct layout *at = a->at;
    if (!enter(a))
        return false;
    STORE(caller + at->tcb_reply, 0);
    if (!end_wait(a, caller))
        return false;
    STORE(caller + at->tcb_state, at->state_running);
    STORE(reply + at->reply_tcb, a->tcb);
    STORE(a->tcb + at->tcb_reply, reply);
    STORE(a->tcb + at->tcb_blocked_on, endpoint);
    STORE(endpoint + at->endpoint_head, a->tcb);
    STORE(endpoint + at->endpoint_tail, a->tcb | at->endpoint_receive);
    STORE(a->tcb + at->tcb_state, at->state_receive);
    return true;
}

enum outcome try_reply_recv(struct attempt *a)
{
    const struct layout *at = a->at;
    const struct slot cap = a->cap;
    struct slot reply_cap;
    if (type_of(cap) != at->cap_endpoint || !(rights_of(cap) & READ))
        return SLOW;
    if (!look_up(a, a->tail[0], &reply_cap) || type_of(reply_cap) != at->cap_reply)
        return SLOW;
    uint64_t endpoint = object_of(cap), reply = object_of(reply_cap);
    uint64_t caller = load(a, reply + at->reply_tcb);
    if (!caller || caller == a->tcb || load(a, caller + at->tcb_state) != at->state_reply ||
        !is_answered(a, caller) || !runs(a, caller))
        return SLOW;
    if (load(a, reply + at->reply_prev) || load(a, reply + at->reply_next_word) || !takes_no_signal(a))
        return SLOW;
    if (load(a, endpoint + at->endpoint_head) || load(a, endpoint + at->endpoint_tail) || a->outside)
        return SLOW;
    /* point of no return */
    PERFORM(perform_reply_recv(a, endpoint, reply, caller));
}
