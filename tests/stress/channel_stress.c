/* hw/_cpu/channel.c under ThreadSanitizer: clients and servers as threads on the same pages, as fast as they can.
 *
 * Every client has a page, and calls, times out, withdraws or abandons as chance has it; all servers race for all pages,
 * sleep, and answer with the request's words. Each answer is checked, each request must be served at most once. Prints
 * what was done; exit status 1 at the first wrong answer. Arguments: seconds, clients, servers, seed.
 */
#define _GNU_SOURCE
#include "channel.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 16, AREA_WORDS = SEL4PY_MESSAGE_MAX_LENGTH, NAP_NS = 2000000 };

struct client {
    uint8_t *page;
    unsigned seed;
    uint16_t sequence;
    unsigned long calls, withdrawn, abandoned, sleeps;
    uint64_t served; /* serial number that a server took last; only servers that took a request write it */
};

struct server {
    uint32_t listener;
    unsigned long taken, sleeps;
};

static struct client clients[MOST];
static unsigned client_count;
static int stopping;

static int is_stopping(void) { return __atomic_load_n(&stopping, __ATOMIC_SEQ_CST); }

static void fail(const char *what, uint64_t got, uint64_t wanted)
{
    printf("wrong: %s: %llu instead of %llu\n", what, (unsigned long long)got, (unsigned long long)wanted);
    exit(1);
}

static void nap_on(uint32_t *word, uint32_t seen)
{
    const struct timespec nap = {.tv_nsec = NAP_NS};
    syscall(SYS_futex, word, FUTEX_WAIT, seen, &nap, NULL, 0);
}

/* False if it gave up waiting. */
static int await(struct client *client, unsigned patience)
{
    uint32_t seen;
    for (unsigned looks = 0; channel_look(client->page, client->sequence) == ANSWER_NONE; looks++) {
        if ((looks > patience && patience < 1000) || is_stopping())
            return 0;
        if (looks > 200 && channel_announce_client(client->page, client->sequence, &seen)) {
            client->sleeps++;
            nap_on(channel_done_word(client->page), seen);
        }
    }
    return 1;
}

static void check(struct client *client, uint64_t serial, unsigned length)
{
    struct channel_message answer;
    uint64_t words[AREA_WORDS];
    if (!channel_read_answer(client->page, client->sequence, &answer, words))
        fail("the page is gone", 0, 1);
    if (answer.mr[0] != serial || message_length(answer.info) != length)
        fail("an answer's serial", answer.mr[0], serial);
    for (unsigned i = SEL4PY_MESSAGE_REGISTERS; i < length; i++)
        if (words[i] != serial + i)
            fail("an answer's word", words[i], serial + i);
}

static void *client_main(void *argument)
{
    struct client *client = argument;
    uint64_t words[AREA_WORDS];
    for (uint64_t serial = 1; !is_stopping(); serial++) {
        unsigned length = 1 + (unsigned)rand_r(&client->seed) % AREA_WORDS;
        unsigned patience = rand_r(&client->seed) % 8 ? 1000 : (unsigned)rand_r(&client->seed) % 50;
        struct channel_message request = {.kind = SEL4PY_CHANNELOP_CALL, .info = length, .mr = {serial, 1, 2, 3}};
        for (unsigned i = SEL4PY_MESSAGE_REGISTERS; i < length; i++)
            words[i] = serial + i;
        client->sequence++;
        if (!channel_post(client->page, client->sequence, &request, words))
            fail("the page is gone", 0, 1);
        client->calls++;
        if (await(client, patience)) {
            check(client, serial, length);
        } else if (channel_withdraw(client->page, client->sequence)) {
            client->withdrawn++;
        } else {
            client->abandoned++;
            while (channel_look(client->page, client->sequence) == ANSWER_NONE && !is_stopping())
                relax();
        }
    }
    return NULL;
}

static int serve_one(struct server *server, struct client *client)
{
    struct channel_message message;
    uint64_t words[AREA_WORDS];
    uint16_t sequence;
    if (!channel_has_request(client->page) || !channel_take(client->page, server->listener, &sequence, &message, words))
        return 0;
    if (message.mr[0] <= client->served)
        fail("a request was served twice", message.mr[0], client->served + 1);
    client->served = message.mr[0];
    message.kind = SEL4PY_STATUS_DONE;
    channel_answer(client->page, sequence, &message, words);
    server->taken++;
    return 1;
}

static void *server_main(void *argument)
{
    struct server *server = argument;
    unsigned idle = 0;
    while (!is_stopping()) {
        unsigned found = 0;
        for (unsigned i = 0; i < client_count; i++)
            found += (unsigned)serve_one(server, &clients[i]);
        idle = found ? 0 : idle + 1;
        /* Sleeps on one page at a time here; the others are looked at after a nap at the latest. */
        struct client *client = &clients[idle % client_count];
        uint32_t seen;
        if (idle > 300 && channel_announce_server(client->page, &seen)) {
            server->sleeps++;
            nap_on(channel_sleepers_word(client->page), seen);
        }
    }
    return NULL;
}

static uint8_t *make_page(void)
{
    uint8_t *page = mmap(NULL, SEL4PY_CHANNEL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        exit(2);
    __atomic_store_n(channel_state_word(page), SEL4PY_CHANNELSTATE_IDLE, __ATOMIC_SEQ_CST);
    __atomic_store_n(channel_posted_word(page), SEL4PY_CHANNEL_VALID, __ATOMIC_SEQ_CST);
    __atomic_store_n(channel_done_word(page), SEL4PY_CHANNEL_VALID, __ATOMIC_SEQ_CST);
    return page;
}

int main(int count, char **arguments)
{
    if (count != 5)
        return 2;
    unsigned seconds = (unsigned)atoi(arguments[1]), servers = (unsigned)atoi(arguments[3]);
    struct server serving[MOST];
    pthread_t threads[2 * MOST];
    client_count = (unsigned)atoi(arguments[2]);
    if (client_count > MOST || servers > MOST || !client_count || !servers)
        return 2;
    for (unsigned i = 0; i < client_count; i++)
        clients[i] = (struct client){.page = make_page(), .seed = (unsigned)atoi(arguments[4]) + i};
    for (unsigned i = 0; i < servers; i++) {
        serving[i] = (struct server){.listener = i + 1};
        pthread_create(&threads[client_count + i], NULL, server_main, &serving[i]);
    }
    for (unsigned i = 0; i < client_count; i++)
        pthread_create(&threads[i], NULL, client_main, &clients[i]);
    sleep(seconds);
    __atomic_store_n(&stopping, 1, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < client_count + servers; i++)
        pthread_join(threads[i], NULL);
    unsigned long calls = 0, withdrawn = 0, abandoned = 0, sleeps = 0, taken = 0;
    for (unsigned i = 0; i < client_count; i++) {
        calls += clients[i].calls, withdrawn += clients[i].withdrawn, abandoned += clients[i].abandoned;
        sleeps += clients[i].sleeps;
    }
    for (unsigned i = 0; i < servers; i++)
        taken += serving[i].taken, sleeps += serving[i].sleeps;
    printf("%lu calls, %lu taken, %lu withdrawn, %lu abandoned, %lu sleeps\n", calls, taken, withdrawn, abandoned, sleeps);
    return 0;
}
