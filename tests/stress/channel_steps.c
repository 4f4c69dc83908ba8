/* hw/_cpu/channel.c, interrupted between two given steps.
 *
 * The page straddles two host pages, of which the second is not there at first: the first access to it raises SIGSEGV,
 * whose handler makes what others do at that moment, and lets the access through. Prints nothing; exit status 1 and a
 * line if something went wrong. Argument: the name of the case.
 */
#define _GNU_SOURCE
#include "channel.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HOST_PAGE = 4096, DEAD = 7, SUCCESSOR = 8 };

static uint8_t *memory, *page;
static void (*meanwhile)(void);
static int interrupted;

static uint32_t state_word(uint32_t sequence, uint32_t listener, uint32_t what)
{
    return sequence << 16 | listener << SEL4PY_CHANNEL_LISTENER_SHIFT | what;
}

static void on_fault(int number)
{
    (void)number;
    mprotect(memory + HOST_PAGE, HOST_PAGE, PROT_READ | PROT_WRITE);
    interrupted = 1;
    meanwhile();
}

/* From `offset` on, the channel's page cannot be touched without an interruption. */
static void prepare(unsigned offset, void (*during)(void))
{
    memory = mmap(NULL, (size_t)3 * HOST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    page = memory + HOST_PAGE - offset;
    meanwhile = during;
    *channel_state_word(page) = SEL4PY_CHANNELSTATE_IDLE;
    *channel_posted_word(page) = SEL4PY_CHANNEL_VALID;
    *channel_done_word(page) = SEL4PY_CHANNEL_VALID;
    signal(SIGSEGV, on_fault);
}

static void interrupt(void) { mprotect(memory + HOST_PAGE, HOST_PAGE, PROT_NONE); }

/* Looks pass: a word that was looked at is interrupted where it is exchanged. */
static void interrupt_writes(void) { mprotect(memory + HOST_PAGE, HOST_PAGE, PROT_READ); }

static void rival_announces(void)
{
    uint32_t seen;
    channel_announce_server(page, &seen);
}

/* Another server announces itself beside a request that is being copied. */
static int taken_while_rival_announces(void)
{
    const struct channel_message message = {.info = 5};
    uint64_t words[SEL4PY_MESSAGE_MAX_LENGTH] = {0};
    struct channel_message copy;
    uint16_t sequence;
    prepare(SEL4PY_CHANNEL_REQUEST_WORDS, rival_announces);
    channel_post(page, 1, &message, words);
    interrupt();
    return channel_take(page, DEAD, &sequence, &copy, words) && interrupted &&
           *channel_state_word(page) == state_word(1, DEAD, SEL4PY_CHANNELSTATE_TAKEN);
}

static void next_call_is_answered(void)
{
    *channel_state_word(page) = state_word(2, SUCCESSOR, SEL4PY_CHANNELSTATE_TAKEN);
    *channel_done_word(page) = 2 << 16 | SEL4PY_CHANNEL_VALID;
}

/* The dead one had answered; while the keeper looks, the client calls again and a successor answers. */
static int death_told_during_next_call(void)
{
    prepare(SEL4PY_CHANNEL_REPLY, next_call_is_answered);
    *channel_state_word(page) = state_word(1, DEAD, SEL4PY_CHANNELSTATE_TAKEN);
    *channel_done_word(page) = 1 << 16 | SEL4PY_CHANNEL_VALID;
    interrupt();
    channel_end_taken(page, DEAD);
    return interrupted && *channel_done_word(page) == (2 << 16 | SEL4PY_CHANNEL_VALID);
}

static uint32_t slept_on;

static void *client_sleeps(void *unused)
{
    syscall(SYS_futex, channel_done_word(page), FUTEX_WAIT, slept_on, NULL, NULL, 0);
    return unused;
}

/* The dead one had answered and not woken the client, who sleeps. */
static int death_between_answer_and_wake(void)
{
    pthread_t client;
    uint32_t *done;
    prepare(SEL4PY_CHANNEL_REPLY, rival_announces);
    done = channel_done_word(page);
    *channel_state_word(page) = state_word(1, DEAD, SEL4PY_CHANNELSTATE_TAKEN);
    slept_on = *done |= SEL4PY_CHANNEL_WAITER;
    if (pthread_create(&client, NULL, client_sleeps, NULL))
        return 0;
    /* Moves sleepers onto their own word: tells how many there are. */
    while (syscall(SYS_futex, done, FUTEX_CMP_REQUEUE, 0, 1, done, slept_on) != 1)
        sched_yield();
    __atomic_store_n(done, 1 << 16 | SEL4PY_CHANNEL_VALID, __ATOMIC_SEQ_CST);
    channel_end_taken(page, DEAD);
    alarm(20); /* the end of a client that nobody wakes */
    return pthread_join(client, NULL) == 0;
}

static uint32_t announced;
static int sleeper_is_back;

/* What was posted is taken and answered, and the server is about to sleep. */
static void serve_and_announce(void)
{
    struct channel_message message;
    uint64_t words[SEL4PY_MESSAGE_MAX_LENGTH];
    uint16_t sequence;
    if (channel_take(page, DEAD, &sequence, &message, words))
        channel_answer(page, sequence, &message, words);
    channel_announce_server(page, &announced);
}

static void *server_sleeps(void *unused)
{
    syscall(SYS_futex, channel_sleepers_word(page), FUTEX_WAIT, announced, NULL, NULL, 0);
    __atomic_store_n(&sleeper_is_back, 1, __ATOMIC_SEQ_CST);
    return unused;
}

/* While a client has posted and not yet woken anybody, its call is answered and the server goes to sleep again: the next
 * call finds it. */
static int announced_between_post_and_wake(void)
{
    const struct channel_message message = {.info = 1};
    pthread_t server;
    prepare(SEL4PY_CHANNEL_SLEEPERS, serve_and_announce);
    interrupt();
    channel_post(page, 1, &message, NULL);
    uint32_t *word = channel_sleepers_word(page);
    if (!interrupted || pthread_create(&server, NULL, server_sleeps, NULL))
        return 0;
    while (!__atomic_load_n(&sleeper_is_back, __ATOMIC_SEQ_CST) &&
           syscall(SYS_futex, word, FUTEX_CMP_REQUEUE, 0, 1, word, *word) != 1)
        sched_yield();
    channel_post(page, 2, &message, NULL);
    alarm(20);
    return pthread_join(server, NULL) == 0;
}

/* Two servers announce, one before a call and one after it: the first does not sleep on what the second one says. */
static int announced_before_and_after_a_wake(void)
{
    const struct channel_message message = {.info = 1};
    uint32_t first, second;
    prepare(SEL4PY_CHANNEL_BYTES, serve_and_announce);
    return channel_announce_server(page, &first) && channel_post(page, 1, &message, NULL) &&
           !channel_announce_server(page, &second) && *channel_sleepers_word(page) != first;
}

static void rival_serves_two(void)
{
    const struct channel_message next = {.info = 1};
    struct channel_message message;
    uint64_t words[SEL4PY_MESSAGE_MAX_LENGTH];
    uint16_t sequence;
    channel_take(page, SUCCESSOR, &sequence, &message, words);
    channel_answer(page, sequence, &message, words);
    channel_post(page, 2, &next, words);
    channel_take(page, SUCCESSOR, &sequence, &message, words);
}

/* While a server looks, another one takes and answers that request, and the next one. */
static int looked_at_during_two_calls(void)
{
    const struct channel_message message = {.info = 1};
    struct channel_message copy;
    uint64_t words[SEL4PY_MESSAGE_MAX_LENGTH];
    uint16_t sequence;
    prepare(SEL4PY_CHANNEL_STATE, rival_serves_two);
    channel_post(page, 1, &message, words);
    interrupt();
    return !channel_take(page, DEAD, &sequence, &copy, words) && interrupted &&
           *channel_state_word(page) == state_word(2, SUCCESSOR, SEL4PY_CHANNELSTATE_TAKEN);
}

static void request_is_answered(void) { *channel_done_word(page) = 1 << 16 | SEL4PY_CHANNEL_VALID; }

/* The answer comes between the client's look and its announcement. */
static int answered_while_client_announces(void)
{
    uint32_t seen;
    prepare(SEL4PY_CHANNEL_REPLY, request_is_answered);
    interrupt_writes();
    return !channel_announce_client(page, 1, &seen) && interrupted &&
           *channel_done_word(page) == (1 << 16 | SEL4PY_CHANNEL_VALID);
}

static void request_is_taken(void) { *channel_state_word(page) = state_word(1, DEAD, SEL4PY_CHANNELSTATE_TAKEN); }

static int taken_while_client_withdraws(void)
{
    prepare(SEL4PY_CHANNEL_REPLY, request_is_taken);
    interrupt_writes();
    return !channel_withdraw(page, 1) && interrupted && *channel_done_word(page) == SEL4PY_CHANNEL_VALID &&
           *channel_state_word(page) == state_word(1, DEAD, SEL4PY_CHANNELSTATE_TAKEN);
}

/* A number that was withdrawn is used up: no older answer is met when it comes round. */
static int withdrawn_with_its_number(void)
{
    prepare(SEL4PY_CHANNEL_REPLY, rival_announces);
    return channel_withdraw(page, 1) && *channel_done_word(page) == (1 << 16 | SEL4PY_CHANNEL_VALID) &&
           *channel_state_word(page) == state_word(1, 0, SEL4PY_CHANNELSTATE_IDLE);
}

static void page_goes(void) { memset(page, 0, SEL4PY_CHANNEL_BYTES); }

static int gone_while_request_is_copied(void)
{
    const struct channel_message message = {.info = 5};
    uint64_t words[SEL4PY_MESSAGE_MAX_LENGTH] = {0};
    struct channel_message copy;
    uint16_t sequence;
    prepare(SEL4PY_CHANNEL_REQUEST_WORDS, page_goes);
    channel_post(page, 1, &message, words);
    interrupt();
    return !channel_take(page, DEAD, &sequence, &copy, words) && interrupted;
}

static int gone_while_answer_is_copied(void)
{
    const struct channel_message message = {.info = 5};
    uint64_t words[SEL4PY_MESSAGE_MAX_LENGTH] = {0};
    struct channel_message copy;
    prepare(SEL4PY_CHANNEL_REPLY_WORDS, page_goes);
    channel_answer(page, 1, &message, words);
    interrupt();
    return !channel_read_answer(page, 1, &copy, words) && interrupted;
}

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } cases[] = {{"taken_while_rival_announces", taken_while_rival_announces},
                 {"death_told_during_next_call", death_told_during_next_call},
                 {"death_between_answer_and_wake", death_between_answer_and_wake},
                 {"announced_between_post_and_wake", announced_between_post_and_wake},
                 {"announced_before_and_after_a_wake", announced_before_and_after_a_wake},
                 {"looked_at_during_two_calls", looked_at_during_two_calls},
                 {"answered_while_client_announces", answered_while_client_announces},
                 {"taken_while_client_withdraws", taken_while_client_withdraws},
                 {"withdrawn_with_its_number", withdrawn_with_its_number},
                 {"gone_while_request_is_copied", gone_while_request_is_copied},
                 {"gone_while_answer_is_copied", gone_while_answer_is_copied}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (count == 2 && !strcmp(arguments[1], cases[i].name)) {
            int right = cases[i].run();
            if (!right)
                printf("%s: state %#x, done %#x, interrupted %d\n", cases[i].name, *channel_state_word(page),
                       *channel_done_word(page), interrupted);
            return !right;
        }
    printf("no such case\n");
    return 2;
}
