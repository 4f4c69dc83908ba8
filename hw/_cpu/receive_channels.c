/* Receiving by channels: which channels a listening thread has, and one message from one of them.
 *
 * By turns: the channel that was served last is looked at first, but not for ever, and the others from behind the one that
 * was looked at last.
 */
#include "receive.h"

APART static void refresh(struct cpu_thread *thread, uint32_t event)
{
    struct receiver *receiver = thread->receiver;
    receiver->event_seen = event;
    receiver->count = receiver->waiters = 0;
    const unsigned places = channel_places();
    uint32_t seen;
    for (unsigned i = 0; i < places && receiver->count < MOST_RECEIVED; i++) {
        struct channel *channel = channel_place(i);
        if (!channel_is_of(channel, thread, &seen) || !channel_is_received(channel) || !channel_keep(channel, seen))
            continue; /* or taken back while it was looked at */
        if (!channel_is_gone(channel)) {
            receiver->channels[receiver->count++] = channel;
            receiver->waiters += channel->role == SEL4PY_CHANNELROLE_WAITER;
        } else if (!__atomic_load_n(&channel->owed, __ATOMIC_ACQUIRE) && channel != receiver->serving) {
            channel_give_back(channel);
        }
    }
}

void receive_refresh(struct cpu_thread *thread)
{
    uint32_t event = __atomic_load_n(&thread->event, __ATOMIC_ACQUIRE);
    if (event != thread->receiver->event_seen)
        refresh(thread, event);
}

/* What was sent and waits for no answer: it is taken. */
APART static void answer_send(const struct channel *channel, uint16_t sequence)
{
    const struct channel_message taken = {.kind = SEL4PY_STATUS_DONE};
    channel_answer(channel->page, sequence, &taken, NULL);
}

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
    if (message->kind != SEL4PY_CHANNELOP_CALL) {
        answer_send(channel, sequence);
        return;
    }
    receiver->serving = channel;
    receiver->sequence = sequence;
}

APART static bool take_signals(struct receiver *receiver)
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

static bool take_from(struct cpu_thread *thread, unsigned at)
{
    struct receiver *receiver = thread->receiver;
    struct channel *channel = receiver->channels[at];
    struct channel_message message;
    uint16_t sequence;
    if (channel->role != SEL4PY_CHANNELROLE_SERVER || receive_is_owed(channel) ||
        !channel_take(channel->page, channel->listener, &sequence, &message, receive_message_area(thread)))
        return false;
    receiver->last_served = at;
    take_message(thread, channel, sequence, &message);
    return true;
}

/* The next one that has a request, of `most` that are not `former`, from behind the one that was looked at last. */
static bool take_from_others(struct cpu_thread *thread, unsigned former, unsigned most)
{
    struct receiver *receiver = thread->receiver;
    const unsigned count = receiver->count;
    for (unsigned i = 0; i < most && i < count; i++) {
        unsigned at = receiver->next < count ? receiver->next : 0;
        receiver->next = at + 1;
        if (at != former && take_from(thread, at)) {
            receiver->streak = 1;
            return true;
        }
    }
    return false;
}

/* Looks at the channel that was served last, which is the likeliest, and at `most` of the others, whose turn it is. One
 * client alone cannot keep the others waiting: after STREAK of its requests all others are looked at first. */
static bool take_request(struct cpu_thread *thread, unsigned most)
{
    struct receiver *receiver = thread->receiver;
    const unsigned former = receiver->last_served;
    const bool is_over = receiver->streak >= STREAK;
    if (is_over && take_from_others(thread, former, receiver->count))
        return true;
    if (former < receiver->count && take_from(thread, former)) {
        receiver->streak = is_over ? 1 : receiver->streak + 1;
        return true;
    }
    return !is_over && take_from_others(thread, former, most);
}

bool receive_poll_channels(struct cpu_thread *thread, unsigned most)
{
    struct receiver *receiver = thread->receiver;
    receive_refresh(thread);
    return (receiver->waiters && take_signals(receiver)) || take_request(thread, most);
}

bool receive_is_channel_ready(struct cpu_thread *thread)
{
    struct receiver *receiver = thread->receiver;
    receive_refresh(thread);
    for (unsigned i = 0; i < receiver->count; i++) {
        const struct channel *channel = receiver->channels[i];
        if (channel->role == SEL4PY_CHANNELROLE_SERVER ? channel_has_request(channel->page) && !receive_is_owed(channel)
                                                       : channel_has_signals(channel->page, channel->badge))
            return true;
    }
    return false;
}
