/* A round trip between two processes over shared memory, in C and nothing else: what the hardware and Linux allow.
 *
 *   pingpong spin     both sides look at the line until it changes
 *   pingpong futex    both sides sleep on a futex as soon as they have nothing to do
 *   pingpong waking   the server sleeps on a futex, the client looks: what a woken server costs with a client that waits
 *
 * Each direction has one line of 64 bytes, flag and payload together: five words go, four come back, and every word is
 * copied out on both sides. A message longer than the registers lies behind the line, and is copied in and out on both
 * sides as well. Nothing is checked, nobody can be cut off, and there is one client.
 *
 * It prints the pids of client and server; then it answers each line of standard input with one number:
 *   time SECONDS BYTES        seconds a round trip, over a stretch of that length
 *   pause COUNT NANOSECONDS   median seconds of so many round trips, each after a pause
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_WORDS = 5, REPLY_WORDS = 4, REGISTER_BYTES = 32, LONGEST = 960, MOST_PAUSES = 100000 };

struct line {
    _Alignas(64) _Atomic uint32_t sequence;
    uint32_t bytes;
    uint64_t word[REQUEST_WORDS];
};
_Static_assert(sizeof(struct line) == 64, "one line of the cache");

struct direction {
    struct line line;
    char more[1024];
};

struct page {
    struct direction request, reply;
};

static struct page *page;
static bool server_sleeps, client_sleeps;

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void publish(struct line *line, uint32_t sequence, bool wake)
{
    atomic_store_explicit(&line->sequence, sequence, memory_order_release);
    if (wake)
        syscall(SYS_futex, &line->sequence, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void await(struct line *line, uint32_t sequence, bool sleeps)
{
    uint32_t seen;
    while ((seen = atomic_load_explicit(&line->sequence, memory_order_acquire)) != sequence)
        if (sleeps)
            futex_wait(&line->sequence, seen);
}

static void put_more(struct direction *direction, const char *from, uint32_t bytes)
{
    if (bytes > REGISTER_BYTES)
        memcpy(direction->more, from, bytes - REGISTER_BYTES);
}

static void get_more(const struct direction *direction, char *to, uint32_t bytes)
{
    if (bytes > REGISTER_BYTES)
        memcpy(to, direction->more, bytes - REGISTER_BYTES);
}

static _Noreturn void serve(void)
{
    static char message[LONGEST];
    for (uint32_t sequence = 1;; sequence++) {
        uint64_t word[REQUEST_WORDS];
        await(&page->request.line, sequence, server_sleeps);
        uint32_t bytes = page->request.line.bytes;
        memcpy(word, page->request.line.word, sizeof word);
        get_more(&page->request, message, bytes);
        page->reply.line.bytes = bytes;
        memcpy(page->reply.line.word, word + 1, REPLY_WORDS * sizeof *word);
        put_more(&page->reply, message, bytes);
        publish(&page->reply.line, sequence, client_sleeps);
    }
}

static uint64_t call(uint32_t bytes)
{
    static uint32_t sequence;
    static char message[LONGEST];
    uint64_t word[REPLY_WORDS];
    const uint64_t request[REQUEST_WORDS] = {0x1004, 1, 2, 3, 4};
    page->request.line.bytes = bytes;
    memcpy(page->request.line.word, request, sizeof request);
    put_more(&page->request, message, bytes);
    publish(&page->request.line, ++sequence, server_sleeps);
    await(&page->reply.line, sequence, client_sleeps);
    memcpy(word, page->reply.line.word, sizeof word);
    get_more(&page->reply, message, page->reply.line.bytes);
    return word[0] + word[1] + word[2] + word[3];
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double time_calls(double seconds, uint32_t bytes)
{
    enum { RUN = 16 };
    volatile uint64_t sum = call(bytes);
    double start = now(), end = start;
    unsigned long done = 0;
    for (; end - start < seconds; end = now(), done += RUN)
        for (int i = 0; i < RUN; i++)
            sum += call(bytes);
    return (end - start) / (double)done;
}

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double pause_calls(int count, long nanoseconds)
{
    static double took[MOST_PAUSES];
    struct timespec pause = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    for (int i = 0; i < count; i++) {
        nanosleep(&pause, NULL);
        double start = now();
        call(REGISTER_BYTES);
        took[i] = now() - start;
    }
    qsort(took, (size_t)count, sizeof *took, ascending);
    return took[count / 2];
}

static void take_orders(void)
{
    char order[80];
    while (fgets(order, sizeof order, stdin)) {
        double seconds;
        unsigned bytes;
        int count;
        long nanoseconds;
        if (sscanf(order, "time %lf %u", &seconds, &bytes) == 2 && bytes <= LONGEST)
            printf("%.12f\n", time_calls(seconds, bytes));
        else if (sscanf(order, "pause %d %ld", &count, &nanoseconds) == 2 && count > 0 && count <= MOST_PAUSES)
            printf("%.12f\n", pause_calls(count, nanoseconds));
        else
            exit(2);
        fflush(stdout);
    }
}

int main(int count, char **arguments)
{
    const char *kind = count == 2 ? arguments[1] : "";
    server_sleeps = !strcmp(kind, "futex") || !strcmp(kind, "waking");
    client_sleeps = !strcmp(kind, "futex");
    if (!server_sleeps && strcmp(kind, "spin")) {
        fprintf(stderr, "usage: pingpong spin|futex|waking\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* the bench stops us out of our turn, and may end then */
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return 1;
    int bound[2];
    if (pipe(bound) < 0)
        return 1;
    pid_t client = getpid(), server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != client)
            return 1; /* it ended before that was said */
        close(bound[0]);
        close(bound[1]);
        serve();
    }
    close(bound[1]);
    char none;
    if (server < 0 || read(bound[0], &none, 1) < 0) /* its end: who hears of the server may stop it */
        return 1;
    close(bound[0]);
    printf("%d %d\n", client, server);
    fflush(stdout);
    take_orders();
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return 0;
}
