/* Receiving by channels and from the kernel at once: what a thread that listens does in RECV, REPLY_RECV, NB_RECV, WAIT
 * and NB_WAIT on what it listens to.
 *
 * It watches its channels (receive_channels.c) and a word that counts what came to the kernel for it (RECEIVE_HINT), and
 * polls the kernel (receive_kernel.c) when that has changed. When nothing has come for a while (receive_wait.c) it posts a
 * receive in earnest, so that the kernel sees a blocked receiver; a request by channel then retracts that first.
 *
 * Rules. Never two messages at once: nothing is taken from a channel while a receive is posted. By turns: after a message
 * of one kind the other is looked at first.
 */
#include "receive.h"

#include <errno.h>
#include <stdlib.h>

/* --- the system call ------------------------------------------------------------------------------------------------ */

APART static enum route broken(struct cpu_thread *thread)
{
    raise_broken(thread, "a receive beside channels got another entry's completion, or its doorbell does not ring");
    return FAILED;
}

APART static enum route wait_for_message(struct cpu_thread *thread, int64_t timeout_ns)
{
    int64_t deadline = deadline_after(timeout_ns);
    enum wait result = without_gil(thread, deadline, receive_look);
    while (result == WAIT_INTERRUPTED) {
        if (PyErr_CheckSignals() < 0) {
            PyObject *type, *value, *traceback;
            PyErr_Fetch(&type, &value, &traceback);
            without_gil(thread, deadline, receive_end);
            PyErr_Restore(type, value, traceback);
            return FAILED;
        }
        result = without_gil(thread, deadline, receive_sleep);
    }
    if (result == WAIT_BROKEN)
        return broken(thread);
    return result == WAIT_READY ? BY_CHANNEL : CANCELLED;
}

APART static enum route poll_once(struct cpu_thread *thread)
{
    enum wait result = receive_look_once(thread, MOST_RECEIVED);
    if (result == WAIT_BROKEN)
        return broken(thread);
    if (result == WAIT_AGAIN)
        *thread->receiver->completion = (struct sel4py_completion){.status = SEL4PY_STATUS_EMPTY};
    return BY_CHANNEL;
}

/* The answer to the request that is served, if there is one, in `entry`. */
static bool answer_served(struct cpu_thread *thread, const struct sel4py_entry *entry)
{
    struct receiver *receiver = thread->receiver;
    if (!receiver->serving)
        return false;
    struct channel_message answer = {.kind = SEL4PY_STATUS_DONE, .info = plain_info(entry->info)};
    for (unsigned i = 0; i < SEL4PY_MESSAGE_REGISTERS; i++)
        answer.mr[i] = entry->mr[i];
    channel_answer(receiver->serving->page, receiver->sequence, &answer, receive_message_area(thread));
    if (__atomic_load_n(&receiver->serving->gone, __ATOMIC_ACQUIRE))
        receiver->event_seen--; /* its place can be given back now */
    receiver->serving = NULL;
    return true;
}

/* The first phase of REPLY_RECV, where the request came through the kernel. A server whose channels are in use goes on to
 * look at them; another one waits in the kernel at once. False if the doorbell does not ring. */
APART static bool answer_by_kernel(struct cpu_thread *thread, struct sel4py_entry sent)
{
    struct receiver *receiver = thread->receiver;
    struct sel4py_tail tail = {.reply = receiver->reply};
    struct sel4py_completion own;
    const bool in_use = receiver->count && receiver->since_channel < FEW_MESSAGES;
    sent.flags |= SEL4PY_ENTRY_HAS_TAIL;
    if (in_use) {
        sent.op = SEL4PY_SYSCALL_NB_SEND;
        sent.cptr = receiver->reply;
        tail.reply = 0;
    }
    uint64_t tag = ring_submit(thread, &sent, &tail);
    if (!ring_publish(thread))
        return false;
    if (!in_use) {
        receiver->posted = true;
        receiver->posted_tag = tag;
        return true;
    }
    ring_wait_uninterrupted(thread);
    return ring_take(thread, tag, &own);
}

static bool is_polling(int32_t op) { return op == SEL4PY_SYSCALL_NB_RECV || op == SEL4PY_SYSCALL_NB_WAIT; }

enum route receive_by_channel(struct cpu_thread *thread, const struct sel4py_entry *entry,
                              uint64_t reply, int64_t timeout_ns, struct sel4py_completion *completion)
{
    struct receiver *receiver = thread->receiver;
    const int32_t op = entry->op;
    if (op == SEL4PY_SYSCALL_SEND || op == SEL4PY_SYSCALL_NB_SEND) {
        /* An answer by itself. */
        if (!entry->cptr || entry->cptr != receiver->reply || !answer_served(thread, entry))
            return BY_KERNEL;
        *completion = (struct sel4py_completion){.status = SEL4PY_STATUS_DONE};
        return BY_CHANNEL;
    }
    const bool plain = op == SEL4PY_SYSCALL_RECV || op == SEL4PY_SYSCALL_WAIT || is_polling(op);
    if (!entry->cptr || entry->cptr != receiver->cptr || !(plain || op == SEL4PY_SYSCALL_REPLY_RECV))
        return BY_KERNEL;
    receiver->reply = reply;
    receiver->completion = completion;
    receiver->posted = false;
    receiver->is_wait = op == SEL4PY_SYSCALL_WAIT || op == SEL4PY_SYSCALL_NB_WAIT;
    if (op == SEL4PY_SYSCALL_REPLY_RECV && !answer_served(thread, entry) && !answer_by_kernel(thread, *entry))
        return broken(thread);
    receiver->serving = NULL;
    if (is_polling(op))
        return poll_once(thread);
    receive_refresh(thread);
    /* Without a channel there is nothing to watch but the kernel. */
    if (!receiver->count && !receiver->posted && !receive_post(thread))
        return broken(thread);
    struct ease *ease = receiver->last == LAST_CHANNEL ? &receiver->ease : NULL;
    const int looks = looks_with_gil(receive_peer_cpu(receiver), ease);
    for (int i = looks; i > 0 && !receiver->posted && !park_asked(thread); i--) {
        /* By turns here, too: requests that are there at every look would keep the kernel's messages waiting. */
        const bool kernel_has_some = receive_kernel_has_some(thread);
        if (kernel_has_some && receiver->last == LAST_CHANNEL)
            break;
        if (receive_poll_channels(thread, A_LOOK)) {
            if (ease)
                ease_learn(ease, i == looks);
            return BY_CHANNEL;
        }
        if (kernel_has_some)
            break;
        relax();
    }
    enum route route = wait_for_message(thread, timeout_ns);
    if (route == CANCELLED)
        *completion = (struct sel4py_completion){.status = SEL4PY_STATUS_CANCELLED};
    return route == CANCELLED ? BY_CHANNEL : route;
}

/* --- listening, and answers that are put off -------------------------------------------------------------------------- */

int receive_listen(struct cpu_thread *thread, uint64_t cptr)
{
    /* Refused for its arguments where the host has it. */
    if (cptr && syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) < 0 && errno == ENOSYS)
        return ENOSYS;
    if (!thread->receiver)
        thread->receiver = calloc(1, sizeof *thread->receiver);
    struct receiver *receiver = thread->receiver;
    if (!receiver)
        return ENOMEM;
    if (!cptr) {
        /* What was taken and not answered is over: somebody else may be told so, and a late answer would meet another call. */
        channels_of_deaf(thread);
        receiver->serving = NULL;
        receiver->count = receiver->waiters = 0;
    }
    receiver->cptr = cptr;
    receiver->pending = true;
    receiver->spin_ns = INT64_MAX;
    receiver->event_seen = __atomic_load_n(&thread->event, __ATOMIC_ACQUIRE) - 1;
    return 0;
}

/* A handle: place, its generation, sequence. */
uint64_t receive_detach(struct cpu_thread *thread)
{
    struct receiver *receiver = thread->receiver;
    struct channel *channel = receiver ? receiver->serving : NULL;
    if (!channel)
        return 0;
    __atomic_store_n(&channel->owed, (uint32_t)receiver->sequence << 16 | OWED, __ATOMIC_SEQ_CST);
    receiver->serving = NULL;
    return (uint64_t)channel_generation(channel) << 32 | (uint64_t)(channel - channel_place(0) + 1) << 16 | receiver->sequence;
}

bool receive_answer(struct cpu_thread *thread, uint64_t handle, const struct channel_message *answer)
{
    uint64_t index = (handle >> 16 & 0xffff) - 1;
    struct channel *channel = index < CHANNEL_PLACES ? channel_place((unsigned)index) : NULL;
    if (!channel || !channel_answer_begin(channel, (uint32_t)(handle >> 32)))
        return false;
    /* A handle that was used is not the next request's, whose answer would be lost. */
    uint32_t owed = (uint32_t)(uint16_t)handle << 16 | OWED;
    if (!__atomic_compare_exchange_n(&channel->owed, &owed, owed | BEGUN, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
        channel_answer_end(channel);
        return false;
    }
    channel_answer(channel->page, (uint16_t)handle, answer, receive_message_area(thread));
    __atomic_store_n(&channel->owed, 0, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    /* The thread that it was for can give its place back now, or take what was posted since the answer. */
    if (__atomic_load_n(&channel->gone, __ATOMIC_SEQ_CST) || channel_has_request(channel->page))
        channel_look_again(channel);
    channel_answer_end(channel);
    return true;
}

void receive_forget(struct cpu_thread *thread)
{
    free(thread->receiver);
    thread->receiver = NULL;
}
