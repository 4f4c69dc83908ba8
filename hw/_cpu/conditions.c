/* Host system calls that a task may make with some arguments only. The others are refused with EPERM. */
#include "cpu.h"
#include "host_calls.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* O_TMPFILE holds O_DIRECTORY, which reading needs. */
#define WRITES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))
/* What pthread_create() asks for, and the same as musl does it. Nothing else makes a thread, and nothing a process. */
#define THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | \
                CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
#define ONE_OF(call, argument, value) {SYS_##call, argument, LOW, UNLESS_EQUAL, value, ALL_BITS}
#define FUTEX(operation) \
    {SYS_futex, 1, LOW, UNLESS_EQUAL, operation, ~(uint32_t)(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME)}
/* A clock whose number is negative is a process's or a descriptor's; or a thread's, which must be of the own process. */
#define OF_PROCESS (UINT32_C(1) << 31)
#define OF_THREAD (UINT32_C(1) << 2)

const struct condition conditions[] = {
    LEGACY({SYS_open, 1, LOW, IF_ANY_BIT, WRITES, ALL_BITS}, ) {SYS_openat, 2, LOW, IF_ANY_BIT, WRITES, ALL_BITS},
    ONE_OF(clone, 0, THREAD), ONE_OF(clone, 0, THREAD | CLONE_DETACHED),
    /* Who is stopped stays stopped: none of its threads takes the stop back before the last of them has obeyed. */
    {SYS_tgkill, 0, LOW, IF_OTHER, FILLED_IN, ALL_BITS},
    {SYS_tgkill, 2, LOW, IF_EQUAL, SIGCONT, ALL_BITS},
    /* The control socket, as the keeper does it, and the one for whoever is awake; and once, before the image runs, who is told
     * of forbidden calls. */
    {SYS_recvmsg, 2, LOW, IF_OTHER, MSG_CMSG_CLOEXEC, ALL_BITS},
    ONE_OF(recvmsg, 0, FILLED_IN), ONE_OF(recvmsg, 0, FILLED_IN_NEXT),
    {SYS_sendmsg, 0, LOW, IF_OTHER, FILLED_IN, ALL_BITS},
    /* Not: over what the log holds, past its being appended to; nor onto the disk at once, as fsync() would. */
    {SYS_pwritev2, 5, LOW, IF_ANY_BIT, ~(uint32_t)RWF_NOWAIT, ALL_BITS},
    ONE_OF(fcntl, 1, F_DUPFD), ONE_OF(fcntl, 1, F_DUPFD_CLOEXEC), ONE_OF(fcntl, 1, F_GETFD), ONE_OF(fcntl, 1, F_SETFD),
    ONE_OF(fcntl, 1, F_GETFL), ONE_OF(fcntl, 1, F_GETPIPE_SZ), ONE_OF(fcntl, 1, F_GET_SEALS),
    ONE_OF(ioctl, 1, TCGETS), ONE_OF(ioctl, 1, TIOCGWINSZ), ONE_OF(ioctl, 1, FIONREAD), ONE_OF(ioctl, 1, FIOCLEX),
    ONE_OF(ioctl, 1, FIONCLEX),
    ONE_OF(prctl, 0, PR_GET_DUMPABLE), ONE_OF(prctl, 0, PR_GET_PDEATHSIG), ONE_OF(prctl, 0, PR_SET_NAME),
    ONE_OF(prctl, 0, PR_GET_NAME), ONE_OF(prctl, 0, PR_GET_NO_NEW_PRIVS), ONE_OF(prctl, 0, PR_SET_NO_NEW_PRIVS),
    ONE_OF(prctl, 0, PR_CAPBSET_READ), ONE_OF(prctl, 0, PR_GET_SECCOMP), ONE_OF(prctl, 0, PR_SET_VMA),
    ONE_OF(prctl, 0, PR_GET_TIMERSLACK),
    ONE_OF(seccomp, 0, SECCOMP_GET_ACTION_AVAIL),
    /* Once each, before the image runs; afterwards they can but be lowered. */
    ONE_OF(setrlimit, 0, RLIMIT_NOFILE), ONE_OF(setrlimit, 0, RLIMIT_DATA),
    {SYS_prlimit64, 0, LOW, IF_OTHER, 0, ALL_BITS},
    {SYS_prlimit64, 2, LOW, IF_OTHER, 0, ALL_BITS},
    {SYS_prlimit64, 2, HIGH, IF_OTHER, 0, ALL_BITS},
    /* Of another process these tell at least that it is there; 0 is the one that asks. */
    {SYS_getpgid, 0, LOW, IF_OTHER, 0, ALL_BITS},
    {SYS_getsid, 0, LOW, IF_OTHER, 0, ALL_BITS},
    {SYS_getpriority, 0, LOW, IF_OTHER, 0, ALL_BITS},
    {SYS_getpriority, 1, LOW, IF_OTHER, 0, ALL_BITS},
    {SYS_get_robust_list, 0, LOW, IF_OTHER, 0, ALL_BITS},
    {SYS_sched_getaffinity, 0, LOW, IF_OTHER, 0, ALL_BITS},
    {SYS_sched_getattr, 0, LOW, IF_OTHER, 0, ALL_BITS},
    {SYS_sched_getparam, 0, LOW, IF_OTHER, 0, ALL_BITS},
    {SYS_sched_getscheduler, 0, LOW, IF_OTHER, 0, ALL_BITS},
    {SYS_sched_rr_get_interval, 0, LOW, IF_OTHER, 0, ALL_BITS},
    {SYS_clock_getres, 0, LOW, IF_EQUAL, OF_PROCESS, OF_PROCESS | OF_THREAD},
    {SYS_clock_gettime, 0, LOW, IF_EQUAL, OF_PROCESS, OF_PROCESS | OF_THREAD},
    {SYS_clock_nanosleep, 0, LOW, IF_EQUAL, OF_PROCESS, OF_PROCESS | OF_THREAD},
    /* Memory that RLIMIT_DATA does not count: a file without a name, stacks. */
    {SYS_mmap, 3, LOW, IF_NOT_PRIVATE, MAP_ANONYMOUS, ALL_BITS},
    {SYS_mmap, 3, LOW, IF_ANY_BIT, MAP_GROWSDOWN, ALL_BITS},
    /* Not: MERGEABLE, which tells what others' memory holds; REMOVE, which takes pages from those who share them. */
    ONE_OF(madvise, 2, MADV_NORMAL), ONE_OF(madvise, 2, MADV_RANDOM), ONE_OF(madvise, 2, MADV_SEQUENTIAL),
    ONE_OF(madvise, 2, MADV_WILLNEED), ONE_OF(madvise, 2, MADV_DONTNEED), ONE_OF(madvise, 2, MADV_FREE),
    ONE_OF(madvise, 2, MADV_HUGEPAGE), ONE_OF(madvise, 2, MADV_NOHUGEPAGE), ONE_OF(madvise, 2, MADV_DONTDUMP),
    ONE_OF(madvise, 2, MADV_DODUMP), ONE_OF(madvise, 2, MADV_POPULATE_READ), ONE_OF(madvise, 2, MADV_POPULATE_WRITE),
    /* Not: priority inheritance, a way into several hosts before. */
    FUTEX(FUTEX_WAIT), FUTEX(FUTEX_WAKE), FUTEX(FUTEX_REQUEUE), FUTEX(FUTEX_CMP_REQUEUE), FUTEX(FUTEX_WAKE_OP),
    FUTEX(FUTEX_WAIT_BITSET), FUTEX(FUTEX_WAKE_BITSET),
    {SYS_rt_sigaction, 0, LOW, IF_EQUAL, PARK_SIGNAL, ALL_BITS},
};
const unsigned condition_count = sizeof conditions / sizeof *conditions;
_Static_assert(sizeof conditions / sizeof *conditions <= MOST_CONDITIONS, "a program holds them");
