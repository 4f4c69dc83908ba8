/* Says 0 if current_cpu() is the processor that a thread is pinned to: in main, in a thread, in a child of fork(). */
#define _GNU_SOURCE
#include "spin.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 1024 };

static void *wrong(void *unused)
{
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed))
        return "affinity";
    for (unsigned cpu = 0; cpu < MOST; cpu++) {
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (sched_setaffinity(0, sizeof one, &one) || current_cpu() != cpu)
            return "processor";
    }
    return sched_setaffinity(0, sizeof allowed, &allowed) ? "affinity" : unused;
}

int main(void)
{
    pthread_t thread;
    void *found = "thread";
    int status;
    if (wrong(NULL) || pthread_create(&thread, NULL, wrong, NULL) || pthread_join(thread, &found) || found)
        return 1;
    pid_t child = fork();
    if (!child)
        _exit(wrong(NULL) != NULL);
    return child < 0 || waitpid(child, &status, 0) != child || status != 0;
}
