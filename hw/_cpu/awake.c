/* Mappings that a thread waits for: it lays them itself, since it is awake and the keeper would have to be woken.
 *
 * Such a MAP comes by a socket of its own, which nobody sleeps on. Whoever meets with memory that is not there obeys what
 * is told and not done yet (fault.c); the keeper does before it obeys a MAP or an UNMAP that was sent later. All of them,
 * by whichever socket they come, have numbers, and are done in their order.
 *
 * Rules. One thread at a time, with all signals blocked: one that was parked meanwhile would hold up the keeper. Runs in
 * signal handlers: no allocation, no Python. The socket has one number from before the process is sandboxed on, the only
 * one beside the control socket's that its filter lets recvmsg() pass for.
 */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

static int awake_fd = -1;
static bool is_open;
static uint32_t lock; /* a futex word: 0 free, 1 taken, 2 taken and waited for */
static struct received next; /* of the socket, if it was looked at before it was due */
static bool has_next;

int awake_descriptor(void) { return awake_fd; }

int awake_reserve(void)
{
    if (awake_fd < 0)
        awake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return awake_fd < 0 ? -1 : 0;
}

static void enter(sigset_t *before)
{
    sigset_t all;
    sigemptyset(before);
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_BLOCK, &all, before);
    uint32_t free = 0;
    if (__atomic_compare_exchange_n(&lock, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    while (__atomic_exchange_n(&lock, 2, __ATOMIC_ACQUIRE))
        futex_wait_until(&lock, 2, NO_DEADLINE, false);
}

static void leave(const sigset_t *before)
{
    if (__atomic_exchange_n(&lock, 0, __ATOMIC_RELEASE) == 2)
        futex_wake_all(&lock);
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* Does what is there up to this number. False if nothing was to be done. */
static bool obey_up_to(uint32_t last)
{
    bool obeyed = false;
    while (fault_mappings_done() != last) {
        if (!has_next && !(has_next = control_receive(awake_fd, &next)))
            break;
        const uint32_t number = (uint32_t)next.request.words[NUMBER_WORD];
        const int32_t behind = (int32_t)(number - fault_mappings_done());
        if (behind > 1 || (int32_t)(number - last) > 0)
            break;
        if (behind == 1) {
            const int error = control_map(&next, number == last ? MAP_POPULATE : 0);
            if (error)
                control_answer(&next.request, error, 0);
            fault_mapping_done(number);
            obeyed = true;
        } /* else a kernel after the one that sent it has told it by the control socket */
        control_close(&next);
        has_next = false;
    }
    return obeyed;
}

bool awake_obey(uint32_t told)
{
    sigset_t before;
    if (!__atomic_load_n(&is_open, __ATOMIC_ACQUIRE))
        return false;
    enter(&before);
    const bool obeyed = obey_up_to(told);
    leave(&before);
    return obeyed;
}

void awake_obey_before(uint32_t number)
{
    if (number)
        awake_obey(number - 1);
}

/* What came by a kernel before is done, as far as it was told. */
int awake_open(int fd)
{
    sigset_t before;
    enter(&before);
    while (is_open && obey_up_to(fault_mappings_done() + 1))
        continue;
    if (has_next)
        control_close(&next);
    has_next = false;
    const int error = dup3(fd, awake_fd, O_CLOEXEC) < 0 ? errno : 0;
    __atomic_store_n(&is_open, !error, __ATOMIC_RELEASE);
    leave(&before);
    return error;
}
