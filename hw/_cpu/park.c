/* Stopping a thread because the kernel says so (TCB_Suspend, an empty budget), and letting it go on.
 *
 * The keeper sends PARK_SIGNAL; its handler sleeps on the thread's park word until it is unparked. Where may it sleep?
 * A process whose only task thread it is: anywhere. Beside other task threads: only where the GIL is not held and the
 * interpreter's locks are not, which is known inside our own waits alone; elsewhere the stop is deferred to the
 * thread's next system call, because it would stop the other threads too, among them perhaps the one that resumes it.
 */
#include "cpu.h"

#include <errno.h>
#include <sys/syscall.h>

/* A handler runs within microseconds; a thread that has not run it by then blocks the signal. */
static const int64_t OBEY_NS = 100000000;

static void answer_keeper(struct cpu_thread *thread, uint32_t from, uint32_t to)
{
    if (__atomic_compare_exchange_n(&thread->park, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        futex_wake_all(&thread->park);
}

void park_here(struct cpu_thread *thread)
{
    while (park_asked(thread)) {
        answer_keeper(thread, PARK_REQUESTED, PARK_STOPPED);
        answer_keeper(thread, PARK_DEFERRED, PARK_STOPPED);
        futex_wait_until(&thread->park, PARK_STOPPED, NO_DEADLINE, false);
    }
}

static void on_park_signal(int Py_UNUSED(signal))
{
    int saved = errno;
    struct cpu_thread *thread = cpu_self;
    if (thread && park_asked(thread)) {
        if (thread->outside || thread_count() == 1)
            park_here(thread);
        else
            answer_keeper(thread, PARK_REQUESTED, PARK_DEFERRED);
    }
    errno = saved;
}

int park_install(void)
{
    struct sigaction action = {.sa_handler = on_park_signal, .sa_flags = SA_RESTART};
    /* Nothing of the task runs while it is parked, not even its other handlers. */
    sigfillset(&action.sa_mask);
    return sigaction(PARK_SIGNAL, &action, NULL);
}

int park_thread(uint32_t id)
{
    struct cpu_thread *thread = thread_find(id);
    if (!thread)
        return ESRCH;
    answer_keeper(thread, PARK_RUNNING, PARK_REQUESTED);
    pid_t tid = __atomic_load_n(&thread->tid, __ATOMIC_ACQUIRE);
    /* A thread that does not run yet looks at its park word first of all. If it has ended meanwhile and its number is
     * somebody else's, that one's handler finds nothing to do. */
    if (tid && syscall(SYS_tgkill, getpid(), tid, PARK_SIGNAL) < 0)
        return errno;
    int64_t deadline = now_ns() + OBEY_NS;
    for (;;) {
        switch (__atomic_load_n(&thread->park, __ATOMIC_SEQ_CST)) {
        case PARK_STOPPED:
            return 0;
        case PARK_DEFERRED:
            return EINPROGRESS;
        case PARK_RUNNING:
            return ESRCH; /* It has ended. */
        default:
            if (futex_wait_until(&thread->park, PARK_REQUESTED, deadline, false) < 0 && errno == ETIMEDOUT)
                return ETIMEDOUT;
        }
    }
}

int unpark_thread(uint32_t id)
{
    struct cpu_thread *thread = thread_find(id);
    if (!thread)
        return ESRCH;
    __atomic_store_n(&thread->park, PARK_RUNNING, __ATOMIC_SEQ_CST);
    futex_wake_all(&thread->park);
    return 0;
}
