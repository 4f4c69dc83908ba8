/* The protocol on one channel's page. See channel.h for its rules, docs/manual/channel_protocol.md for what was proved.
 *
 *   client                                        server
 *   writes its line, then
 *   POSTED = sequence (exchange)                  sees that POSTED is not STATE's sequence (REQUEST),
 *   wakes SLEEPERS, if there are any              STATE -> TAKEN, sequence (compare and exchange), copies
 *   looks at DONE, announces, sleeps              serves, writes its line, then
 *   sees DONE = its sequence, copies              DONE = sequence (exchange)
 *
 * While both sides run the client's line and the server's cross between processors once each, and no other does: STATE is
 * the servers' own, but for a client that withdraws its request, and SLEEPERS is written where somebody goes to sleep or is
 * woken.
 */
#define _GNU_SOURCE
#include "channel.h"

#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WORDS_FROM = SEL4PY_MESSAGE_REGISTERS, STATE_MASK = 7 };

static struct sel4py_line *line_at(const uint8_t *page, unsigned offset)
{
    return (struct sel4py_line *)(uintptr_t)(page + offset);
}

uint32_t *channel_posted_word(uint8_t *page) { return &line_at(page, SEL4PY_CHANNEL_REQUEST)->word; }

uint32_t *channel_done_word(uint8_t *page) { return &line_at(page, SEL4PY_CHANNEL_REPLY)->word; }

static uint32_t *word_at(const uint8_t *page, unsigned offset) { return (uint32_t *)(uintptr_t)(page + offset); }

uint32_t *channel_state_word(const uint8_t *page) { return word_at(page, SEL4PY_CHANNEL_STATE); }

uint32_t *channel_sleepers_word(const uint8_t *page) { return word_at(page, SEL4PY_CHANNEL_SLEEPERS); }

static uint64_t *signals_word(const uint8_t *page) { return (uint64_t *)(uintptr_t)(page + SEL4PY_CHANNEL_SIGNALS); }

uint32_t channel_server_cpu(const uint8_t *page)
{
    return __atomic_load_n(&line_at(page, SEL4PY_CHANNEL_REPLY)->cpu, __ATOMIC_RELAXED);
}

uint32_t channel_client_cpu(const uint8_t *page)
{
    return __atomic_load_n(&line_at(page, SEL4PY_CHANNEL_REQUEST)->cpu, __ATOMIC_RELAXED);
}

APART static void wake(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void write_line(uint8_t *page, unsigned offset, unsigned words_offset, const struct channel_message *message,
                       const uint64_t *words)
{
    struct sel4py_line *line = line_at(page, offset);
    unsigned length = message_length(message->info);
    __atomic_store_n(&line->kind, message->kind, __ATOMIC_RELAXED);
    __atomic_store_n(&line->info, message->info, __ATOMIC_RELAXED);
    put_registers(line->mr, message->mr);
    __atomic_store_n(&line->cpu, current_cpu(), __ATOMIC_RELAXED);
    if (length > WORDS_FROM)
        copy_words((uint64_t *)(void *)(page + words_offset), words + WORDS_FROM, length - WORDS_FROM);
}

static void read_line(const uint8_t *page, unsigned offset, unsigned words_offset, struct channel_message *message,
                      uint64_t *words)
{
    const struct sel4py_line *line = line_at(page, offset);
    message->kind = __atomic_load_n(&line->kind, __ATOMIC_ACQUIRE);
    message->info = plain_info(__atomic_load_n(&line->info, __ATOMIC_ACQUIRE));
    get_registers(message->mr, line->mr);
    unsigned length = message_length(message->info);
    if (length > WORDS_FROM)
        copy_words(words + WORDS_FROM, (const uint64_t *)(const void *)(page + words_offset), length - WORDS_FROM);
}

/* Fetches the line that this side is going to write while it has other things to do. Never faults. */
static void expect_to_write(const uint8_t *page, unsigned offset)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(page[offset]));
#else
    __builtin_prefetch(page + offset, 1, 3);
#endif
}

static uint32_t with_sequence(uint16_t sequence, uint32_t low) { return (uint32_t)sequence << 16 | low; }

_Static_assert(SEL4PY_CHANNEL_SEQUENCE_SHIFT == 16, "the sequence is the upper half of POSTED, STATE and DONE");
_Static_assert(SEL4PY_CHANNELSTATE_GONE == 0, "a page that was taken away reads as zeroes");
_Static_assert(SEL4PY_CHANNEL_LISTENER_MAX << SEL4PY_CHANNEL_LISTENER_SHIFT == 0xfff0, "a listener's number fits");

bool channel_page_is_gone(const uint8_t *page)
{
    return !__atomic_load_n(channel_posted_word((uint8_t *)(uintptr_t)page), __ATOMIC_RELAXED) ||
           !__atomic_load_n(channel_done_word((uint8_t *)(uintptr_t)page), __ATOMIC_RELAXED) ||
           !__atomic_load_n(channel_state_word(page), __ATOMIC_RELAXED);
}

/* After POSTED or the signals were written: the other order than a server's, which says that it will sleep and then looks
 * at them. The addition takes SLEEPING away, and makes the word another one than any that a server is about to sleep on:
 * one that said so before and is not in the queue yet comes back by itself. */
static void wake_sleepers(uint8_t *page)
{
    uint32_t *sleepers = channel_sleepers_word(page);
    if (!(__atomic_load_n(sleepers, __ATOMIC_SEQ_CST) & SEL4PY_CHANNEL_SLEEPING))
        return;
    __atomic_fetch_add(sleepers, SEL4PY_CHANNEL_SLEEPING, __ATOMIC_SEQ_CST);
    wake(sleepers);
}

/* What the word is while nobody has woken those that sleep on it. */
static uint32_t announce_sleeper(uint8_t *page)
{
    return __atomic_fetch_or(channel_sleepers_word(page), SEL4PY_CHANNEL_SLEEPING, __ATOMIC_SEQ_CST) |
           SEL4PY_CHANNEL_SLEEPING;
}

/* --- the client ---------------------------------------------------------------------------------------------------- */

bool channel_post(uint8_t *page, uint16_t sequence, const struct channel_message *message, const uint64_t *words)
{
    write_line(page, SEL4PY_CHANNEL_REQUEST, SEL4PY_CHANNEL_REQUEST_WORDS, message, words);
    if (!__atomic_exchange_n(channel_posted_word(page), with_sequence(sequence, SEL4PY_CHANNEL_VALID), __ATOMIC_SEQ_CST))
        return false;
    wake_sleepers(page);
    return true;
}

enum answer channel_look(const uint8_t *page, uint16_t sequence)
{
    uint32_t done = __atomic_load_n(channel_done_word((uint8_t *)(uintptr_t)page), __ATOMIC_ACQUIRE);
    if (done >> 16 == sequence && done)
        return ANSWER_THERE;
    return done ? ANSWER_NONE : ANSWER_GONE;
}

bool channel_announce_client(uint8_t *page, uint16_t sequence, uint32_t *seen)
{
    uint32_t *done = channel_done_word(page), before = __atomic_load_n(done, __ATOMIC_SEQ_CST);
    *seen = before | SEL4PY_CHANNEL_WAITER;
    if (!before || before >> 16 == sequence)
        return false;
    return __atomic_compare_exchange_n(done, &before, *seen, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

bool channel_read_answer(const uint8_t *page, uint16_t sequence, struct channel_message *message, uint64_t *words)
{
    read_line(page, SEL4PY_CHANNEL_REPLY, SEL4PY_CHANNEL_REPLY_WORDS, message, words);
    expect_to_write(page, SEL4PY_CHANNEL_REQUEST);
    return channel_look(page, sequence) == ANSWER_THERE;
}

bool channel_withdraw(uint8_t *page, uint16_t sequence)
{
    uint32_t *state = channel_state_word(page), before = __atomic_load_n(state, __ATOMIC_SEQ_CST);
    do {
        if (!before || before >> 16 == sequence)
            return false;
    } while (!__atomic_compare_exchange_n(state, &before, with_sequence(sequence, SEL4PY_CHANNELSTATE_IDLE), false,
                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    /* Nobody will answer it. An older answer must not be met again when the numbers have come round. */
    __atomic_store_n(channel_done_word(page), with_sequence(sequence, SEL4PY_CHANNEL_VALID), __ATOMIC_SEQ_CST);
    return true;
}

/* --- the server ---------------------------------------------------------------------------------------------------- */

/* The sequence of a request that waits for a server. STATE is loaded first: while it stays as it was then, the request
 * that POSTED names afterwards is the newest one, and nobody has taken it. The other way round it may be one of long
 * ago. */
static bool find_request(const uint8_t *page, uint16_t *sequence, uint32_t *state)
{
    *state = __atomic_load_n(channel_state_word(page), __ATOMIC_ACQUIRE);
    uint32_t posted = __atomic_load_n(channel_posted_word((uint8_t *)(uintptr_t)page), __ATOMIC_ACQUIRE);
    *sequence = (uint16_t)(posted >> 16);
    return posted && *state && *state >> 16 != *sequence;
}

bool channel_has_request(const uint8_t *page)
{
    uint16_t sequence;
    uint32_t state;
    return find_request(page, &sequence, &state);
}

bool channel_take(uint8_t *page, uint32_t listener, uint16_t *sequence, struct channel_message *message,
                  uint64_t *words)
{
    uint32_t seen;
    if (!find_request(page, sequence, &seen))
        return false;
    uint32_t taken = with_sequence(*sequence, listener << SEL4PY_CHANNEL_LISTENER_SHIFT | SEL4PY_CHANNELSTATE_TAKEN);
    if (!__atomic_compare_exchange_n(channel_state_word(page), &seen, taken, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return false;
    read_line(page, SEL4PY_CHANNEL_REQUEST, SEL4PY_CHANNEL_REQUEST_WORDS, message, words);
    expect_to_write(page, SEL4PY_CHANNEL_REPLY);
    /* If the page went while it was copied, the copy may be half zeroes. */
    return __atomic_load_n(channel_posted_word(page), __ATOMIC_RELAXED) != 0;
}

void channel_answer(uint8_t *page, uint16_t sequence, const struct channel_message *message, const uint64_t *words)
{
    uint32_t *done = channel_done_word(page);
    write_line(page, SEL4PY_CHANNEL_REPLY, SEL4PY_CHANNEL_REPLY_WORDS, message, words);
    uint32_t before = __atomic_exchange_n(done, with_sequence(sequence, SEL4PY_CHANNEL_VALID), __ATOMIC_SEQ_CST);
    if (before & SEL4PY_CHANNEL_WAITER)
        wake(done);
}

bool channel_announce_server(uint8_t *page, uint32_t *seen)
{
    *seen = announce_sleeper(page);
    uint32_t state = __atomic_load_n(channel_state_word(page), __ATOMIC_SEQ_CST);
    uint32_t posted = __atomic_load_n(channel_posted_word(page), __ATOMIC_SEQ_CST);
    /* The keeper will say that a page is gone: nothing to take. */
    return !posted || !state || state >> 16 == posted >> 16;
}

/* --- signals ------------------------------------------------------------------------------------------------------- */

bool channel_signal(uint8_t *page, uint64_t badge)
{
    __atomic_fetch_or(signals_word(page), badge, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(channel_posted_word(page), __ATOMIC_RELAXED))
        return false;
    wake_sleepers(page);
    return true;
}

uint64_t channel_take_signals(uint8_t *page, uint64_t badge)
{
    uint64_t *signals = signals_word(page);
    if (!__atomic_load_n(signals, __ATOMIC_RELAXED))
        return 0;
    return __atomic_exchange_n(signals, 0, __ATOMIC_SEQ_CST) & badge;
}

bool channel_has_signals(const uint8_t *page, uint64_t badge)
{
    return __atomic_load_n(signals_word(page), __ATOMIC_RELAXED) & badge;
}

bool channel_announce_waiter(uint8_t *page, uint64_t badge, uint32_t *seen)
{
    *seen = announce_sleeper(page);
    return !(__atomic_load_n(signals_word(page), __ATOMIC_SEQ_CST) & badge);
}

/* --- the keeper ---------------------------------------------------------------------------------------------------- */

void channel_end_taken(uint8_t *page, uint32_t listener)
{
    /* DONE first: what this listener had taken by then is still there, since nobody takes in its name any more. The other
     * way round STATE may be of one request and DONE of the next. */
    uint32_t done = __atomic_load_n(channel_done_word(page), __ATOMIC_ACQUIRE);
    uint32_t state = __atomic_load_n(channel_state_word(page), __ATOMIC_ACQUIRE);
    uint32_t by = state >> SEL4PY_CHANNEL_LISTENER_SHIFT & SEL4PY_CHANNEL_LISTENER_MAX;
    if ((state & STATE_MASK) != SEL4PY_CHANNELSTATE_TAKEN || by != listener || !done)
        return;
    const struct channel_message died = {.kind = SEL4PY_STATUS_SERVER_DIED};
    if (done >> 16 != state >> 16)
        channel_answer(page, (uint16_t)(state >> 16), &died, NULL);
    else
        wake(channel_done_word(page)); /* it answered, and may not have got to its wake */
}
