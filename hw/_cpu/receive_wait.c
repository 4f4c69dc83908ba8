/* Waiting for a message by channels and from the kernel at once: looks first, then sleeps on all of their words.
 *
 * All of this runs without the GIL, but for the first looks. Announce on every word, look at each again, then sleep.
 */
#include "receive.h"

#include <errno.h>

enum wait receive_look_once(struct cpu_thread *thread, unsigned most)
{
    struct receiver *receiver = thread->receiver;
    if (receiver->posted) {
        if (ring_ready(thread))
            return receive_take_posted(thread);
        if (!receive_is_channel_ready(thread))
            return WAIT_AGAIN;
        enum wait result = receive_retract(thread);
        if (result != WAIT_INTERRUPTED)
            return result;
        return receive_poll_channels(thread, MOST_RECEIVED) ? WAIT_READY : WAIT_AGAIN;
    }
    const bool kernel_first = receiver->last == LAST_CHANNEL;
    for (int turn = 0; turn < 2; turn++) {
        if ((turn == 0) != kernel_first) {
            if (receive_poll_channels(thread, most))
                return WAIT_READY;
        } else if (receive_kernel_has_some(thread)) {
            enum wait result = receive_poll_kernel(thread);
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
                         ? channel_announce_server(channel->page, &seen) || receive_is_owed(channel)
                         : channel_announce_waiter(channel->page, channel->badge, &seen);
        if (!quiet)
            return false;
        words[OWN_WORDS + i] = (struct futex_waitv){
            .val = seen, .uaddr = (uintptr_t)channel_sleepers_word(channel->page), .flags = FUTEX_32};
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
        return receive_post(thread) ? WAIT_AGAIN : WAIT_BROKEN;
    return result;
}

enum wait receive_end(struct cpu_thread *thread, int64_t Py_UNUSED(deadline))
{
    if (!thread->receiver->posted)
        return WAIT_TIMEOUT;
    enum wait result = receive_retract(thread);
    return result == WAIT_INTERRUPTED ? WAIT_TIMEOUT : result;
}

enum wait receive_sleep(struct cpu_thread *thread, int64_t deadline)
{
    struct receiver *receiver = thread->receiver;
    for (int attempts = 0; attempts < SLEEP_ATTEMPTS; attempts++) {
        enum wait result = receive_look_once(thread, MOST_RECEIVED);
        if (result == WAIT_READY)
            spin_learn(&receiver->spin_ns, look_limit_ns(), now_ns() - receiver->looked_from);
        if (result != WAIT_AGAIN)
            return result;
        result = sleep_once(thread, deadline);
        if (result == WAIT_TIMEOUT)
            return receive_end(thread, deadline);
        if (result != WAIT_AGAIN)
            return result;
    }
    return now_ns() >= deadline ? receive_end(thread, deadline) : WAIT_INTERRUPTED;
}

uint32_t receive_peer_cpu(const struct receiver *receiver)
{
    return receiver->peer ? channel_client_cpu(receiver->peer->page) : UINT32_MAX;
}

enum wait receive_look(struct cpu_thread *thread, int64_t deadline)
{
    struct receiver *receiver = thread->receiver;
    struct look look;
    look_begin(&look, thread, &receiver->spin_ns, receive_peer_cpu(receiver));
    receiver->looked_from = look.start;
    do {
        for (int i = 0; i < look.looks; i++) {
            enum wait result = receive_look_once(thread, A_LOOK);
            if (result == WAIT_READY)
                spin_learn(&receiver->spin_ns, look_limit_ns(), look.now - look.start);
            if (result != WAIT_AGAIN)
                return result;
            look_pause(&look);
        }
        if (park_asked(thread))
            park_here(thread);
    } while (look_goes_on(&look, thread, deadline));
    return thread->runs_handlers ? WAIT_INTERRUPTED : receive_sleep(thread, deadline);
}
