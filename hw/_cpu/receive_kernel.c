/* Receiving from the kernel beside channels: polls, and a receive that is posted in earnest and may be retracted.
 *
 * RECEIVE_HINT counts what came to the kernel for a thread that listens. One hint can stand for several senders, so a hint
 * that was seen counts as pending until a poll finds nothing.
 */
#include "receive.h"

static bool submit(struct cpu_thread *thread, int32_t op, uint64_t *tag)
{
    struct receiver *receiver = thread->receiver;
    struct sel4py_entry entry = {.op = op, .cptr = receiver->cptr, .flags = SEL4PY_ENTRY_HAS_TAIL};
    const struct sel4py_tail tail = {.reply = receiver->reply};
    *tag = ring_submit(thread, &entry, &tail);
    return ring_publish(thread);
}

static enum wait from_kernel(struct cpu_thread *thread)
{
    thread->receiver->last = LAST_KERNEL;
    thread->receiver->since_channel++;
    thread->counters.kernel_receives++;
    return WAIT_READY;
}

enum wait receive_poll_kernel(struct cpu_thread *thread)
{
    struct receiver *receiver = thread->receiver;
    uint64_t tag;
    if (!submit(thread, receiver->is_wait ? SEL4PY_SYSCALL_NB_WAIT : SEL4PY_SYSCALL_NB_RECV, &tag))
        return WAIT_BROKEN;
    ring_wait_uninterrupted(thread);
    if (!ring_take(thread, tag, receiver->completion))
        return WAIT_BROKEN;
    if (receiver->completion->status != SEL4PY_STATUS_EMPTY)
        return from_kernel(thread);
    receiver->pending = false;
    return WAIT_INTERRUPTED;
}

APART bool receive_post(struct cpu_thread *thread)
{
    struct receiver *receiver = thread->receiver;
    receiver->posted = submit(thread, receiver->is_wait ? SEL4PY_SYSCALL_WAIT : SEL4PY_SYSCALL_RECV,
                              &receiver->posted_tag);
    return receiver->posted;
}

enum wait receive_take_posted(struct cpu_thread *thread)
{
    struct receiver *receiver = thread->receiver;
    receiver->posted = false;
    if (!ring_take(thread, receiver->posted_tag, receiver->completion))
        return WAIT_BROKEN;
    return from_kernel(thread);
}

enum wait receive_retract(struct cpu_thread *thread)
{
    struct receiver *receiver = thread->receiver;
    struct sel4py_entry entry = {.op = SEL4PY_SYSCALL_CANCEL};
    struct sel4py_completion own;
    uint64_t tag = ring_submit(thread, &entry, NULL);
    if (!ring_publish(thread))
        return WAIT_BROKEN;
    ring_wait_uninterrupted(thread);
    receiver->posted = false;
    if (!ring_take(thread, receiver->posted_tag, receiver->completion))
        return WAIT_BROKEN;
    ring_wait_uninterrupted(thread);
    if (!ring_take(thread, tag, &own))
        return WAIT_BROKEN;
    return receiver->completion->status == SEL4PY_STATUS_CANCELLED ? WAIT_INTERRUPTED : from_kernel(thread);
}

bool receive_kernel_has_some(struct cpu_thread *thread)
{
    struct receiver *receiver = thread->receiver;
    uint32_t hint = __atomic_load_n(frame_word(thread, SEL4PY_RECEIVE_HINT), __ATOMIC_ACQUIRE);
    if (hint != receiver->hint_seen) {
        receiver->hint_seen = hint;
        receiver->pending = true;
    }
    return receiver->pending;
}
