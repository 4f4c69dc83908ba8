/* A page is taken from a process that calls by it, in C and nothing else: what the hardware and Linux allow.
 *
 *   truncation FIRST SECOND    two processors, by number
 *
 * On the first a client calls a server without a pause, by a page of a memfd, both asleep (FUTEX_WAIT) while they have
 * nothing to do. On the second somebody asks, by an eventfd, a third process to take the page away, and sleeps; that
 * comes out of epoll_wait, truncates the memfd, and sends a signal to the client and then to the server, which would
 * sleep on. The client finds that the page is gone (SIGBUS). So processes, wake-ups, the truncation and the signals are
 * those of a channel's revocation; nothing is looked up, noted or checked, and no Python runs.
 *
 * It prints the pids of client, server, who asks and who takes; then it answers each line `revoke COUNT` of standard
 * input with so many numbers: seconds from before it was asked for to the client's knowing.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, MOST = 100000, WARM_NANOSECONDS = 2000000 };

struct line {
    _Alignas(64) _Atomic uint32_t sequence;
};

struct page {
    struct line request, reply;
};

/* What outlives the page. Each round has a number: who has come to its end says so. */
struct control {
    _Alignas(64) _Atomic uint32_t round, cut_off[2], called, bound; /* bound: how many end with who asks */
    double refused_at;
};

static struct control *control;
static struct page *page;
static int memory, doorbell;
static sigjmp_buf gone;
static volatile sig_atomic_t calls;

static void wait_while(_Atomic uint32_t *word, uint32_t value)
{
    while (atomic_load(word) == value)
        syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void set(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store(word, value);
    syscall(SYS_futex, word, FUTEX_WAKE, 8, NULL, NULL, 0);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void is_gone(int number)
{
    (void)number;
    siglongjmp(gone, 1);
}

static void look(int number)
{
    (void)number;
    if (calls)
        (void)atomic_load(&page->request.sequence);
}

static _Noreturn void call(void)
{
    for (uint32_t sequence = 0;; sequence++) {
        set(&page->request.sequence, sequence + 1);
        wait_while(&page->reply.sequence, sequence);
        atomic_store(&control->called, 1);
    }
}

static _Noreturn void serve(void)
{
    for (uint32_t sequence = 0;; sequence++) {
        wait_while(&page->request.sequence, sequence);
        set(&page->reply.sequence, sequence + 1);
    }
}

static void handle(int signal, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_NODEFER};
    sigaction(signal, &action, NULL);
}

static void run_on(int processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0)
        exit(1);
}

/* One of the two that call: again and again until the page is gone. */
static _Noreturn void be_cut_off(int who)
{
    static volatile uint32_t round;
    handle(SIGUSR1, look);
    handle(SIGBUS, is_gone);
    for (;;) {
        wait_while(&control->round, round);
        round = atomic_load(&control->round);
        if (!sigsetjmp(gone, 1)) {
            calls = 1;
            if (who == 0)
                call();
            serve();
        }
        calls = 0;
        if (who == 0)
            control->refused_at = now();
        set(&control->cut_off[who], round);
    }
}

static _Noreturn void take_away(pid_t client, pid_t server)
{
    int waits = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(waits, EPOLL_CTL_ADD, doorbell, &event);
    for (;;) {
        eventfd_t rung;
        if (epoll_wait(waits, &event, 1, -1) != 1 || eventfd_read(doorbell, &rung) < 0)
            continue;
        if (ftruncate(memory, 0) < 0)
            exit(1);
        kill(client, SIGUSR1);
        kill(server, SIGUSR1);
    }
}

static double take_once(void)
{
    static uint32_t round;
    struct timespec warm = {0, WARM_NANOSECONDS};
    if (ftruncate(memory, PAGE) < 0)
        exit(1);
    atomic_store(&control->called, 0);
    set(&control->round, ++round);
    do
        nanosleep(&warm, NULL);
    while (!atomic_load(&control->called));
    double start = now();
    if (eventfd_write(doorbell, 1) < 0)
        exit(1);
    for (int who = 0; who < 2; who++)
        wait_while(&control->cut_off[who], round - 1);
    return control->refused_at - start;
}

static void take_orders(void)
{
    char order[80];
    int count;
    while (fgets(order, sizeof order, stdin)) {
        if (sscanf(order, "revoke %d", &count) != 1 || count < 1 || count > MOST)
            exit(2);
        while (count--)
            printf("%.9f%c", take_once(), count ? ' ' : '\n');
        fflush(stdout);
    }
}

/* A child that ends with this process, on a processor: client, server, or who takes the page from these. */
static pid_t begin(int processor, int role, pid_t client, pid_t server)
{
    pid_t parent = getpid(), child = fork();
    if (child)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        exit(1);
    atomic_fetch_add(&control->bound, 1);
    syscall(SYS_futex, &control->bound, FUTEX_WAKE, 1, NULL, NULL, 0);
    run_on(processor);
    if (role == 2)
        take_away(client, server);
    be_cut_off(role);
}

int main(int count, char **arguments)
{
    if (count != 3) {
        fprintf(stderr, "usage: truncation FIRST SECOND\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* the bench stops us out of our turn, and may end then */
    int first = atoi(arguments[1]), second = atoi(arguments[2]);
    run_on(second);
    memory = memfd_create("page", MFD_CLOEXEC);
    doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (memory < 0 || doorbell < 0 || control == MAP_FAILED || page == MAP_FAILED)
        return 1;
    pid_t client = begin(first, 0, 0, 0), server = begin(first, 1, 0, 0), keeper = begin(second, 2, client, server);
    if (client < 0 || server < 0 || keeper < 0)
        return 1;
    for (uint32_t bound; (bound = atomic_load(&control->bound)) < 3;) /* who hears of them may stop them */
        wait_while(&control->bound, bound);
    printf("%d %d %d %d\n", client, server, getpid(), keeper);
    fflush(stdout);
    take_orders();
    for (int each = 0; each < 3; each++)
        kill((pid_t[]){client, server, keeper}[each], SIGKILL);
    while (wait(NULL) > 0)
        ;
    return 0;
}
