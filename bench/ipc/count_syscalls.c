/* Counts the host system calls that processes make: count_syscalls PID...
 *
 * All their threads are traced (ptrace(2), PTRACE_SEIZE), each is stopped at the entry of every system call and goes on.
 * It prints "ready" when all are; it counts until its standard input ends, lets them go, and prints the number. A thread
 * that makes no system call is never stopped, so that counting costs a spinning pair nothing.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_THREADS = 1024, AT_SYSTEM_CALL = SIGTRAP | 0x80 };

struct thread {
    pid_t id;
    bool inside; /* of a system call: the next stop is its exit */
};

static struct thread threads[MOST_THREADS];
static int thread_count;
static unsigned long counted;

static struct thread *find(pid_t id)
{
    for (int i = 0; i < thread_count; i++)
        if (threads[i].id == id)
            return &threads[i];
    return NULL;
}

static void seize(pid_t id)
{
    if (thread_count == MOST_THREADS || ptrace(PTRACE_SEIZE, id, NULL, PTRACE_O_TRACESYSGOOD) < 0 ||
        ptrace(PTRACE_INTERRUPT, id, NULL, NULL) < 0) {
        fprintf(stderr, "PTRACE_SEIZE of %d: %s\n", id, strerror(errno));
        exit(1);
    }
    threads[thread_count++] = (struct thread){id, false};
}

static void seize_all(const char *pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/task", pid);
    DIR *folder = opendir(path);
    if (!folder) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    for (struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] != '.')
            seize(atoi(entry->d_name));
    closedir(folder);
}

/* What a stopped thread goes on with; the signal that stopped it is delivered. */
static void go_on(struct thread *thread, int status)
{
    int stopped_by = WSTOPSIG(status), event = status >> 16, deliver = 0;
    if (stopped_by == AT_SYSTEM_CALL) {
        thread->inside = !thread->inside;
        counted += thread->inside;
    } else if (event == 0) {
        deliver = stopped_by;
    }
    ptrace(PTRACE_SYSCALL, thread->id, NULL, (void *)(long)deliver);
}

static void serve_stops(void)
{
    int status;
    pid_t id;
    while ((id = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
        struct thread *thread = find(id);
        if (thread && WIFSTOPPED(status))
            go_on(thread, status);
    }
}

/* Until standard input ends. A stop is announced by SIGCHLD, which ends ppoll(). */
static void count_until_told(void)
{
    struct pollfd told = {.fd = 0, .events = POLLIN};
    sigset_t none;
    sigemptyset(&none);
    char byte;
    for (;;) {
        serve_stops();
        if (ppoll(&told, 1, NULL, &none) > 0 && read(0, &byte, 1) <= 0)
            return;
    }
}

static void let_go(void)
{
    for (int i = 0; i < thread_count; i++) {
        int status;
        pid_t id = threads[i].id;
        if (ptrace(PTRACE_INTERRUPT, id, NULL, NULL) < 0 || waitpid(id, &status, __WALL) != id || !WIFSTOPPED(status))
            continue;
        bool is_signal = status >> 16 == 0 && WSTOPSIG(status) != AT_SYSTEM_CALL;
        ptrace(PTRACE_DETACH, id, NULL, (void *)(long)(is_signal ? WSTOPSIG(status) : 0));
    }
}

static void on_child(int number)
{
    (void)number;
}

int main(int count, char **arguments)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    signal(SIGCHLD, on_child);
    for (int i = 1; i < count; i++)
        seize_all(arguments[i]);
    for (int i = 0; i < thread_count; i++) {
        int status;
        if (waitpid(threads[i].id, &status, __WALL) == threads[i].id && WIFSTOPPED(status))
            go_on(&threads[i], status);
    }
    puts("ready");
    fflush(stdout);
    count_until_told();
    let_go();
    printf("%lu\n", counted);
    return 0;
}
