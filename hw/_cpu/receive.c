/* Receiving by channels and from the kernel at once: what a thread that listens does in RECV, REPLY_RECV, NB_RECV, WAIT
 * and NB_WAIT on what it listens to.
 *
 * It watches its channels and a word that counts what came to the kernel for it (RECEIVE_HINT), and polls the kernel when
 * that has changed. When nothing has come for a while it posts a receive in earnest, so that the kernel sees a blocked
 * receiver; a request by channel then retracts that first.
 *
 * Rules. Never two messages at once: nothing is taken from a channel while a receive is posted. By turns: after a
 * message of one kind the other is looked at first, and channels are scanned from behind the one that was served last.
 * All of this runs without the GIL, but for the first looks.
 */
#include "receive.h"

#include <errno.h>
#include <stdlib.h>

/* --- the table of channels ------------------------------------------------------------------------------------------ */

static void refresh(struct cpu_thread *thread)
{
    struct receiver *receiver = thread->receiver;
    uint32_t event = __atomic_load_n(&thread->event, __ATOMIC_ACQUIRE);
    if (event == receiver->event_seen)
        return;
    receiver->event_seen = event;
    receiver->count = receiver->waiters = 0;
    const unsigned places = channel_places();
    for (unsigned i = 0; i < places && receiver->count < MOST_RECEIVED; i++) {
        struct channel *channel = channel_place(i);
        if (!channel_is_held(channel) || channel->thread != thread->id || !channel_is_received(channel))
            continue;
        if (!channel_use(channel) && __atomic_load_n(&channel->in_use, __ATOMIC_ACQUIRE) != PLACE_USED)
            continue; /* taken back before it was looked at */
        if (!channel_is_gone(channel)) {
            receiver->channels[receiver->count++] = channel;
            receiver->waiters += channel->role == SEL4PY_CHANNELROLE_WAITER;
        } else if (!__atomic_load_n(&channel->owed, __ATOMIC_ACQUIRE) && channel != receiver->serving) {
            channel_give_back(channel);
        }
    }
}

static uint64_t *message_area(const struct cpu_thread *thread)
{
    return (uint64_t *)(void *)(thread->frame + SEL4PY_IPC_MESSAGE);
}

/* --- one message from a channel ------------------------------------------------------------------------------------- */

static void take_message(struct cpu_thread *thread, struct channel *channel, uint16_t sequence,
                         const struct channel_message *message)
{
    struct receiver *receiver = thread->receiver;
    struct sel4py_completion *completion = receiver->completion;
    *completion = (struct sel4py_completion){.status = SEL4PY_STATUS_DONE, .badge = channel->badge, .info = message->info};
    for (unsigned i = 0; i < SEL4PY_MESSAGE_REGISTERS && i < message_length(message->info); i++)
        completion->mr[i] = message->mr[i];
    thread->counters.taken++;
    receiver->last = LAST_CHANNEL;
    receiver->since_channel = 0;
    receiver->peer = channel;
    if (message->kind == SEL4PY_CHANNELOP_CALL) {
        receiver->serving = channel;
        receiver->sequence = sequence;
        return;
    }
    const struct channel_message taken = {.kind = SEL4PY_STATUS_DONE};
    channel_answer(channel->page, sequence, &taken, NULL);
}

static bool take_signals(struct receiver *receiver)
{
    uint64_t signals = 0;
    for (unsigned i = 0; i < receiver->count; i++)
        if (receiver->channels[i]->role == SEL4PY_CHANNELROLE_WAITER)
            signals |= channel_take_signals(receiver->channels[i]->page, receiver->channels[i]->badge);
    if (!signals)
        return false;
    *receiver->completion = (struct sel4py_completion){.status = SEL4PY_STATUS_DONE, .badge = signals};
    receiver->last = LAST_CHANNEL;
    return true;
}

/* Who keeps to the protocol posts nothing before he has his answer. One that does not cannot pile up answers that are put
 * off: until it has been given, there is nothing to take there. */
static bool is_owed(const struct channel *channel) { return __atomic_load_n(&channel->owed, __ATOMIC_SEQ_CST); }

static bool take_from(struct cpu_thread *thread, unsigned at)
{
    struct receiver *receiver = thread->receiver;
    struct channel *channel = receiver->channels[at];
    struct channel_message message;
    uint16_t sequence;
    if (channel->role != SEL4PY_CHANNELROLE_SERVER || is_owed(channel) ||
        !channel_take(channel->page, channel->listener, &sequence, &message, message_area(thread)))
        return false;
    receiver->last_served = at;
    take_message(thread, channel, sequence, &message);
    return true;
}

/* Looks at the channel that was served last, which is the likeliest, and at `most` of the others, whose turn it is. One
 * client alone cannot keep the others waiting: after STREAK of its requests the others are looked at first. */
static bool take_request(struct cpu_thread *thread, unsigned most)
{
    struct receiver *receiver = thread->receiver;
    const unsigned count = receiver->count;
    if (receiver->streak < STREAK && receiver->last_served < count && take_from(thread, receiver->last_served)) {
        receiver->streak++;
        return true;
    }
    if (receiver->streak >= STREAK)
        most = count;
    receiver->streak = 0;
    for (unsigned i = 0; i < most && i < count; i++) {
        unsigned at = receiver->next < count ? receiver->next : 0;
        receiver->next = at + 1;
        if (take_from(thread, at))
            return true;
    }
    return false;
}

static bool poll_channels(struct cpu_thread *thread, unsigned most)
{
    struct receiver *receiver = thread->receiver;
    refresh(thread);
    return (receiver->waiters && take_signals(receiver)) || take_request(thread, most);
}

static bool is_channel_ready(struct cpu_thread *thread)
{
    struct receiver *receiver = thread->receiver;
    refresh(thread);
    for (unsigned i = 0; i < receiver->count; i++) {
        const struct channel *channel = receiver->channels[i];
        if (channel->role == SEL4PY_CHANNELROLE_SERVER ? channel_has_request(channel->page) && !is_owed(channel)
                                                       : channel_has_signals(channel->page, channel->badge))
            return true;
    }
    return false;
}

/* --- one message from the kernel ------------------------------------------------------------------------------------ */

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

/* READY with the message, or INTERRUPTED if there is none. */
static enum wait poll_kernel(struct cpu_thread *thread)
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

static bool post(struct cpu_thread *thread)
{
    struct receiver *receiver = thread->receiver;
    receiver->posted = submit(thread, receiver->is_wait ? SEL4PY_SYSCALL_WAIT : SEL4PY_SYSCALL_RECV,
                              &receiver->posted_tag);
    return receiver->posted;
}

/* The posted receive has completed. */
static enum wait take_posted(struct cpu_thread *thread)
{
    struct receiver *receiver = thread->receiver;
    receiver->posted = false;
    if (!ring_take(thread, receiver->posted_tag, receiver->completion))
        return WAIT_BROKEN;
    return from_kernel(thread);
}

/* Ends the posted receive: READY if it had completed, INTERRUPTED if nothing is posted now and nothing came. */
static enum wait retract(struct cpu_thread *thread)
{
    struct receiver *receiver = thread->receiver;
    struct sel4py_entry entry = {.op = SEL4PY_SYSCALL_CANCEL};
    struct sel4py_completion own;
    uint64_t tag = ring_submit(thread, &entry, NULL);
    if (!ring_publish(thread))
        return WAIT_BROKEN;
    ring_wait_uninterrupted(thread);
    enum wait result = take_posted(thread);
    if (result != WAIT_READY)
        return result;
    ring_wait_uninterrupted(thread);
    if (!ring_take(thread, tag, &own))
        return WAIT_BROKEN;
    return receiver->completion->status == SEL4PY_STATUS_CANCELLED ? WAIT_INTERRUPTED : WAIT_READY;
}

/* --- waiting -------------------------------------------------------------------------------------------------------- */

static bool kernel_has_some(struct cpu_thread *thread)
{
    struct receiver *receiver = thread->receiver;
    uint32_t hint = __atomic_load_n(frame_word(thread, SEL4PY_RECEIVE_HINT), __ATOMIC_ACQUIRE);
    if (hint != receiver->hint_seen) {
        receiver->hint_seen = hint;
        receiver->pending = true;
    }
    return receiver->pending;
}

/* One look, at `most` channels and at the rest: READY with a message; AGAIN if there is none; else BROKEN. */
static enum wait look_once(struct cpu_thread *thread, unsigned most)
{
    struct receiver *receiver = thread->receiver;
    if (receiver->posted) {
        if (ring_ready(thread))
            return take_posted(thread);
        if (!is_channel_ready(thread))
            return WAIT_AGAIN;
        enum wait result = retract(thread);
        if (result != WAIT_INTERRUPTED)
            return result;
        return poll_channels(thread, MOST_RECEIVED) ? WAIT_READY : WAIT_AGAIN;
    }
    const bool kernel_first = receiver->last == LAST_CHANNEL;
    for (int turn = 0; turn < 2; turn++) {
        if ((turn == 0) != kernel_first) {
            if (poll_channels(thread, most))
                return WAIT_READY;
        } else if (kernel_has_some(thread)) {
            enum wait result = poll_kernel(thread);
            if (result != WAIT_INTERRUPTED)
                return result;
        }
    }
    return WAIT_AGAIN;
}

/* Says on all words that it will sleep. False if there is something to look at instead. */
static bool announce(struct cpu_thread *thread, struct futex_waitv *words)
{
    struct receiver *receiver = thread->receiver;
    const unsigned of_kernel = receiver->posted ? SEL4PY_COMPLETE_PRODUCED : SEL4PY_RECEIVE_HINT;
    uint32_t seen = __atomic_load_n(frame_word(thread, of_kernel), __ATOMIC_SEQ_CST);
    uint32_t event = __atomic_load_n(&thread->event, __ATOMIC_SEQ_CST);
    if ((receiver->posted ? ring_ready(thread) : seen != receiver->hint_seen) || event != receiver->event_seen)
        return false;
    words[0] = (struct futex_waitv){.val = seen, .uaddr = (uintptr_t)frame_word(thread, of_kernel), .flags = FUTEX_32};
    words[1] = (struct futex_waitv){
        .val = event, .uaddr = (uintptr_t)&thread->event, .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG};
    for (unsigned i = 0; i < receiver->count; i++) {
        struct channel *channel = receiver->channels[i];
        bool quiet = channel->role == SEL4PY_CHANNELROLE_SERVER
                         ? channel_announce_server(channel->page, &seen) || is_owed(channel)
                         : channel_announce_waiter(channel->page, channel->badge, &seen);
        if (!quiet)
            return false;
        words[OWN_WORDS + i] = (struct futex_waitv){
            .val = seen, .uaddr = (uintptr_t)channel_posted_word(channel->page), .flags = FUTEX_32};
    }
    return true;
}

static enum wait doze(struct cpu_thread *thread, int64_t deadline)
{
    struct receiver *receiver = thread->receiver;
    struct futex_waitv words[OWN_WORDS + MOST_RECEIVED];
    struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
    enum wait result = WAIT_AGAIN;
    thread->counters.sleeps++;
    __atomic_store_n(frame_word(thread, SEL4PY_TASK_WAITING), 1, __ATOMIC_SEQ_CST);
    if (announce(thread, words) && syscall(SYS_futex_waitv, words, OWN_WORDS + receiver->count, 0,
                                           deadline == NO_DEADLINE ? NULL : &until, CLOCK_MONOTONIC) < 0) {
        if (errno == EINTR)
            result = WAIT_INTERRUPTED;
        else if (errno == ETIMEDOUT)
            result = WAIT_TIMEOUT;
    }
    __atomic_store_n(frame_word(thread, SEL4PY_TASK_WAITING), 0, __ATOMIC_RELAXED);
    return result;
}

/* Sleeps until something may have come. AGAIN: look. A receiver that has dozed for long without a call posts a receive. */
static enum wait sleep_once(struct cpu_thread *thread, int64_t deadline)
{
    struct receiver *receiver = thread->receiver;
    int64_t idle = receiver->posted ? NO_DEADLINE : receiver->looked_from + IDLE_NS;
    enum wait result = doze(thread, idle < deadline ? idle : deadline);
    if (result == WAIT_TIMEOUT && idle < deadline)
        return post(thread) ? WAIT_AGAIN : WAIT_BROKEN;
    return result;
}

/* As the caller of a posted receive wants its end: nothing stays posted. */
static enum wait end(struct cpu_thread *thread, enum wait why)
{
    if (!thread->receiver->posted)
        return why;
    enum wait result = retract(thread);
    return result == WAIT_INTERRUPTED ? why : result;
}

static enum wait sleep_for_message(struct cpu_thread *thread, int64_t deadline)
{
    struct receiver *receiver = thread->receiver;
    for (;;) {
        enum wait result = look_once(thread, MOST_RECEIVED);
        if (result == WAIT_READY)
            spin_learn(&receiver->spin_ns, look_limit_ns(), now_ns() - receiver->looked_from);
        if (result != WAIT_AGAIN)
            return result;
        result = sleep_once(thread, deadline);
        if (result == WAIT_TIMEOUT)
            return end(thread, WAIT_TIMEOUT);
        if (result != WAIT_AGAIN)
            return result;
    }
}

/* Where whoever was served last runs. */
static uint32_t peer_cpu(const struct receiver *receiver)
{
    return receiver->peer ? channel_client_cpu(receiver->peer->page) : UINT32_MAX;
}

static enum wait look_for_message(struct cpu_thread *thread, int64_t deadline)
{
    struct receiver *receiver = thread->receiver;
    struct look look;
    look_begin(&look, thread, &receiver->spin_ns, peer_cpu(receiver));
    receiver->looked_from = look.start;
    do {
        for (int i = 0; i < look.looks; i++) {
            enum wait result = look_once(thread, A_LOOK);
            if (result == WAIT_READY)
                spin_learn(&receiver->spin_ns, look_limit_ns(), look.now - look.start);
            if (result != WAIT_AGAIN)
                return result;
            look_pause(&look);
        }
        if (park_asked(thread))
            park_here(thread);
    } while (look_goes_on(&look, thread, deadline));
    return thread->runs_handlers ? WAIT_INTERRUPTED : sleep_for_message(thread, deadline);
}

/* --- the system call ------------------------------------------------------------------------------------------------ */

static enum route broken(struct cpu_thread *thread)
{
    raise_broken(thread, "a receive beside channels got another entry's completion, or its doorbell does not ring");
    return FAILED;
}

static enum route wait_for_message(struct cpu_thread *thread, int64_t timeout_ns)
{
    int64_t deadline = deadline_after(timeout_ns);
    enum wait result = without_gil(thread, deadline, look_for_message);
    while (result == WAIT_INTERRUPTED) {
        if (PyErr_CheckSignals() < 0) {
            PyObject *type, *value, *traceback;
            PyErr_Fetch(&type, &value, &traceback);
            without_gil(thread, deadline, receive_end);
            PyErr_Restore(type, value, traceback);
            return FAILED;
        }
        result = without_gil(thread, deadline, sleep_for_message);
    }
    if (result == WAIT_BROKEN)
        return broken(thread);
    return result == WAIT_READY ? BY_CHANNEL : CANCELLED;
}

enum wait receive_end(struct cpu_thread *thread, int64_t Py_UNUSED(deadline)) { return end(thread, WAIT_TIMEOUT); }

static enum route poll_once(struct cpu_thread *thread)
{
    enum wait result = look_once(thread, MOST_RECEIVED);
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
    memcpy(answer.mr, entry->mr, sizeof answer.mr);
    channel_answer(receiver->serving->page, receiver->sequence, &answer, message_area(thread));
    if (__atomic_load_n(&receiver->serving->gone, __ATOMIC_ACQUIRE))
        receiver->event_seen--; /* its place can be given back now */
    receiver->serving = NULL;
    return true;
}

/* The first phase of REPLY_RECV, where the request came through the kernel. A server whose channels are in use goes on to
 * look at them; another one waits in the kernel at once. False if the doorbell does not ring. */
static bool answer_by_kernel(struct cpu_thread *thread, const struct sel4py_entry *entry)
{
    struct receiver *receiver = thread->receiver;
    struct sel4py_entry sent = *entry;
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
                              const struct sel4py_tail *tail, int64_t timeout_ns, struct sel4py_completion *completion)
{
    struct receiver *receiver = thread->receiver;
    const int32_t op = entry->op;
    if (op == SEL4PY_SYSCALL_SEND || op == SEL4PY_SYSCALL_NB_SEND) {
        /* An answer by itself. */
        if (entry->cptr != receiver->reply || !answer_served(thread, entry))
            return BY_KERNEL;
        *completion = (struct sel4py_completion){.status = SEL4PY_STATUS_DONE};
        return BY_CHANNEL;
    }
    const bool plain = op == SEL4PY_SYSCALL_RECV || op == SEL4PY_SYSCALL_WAIT || is_polling(op);
    if (!entry->cptr || entry->cptr != receiver->cptr || !(plain || op == SEL4PY_SYSCALL_REPLY_RECV))
        return BY_KERNEL;
    receiver->reply = tail->reply;
    receiver->completion = completion;
    receiver->posted = false;
    receiver->is_wait = op == SEL4PY_SYSCALL_WAIT || op == SEL4PY_SYSCALL_NB_WAIT;
    if (op == SEL4PY_SYSCALL_REPLY_RECV && !answer_served(thread, entry) && !answer_by_kernel(thread, entry))
        return broken(thread);
    receiver->serving = NULL;
    if (is_polling(op))
        return poll_once(thread);
    refresh(thread);
    /* Without a channel there is nothing to watch but the kernel. */
    if (!receiver->count && !receiver->posted && !post(thread))
        return broken(thread);
    for (int i = looks_with_gil(peer_cpu(receiver), receiver->last == LAST_CHANNEL ? EASE_SERVER : 0); i > 0 && !receiver->posted && !park_asked(thread); i--) {
        if (poll_channels(thread, A_LOOK))
            return BY_CHANNEL;
        if (kernel_has_some(thread))
            break;
        relax();
    }
    enum route route = wait_for_message(thread, timeout_ns);
    if (route == CANCELLED)
        *completion = (struct sel4py_completion){.status = SEL4PY_STATUS_CANCELLED};
    return route == CANCELLED ? BY_CHANNEL : route;
}

/* --- listening, and answers that are put off ------------------------------------------------------------------------ */

int receive_listen(struct cpu_thread *thread, uint64_t cptr)
{
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
    __atomic_add_fetch(&channel->owed, 1, __ATOMIC_SEQ_CST);
    receiver->serving = NULL;
    return (uint64_t)channel->generation << 32 | (uint64_t)(channel - channel_place(0) + 1) << 16 | receiver->sequence;
}

bool receive_answer(struct cpu_thread *thread, uint64_t handle, const struct channel_message *answer)
{
    uint64_t index = (handle >> 16 & 0xffff) - 1;
    struct channel *channel = index < CHANNEL_PLACES ? channel_place((unsigned)index) : NULL;
    if (!channel || channel->generation != handle >> 32 || !__atomic_load_n(&channel->owed, __ATOMIC_ACQUIRE))
        return false;
    channel_answer(channel->page, (uint16_t)handle, answer, message_area(thread));
    __atomic_sub_fetch(&channel->owed, 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    /* The thread that it was for can give its place back now, or take what was posted since the answer. */
    if (__atomic_load_n(&channel->gone, __ATOMIC_SEQ_CST) || channel_has_request(channel->page))
        channel_look_again(channel);
    return true;
}

void receive_forget(struct cpu_thread *thread)
{
    free(thread->receiver);
    thread->receiver = NULL;
}
