/* Calling by channels: which capability addresses of a thread go by which channel, and one call.
 *
 * A call looks for its answer for as long as that has paid lately, with the GIL at first, then without it, and sleeps
 * then. Where the server ran last on our own processor looking cannot help: the processor is given away instead. What
 * a page cannot do, or may not any more, is left to the kernel (BY_KERNEL), which knows the exact error.
 */
#include "calls.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

enum { SLOTS = 2 * SEL4PY_CHANNELS_PER_THREAD };

struct binding {
    uint64_t cptr;
    struct channel *channel;
};

struct bindings {
    struct binding slots[SLOTS];
    unsigned count;
    struct channel *calling; /* whose answer is waited for */
    int64_t looked_from;
};

static unsigned home(uint64_t cptr) { return (unsigned)(cptr * 0x9e3779b97f4a7c15ull >> 57) % SLOTS; }

static struct binding *slot_of(struct bindings *bindings, uint64_t cptr)
{
    unsigned at = home(cptr);
    while (bindings->slots[at].channel && bindings->slots[at].cptr != cptr)
        at = (at + 1) % SLOTS;
    return &bindings->slots[at];
}

int calls_bind(struct cpu_thread *thread, uint64_t cptr, struct channel *channel)
{
    if (!thread->bindings)
        thread->bindings = calloc(1, sizeof *thread->bindings);
    struct bindings *bindings = thread->bindings;
    if (!bindings)
        return ENOMEM;
    struct binding *slot = slot_of(bindings, cptr);
    if (!slot->channel && bindings->count >= SEL4PY_CHANNELS_PER_THREAD)
        return EMFILE;
    bindings->count += !slot->channel;
    *slot = (struct binding){.cptr = cptr, .channel = channel};
    return 0;
}

struct channel *calls_unbind(struct cpu_thread *thread, uint64_t cptr)
{
    struct bindings *bindings = thread->bindings;
    struct binding *slot = bindings ? slot_of(bindings, cptr) : NULL;
    struct channel *channel = slot ? slot->channel : NULL;
    if (!channel)
        return NULL;
    slot->channel = NULL;
    bindings->count--;
    /* Those that stood behind it because their own places were taken move up. */
    unsigned at = (unsigned)(slot - bindings->slots + 1) % SLOTS;
    for (; bindings->slots[at].channel; at = (at + 1) % SLOTS) {
        struct binding moved = bindings->slots[at];
        bindings->slots[at].channel = NULL;
        *slot_of(bindings, moved.cptr) = moved;
    }
    return channel;
}

struct channel *calls_find(struct cpu_thread *thread, uint64_t cptr)
{
    return thread->bindings ? slot_of(thread->bindings, cptr)->channel : NULL;
}

void calls_forget(struct cpu_thread *thread)
{
    free(thread->bindings);
    thread->bindings = NULL;
}

/* Whether the server still owes an answer that nobody has waited for: then no request can be posted. */
APART static bool is_owed(struct channel *channel)
{
    channel->abandoned = channel_look(channel->page, channel->sequence) == ANSWER_NONE;
    return channel->abandoned;
}

static bool is_there(const struct channel *channel)
{
    return channel_look(channel->page, channel->sequence) != ANSWER_NONE;
}

static enum wait sleep_for_answer(struct cpu_thread *thread, int64_t deadline)
{
    struct channel *channel = thread->bindings->calling;
    uint32_t seen;
    thread->counters.sleeps++;
    for (int attempts = 0; !is_there(channel); attempts++) {
        if (attempts == SLEEP_ATTEMPTS)
            return now_ns() >= deadline ? WAIT_TIMEOUT : WAIT_INTERRUPTED;
        if (!channel_announce_client(channel->page, channel->sequence, &seen))
            continue;
        if (futex_wait_until(channel_done_word(channel->page), seen, deadline, true) == 0 || errno == EAGAIN ||
            errno == EFAULT)
            continue;
        if (is_there(channel))
            break;
        return errno == ETIMEDOUT ? WAIT_TIMEOUT : WAIT_INTERRUPTED;
    }
    spin_learn(&channel->spin_ns, look_limit_ns(), now_ns() - thread->bindings->looked_from);
    return WAIT_READY;
}

static enum wait look_for_answer(struct cpu_thread *thread, int64_t deadline)
{
    struct channel *channel = thread->bindings->calling;
    struct look look;
    look_begin(&look, thread, &channel->spin_ns, channel_server_cpu(channel->page));
    thread->bindings->looked_from = look.start;
    do {
        for (int i = 0; i < look.looks; i++) {
            if (is_there(channel)) {
                spin_learn(&channel->spin_ns, look_limit_ns(), look.now - look.start);
                return WAIT_READY;
            }
            look_pause(&look);
        }
        if (park_asked(thread))
            park_here(thread);
    } while (look_goes_on(&look, thread, deadline));
    if (look.now >= deadline)
        return is_there(channel) ? WAIT_READY : WAIT_TIMEOUT;
    return thread->runs_handlers ? WAIT_INTERRUPTED : sleep_for_answer(thread, deadline);
}

/* The call is over for us. Whether a server has it, or had it, decides what becomes of the channel. */
static void give_up(struct cpu_thread *thread, struct channel *channel)
{
    if (channel_withdraw(channel->page, channel->sequence))
        return;
    channel->abandoned = true;
    thread->counters.abandoned++;
}

APART static void drop(struct cpu_thread *thread, uint64_t cptr)
{
    struct channel *channel = calls_unbind(thread, cptr);
    if (channel)
        channel_give_back(channel);
}

static void complete(struct cpu_thread *thread, struct channel *channel, uint64_t cptr,
                     struct sel4py_completion *completion)
{
    struct channel_message answer;
    uint64_t *words = (uint64_t *)(void *)(thread->frame + SEL4PY_IPC_MESSAGE);
    *completion = (struct sel4py_completion){.status = SEL4PY_STATUS_DONE};
    if (channel_look(channel->page, channel->sequence) == ANSWER_GONE ||
        !channel_read_answer(channel->page, channel->sequence, &answer, words)) {
        completion->info = (uint64_t)SEL4PY_ERROR_INVALID_CAPABILITY << 12 | 1;
        drop(thread, cptr);
        return;
    }
    if (answer.kind == SEL4PY_STATUS_SERVER_DIED)
        completion->status = SEL4PY_STATUS_SERVER_DIED;
    completion->info = answer.info;
    for (unsigned i = 0; i < SEL4PY_MESSAGE_REGISTERS && i < message_length(answer.info); i++)
        completion->mr[i] = answer.mr[i];
}

/* BY_CHANNEL if the answer is there, CANCELLED if time ran out first, FAILED with the exception of a signal's handler. */
APART static enum route wait_without_gil(struct cpu_thread *thread, struct channel *channel, int64_t timeout_ns)
{
    int64_t deadline = deadline_after(timeout_ns);
    thread->bindings->calling = channel;
    enum wait result = without_gil(thread, deadline, look_for_answer);
    while (result == WAIT_INTERRUPTED) {
        if (PyErr_CheckSignals() < 0) {
            give_up(thread, channel);
            return FAILED;
        }
        result = without_gil(thread, deadline, sleep_for_answer);
    }
    if (result == WAIT_READY)
        return BY_CHANNEL;
    give_up(thread, channel);
    /* What completed before it was given up counts as completed. */
    if (channel->abandoned && is_there(channel)) {
        channel->abandoned = false;
        return BY_CHANNEL;
    }
    return CANCELLED;
}

static enum route wait_for_answer(struct cpu_thread *thread, struct channel *channel, int64_t timeout_ns)
{
    const int looks = looks_with_gil(channel_server_cpu(channel->page), &channel->ease);
    for (int i = looks; i > 0 && !park_asked(thread); i--) {
        if (is_there(channel)) {
            ease_learn(&channel->ease, i == looks);
            return BY_CHANNEL;
        }
        relax();
    }
    return wait_without_gil(thread, channel, timeout_ns);
}

/* A signal waits for nobody. What else may be sent to a notification the kernel knows. So does it what a signal without a
 * badge means: in a page it is no bit at all. */
APART static enum route signal_by_channel(struct cpu_thread *thread, int32_t op, uint64_t cptr,
                                          const struct channel *channel, struct sel4py_completion *completion)
{
    if (op != SEL4PY_SYSCALL_SEND || !channel->badge)
        return BY_KERNEL;
    if (!channel_signal(channel->page, channel->badge)) {
        drop(thread, cptr);
        return BY_KERNEL;
    }
    *completion = (struct sel4py_completion){.status = SEL4PY_STATUS_DONE};
    return BY_CHANNEL;
}

enum route call_by_channel(struct cpu_thread *thread, const struct sel4py_entry *entry, int64_t timeout_ns,
                           struct sel4py_completion *completion)
{
    struct channel *channel = calls_find(thread, entry->cptr);
    if (!channel)
        return BY_KERNEL;
    /* DONE alone is looked at, which is the server's word: the others are not ours to fetch before they must be
     * written. */
    if (__atomic_load_n(&channel->gone, __ATOMIC_ACQUIRE) ||
        channel_look(channel->page, channel->sequence) == ANSWER_GONE) {
        drop(thread, entry->cptr);
        return BY_KERNEL;
    }
    if (channel->role == SEL4PY_CHANNELROLE_SIGNALLER)
        return signal_by_channel(thread, entry->op, entry->cptr, channel, completion);
    if (channel->abandoned && is_owed(channel))
        return BY_KERNEL;
    struct channel_message request = {.info = plain_info(entry->info)};
    request.kind = entry->op == SEL4PY_SYSCALL_SEND ? SEL4PY_CHANNELOP_SEND : SEL4PY_CHANNELOP_CALL;
    for (unsigned i = 0; i < SEL4PY_MESSAGE_REGISTERS; i++)
        request.mr[i] = entry->mr[i];
    const uint64_t *words = (const uint64_t *)(const void *)(thread->frame + SEL4PY_IPC_MESSAGE);
    channel->sequence++;
    if (!channel_post(channel->page, channel->sequence, &request, words)) {
        drop(thread, entry->cptr);
        return BY_KERNEL;
    }
    thread->counters.calls++;
    enum route route = wait_for_answer(thread, channel, timeout_ns);
    if (route == BY_CHANNEL)
        complete(thread, channel, entry->cptr, completion);
    else if (route == CANCELLED)
        *completion = (struct sel4py_completion){.status = SEL4PY_STATUS_CANCELLED};
    return route == CANCELLED ? BY_CHANNEL : route;
}
