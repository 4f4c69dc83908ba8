/* Channels: calls and signals through a page that two processes share (libsel4py/abi.py, "the channel").
 *
 * channel.c is the protocol on one page, and knows neither Python nor the trap ring: a stress test compiles it alone.
 * channel_table.c is what this process holds. calls.c calls, receive.c receives.
 *
 * Rules. Everything on a page may change at any time, by a peer that means harm: it is copied once, word by word, and the
 * copy is checked. A page that was taken away reads as zeroes, and no word that the protocol waits for is zero: GONE.
 * Announce, look again, then sleep; what announces and what publishes are sequentially consistent.
 */
#ifndef SEL4PY_CHANNEL_H
#define SEL4PY_CHANNEL_H

#include "abi.h"
#include "spin.h"

#include <stdbool.h>
#include <stdint.h>

/* The way of a call between two that run is one function on each side: who is IN_ONE is compiled with all that it uses. What is
 * seldom come to stays APART. */
#define IN_ONE __attribute__((flatten, hot))
#define APART __attribute__((noinline))
#if defined(__GNUC__) && !defined(__clang__)
#define UNROLLED _Pragma("GCC unroll 4")
#else
#define UNROLLED
#endif

/* Loads that acquire: a look at POSTED or DONE afterwards is one at a later moment. And word by word on either side: a wider
 * load of words that have just been stored one by one would wait until they are in the cache. */
static inline void copy_words(uint64_t *to, const uint64_t *from, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        __atomic_store_n(&to[i], __atomic_load_n(&from[i], __ATOMIC_ACQUIRE), __ATOMIC_RELAXED);
}

/* The message registers, between a page and what is this thread's alone. */
static inline void put_registers(uint64_t *page, const uint64_t *from)
{
    UNROLLED
    for (unsigned i = 0; i < SEL4PY_MESSAGE_REGISTERS; i++)
        __atomic_store_n(&page[i], from[i], __ATOMIC_RELAXED);
}

static inline void get_registers(uint64_t *to, const uint64_t *page)
{
    UNROLLED
    for (unsigned i = 0; i < SEL4PY_MESSAGE_REGISTERS; i++)
        to[i] = __atomic_load_n(&page[i], __ATOMIC_ACQUIRE);
}

/* A message as it goes over a page; words from 4 on lie in the message area of whoever sends or receives. */
struct channel_message {
    uint32_t kind; /* sel4py ChannelOp, or Status */
    uint64_t info;
    uint64_t mr[SEL4PY_MESSAGE_REGISTERS];
};

/* --- the client ---------------------------------------------------------------------------------------------------- */

/* Publishes a request and wakes a server that sleeps. False if the page is gone: then nobody has seen anything.
 * `words` is the message area, from word 0 on. */
bool channel_post(uint8_t *page, uint16_t sequence, const struct channel_message *message, const uint64_t *words);
enum answer { ANSWER_NONE, ANSWER_THERE, ANSWER_GONE };
enum answer channel_look(const uint8_t *page, uint16_t sequence);
/* Says that the client will sleep on *seen. False if there is no need to: look again. */
bool channel_announce_client(uint8_t *page, uint16_t sequence, uint32_t *seen);
/* Copies the answer, which is there. False if the page went meanwhile. */
bool channel_read_answer(const uint8_t *page, uint16_t sequence, struct channel_message *message, uint64_t *words);
/* Takes a request back. False if a server has taken it, or has answered, or the page is gone. */
bool channel_withdraw(uint8_t *page, uint16_t sequence);

/* --- the server ---------------------------------------------------------------------------------------------------- */

bool channel_has_request(const uint8_t *page);
/* Takes and copies a request, if there is one. False if there is none, another server was first, or the page is gone. */
bool channel_take(uint8_t *page, uint32_t listener, uint16_t *sequence, struct channel_message *message,
                  uint64_t *words);
void channel_answer(uint8_t *page, uint16_t sequence, const struct channel_message *message, const uint64_t *words);
/* Says that a server will sleep on *seen. False if there is something to take. */
bool channel_announce_server(uint8_t *page, uint32_t *seen);

/* --- signals ------------------------------------------------------------------------------------------------------- */

/* False if the page is gone. */
bool channel_signal(uint8_t *page, uint64_t badge);
/* The signals since the last time, out of those that `badge` allows. */
uint64_t channel_take_signals(uint8_t *page, uint64_t badge);
bool channel_has_signals(const uint8_t *page, uint64_t badge);
/* As channel_announce_server. */
bool channel_announce_waiter(uint8_t *page, uint64_t badge, uint32_t *seen);

/* --- the keeper ---------------------------------------------------------------------------------------------------- */

/* Ends, with status SERVER_DIED, what this listener had taken and not answered. */
void channel_end_taken(uint8_t *page, uint32_t listener);

/* Several words are looked at, since each side goes on to write one of them until it has seen that the page is gone. */
bool channel_page_is_gone(const uint8_t *page);

/* Futex words of a page, for whoever sleeps: servers, and the client. */
uint32_t *channel_sleepers_word(const uint8_t *page);
uint32_t *channel_done_word(uint8_t *page);
/* POSTED, and STATE, by which servers take. */
uint32_t *channel_posted_word(uint8_t *page);
uint32_t *channel_state_word(const uint8_t *page);
/* Where the peer ran when it wrote last. */
uint32_t channel_server_cpu(const uint8_t *page);
uint32_t channel_client_cpu(const uint8_t *page);

static inline unsigned message_length(uint64_t info)
{
    unsigned length = info & 127;
    return length > SEL4PY_MESSAGE_MAX_LENGTH ? SEL4PY_MESSAGE_MAX_LENGTH : length;
}

/* Label and length alone: no capability travels, none was unwrapped. */
static inline uint64_t plain_info(uint64_t info) { return (info & ~(uint64_t)0xfff) | message_length(info); }

#endif
