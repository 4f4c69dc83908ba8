/* The seccomp filter of a task: what no task may ask of the host, as tables.
 *
 * This first layer denies by name and lets the rest pass, so that ordinary Python goes on: reading files, memory,
 * threads, pipes, clocks. A call that is not in the tables and is newer than they are is answered as by an older host.
 * Refusals are errors, not kills: a program is told, and ordinary code has its fallbacks. Only another machine's
 * system-call convention kills, for nothing ordinary does that.
 */
#include "cpu.h"

#include <asm/sockios.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#define LEGACY(...) __VA_ARGS__
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#define LEGACY(...)
#else
#error "the filter knows x86_64 and aarch64"
#endif

/* One number on every architecture, and newer than the oldest headers that we build with. */
#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
enum { NEWEST = 462, X32_BIT = 0x40000000 }; /* mseal; later ones are unknown to this table */

static const int denied[] = {
    /* other machines and processes: sockets */
    SYS_socket, SYS_socketpair, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_sendto, SYS_sendmsg,
    SYS_sendmmsg, SYS_recvfrom, SYS_recvmmsg, SYS_shutdown, SYS_setsockopt, SYS_getsockopt, SYS_getsockname,
    SYS_getpeername,
    /* System V and POSIX queues, shared memory and semaphores: names that anybody of the same user shares */
    SYS_shmget, SYS_shmat, SYS_shmctl, SYS_semget, SYS_semop, SYS_semctl, SYS_semtimedop, SYS_msgget, SYS_msgsnd,
    SYS_msgrcv, SYS_msgctl, SYS_mq_open, SYS_mq_unlink, SYS_mq_timedsend, SYS_mq_timedreceive, SYS_mq_notify,
    SYS_mq_getsetattr,
    /* other programs and processes */
    SYS_execve, SYS_execveat, LEGACY(SYS_fork, SYS_vfork, ) SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev,
    SYS_process_madvise, SYS_process_mrelease, SYS_kcmp, SYS_kill, SYS_tkill, SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo, SYS_pidfd_open, SYS_pidfd_send_signal, SYS_pidfd_getfd, SYS_migrate_pages, SYS_move_pages,
    SYS_setpgid, SYS_setsid, SYS_setpriority, SYS_ioprio_set, SYS_sched_setscheduler, SYS_sched_setparam,
    SYS_sched_setattr, SYS_sched_setaffinity,
    /* memory behind a name, and the length of memory that others map */
    SYS_memfd_create, SYS_memfd_secret, SYS_truncate, SYS_ftruncate, SYS_fallocate, SYS_copy_file_range,
    SYS_remap_file_pages,
    /* a pipe would keep a page, however large, whose mapping is gone */
    SYS_vmsplice,
    /* a moved or doubled mapping would escape the kernel's UNMAP; realloc() copies instead */
    SYS_mremap,
    /* changing files */
    LEGACY(SYS_creat, SYS_mknod, SYS_link, SYS_symlink, SYS_unlink, SYS_rename, SYS_mkdir, SYS_rmdir, SYS_chmod,
           SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat, ) SYS_mknodat, SYS_linkat, SYS_symlinkat,
    SYS_unlinkat,
#ifdef SYS_renameat
    SYS_renameat,
#endif
    SYS_renameat2, SYS_mkdirat, SYS_fchmod, SYS_fchmodat, SYS_fchmodat2, SYS_fchown, SYS_fchownat, SYS_utimensat,
    SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr,
    SYS_open_by_handle_at, SYS_name_to_handle_at, LEGACY(SYS_inotify_init, ) SYS_inotify_init1, SYS_fanotify_init,
    /* the host's file tree, users and limits */
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_fsconfig,
    SYS_fsmount, SYS_fspick, SYS_mount_setattr, SYS_unshare, SYS_setns, SYS_setuid, SYS_setgid, SYS_setreuid,
    SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setgroups, SYS_setfsuid, SYS_setfsgid, SYS_capset,
    SYS_setrlimit, SYS_personality, SYS_quotactl, SYS_quotactl_fd, SYS_acct, SYS_swapon, SYS_swapoff, SYS_reboot,
    SYS_sethostname, SYS_setdomainname, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime,
    SYS_syslog, SYS_vhangup,
    /* the host kernel's wide doors */
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_io_setup, SYS_io_submit, SYS_userfaultfd,
    SYS_bpf, SYS_perf_event_open, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_init_module, SYS_finit_module,
    SYS_delete_module, SYS_kexec_load, LEGACY(SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_uselib, SYS_ustat, )
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
    SYS_lookup_dcookie,
};

/* What these would tell the C library is that it runs on a host without them. */
static const int unknown[] = {SYS_clone3, SYS_openat2};

enum test { IF_ANY_BIT, IF_NO_BIT, IF_EQUAL, IF_OTHER, IF_NOT_PRIVATE }; /* the last: the bit without MAP_PRIVATE */
enum half { LOW, HIGH };

struct condition {
    int number;
    unsigned argument;
    enum half half;
    enum test test;
    uint32_t value;
};

/* O_TMPFILE holds O_DIRECTORY, which reading needs. */
#define WRITES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))
#define NAMESPACES (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
                    CLONE_NEWNET)

/* Denied for some arguments. */
enum { FILLED_IN = 0 }; /* value_of() knows it when the filter is made */
static const struct condition conditions[] = {
    LEGACY({SYS_open, 1, LOW, IF_ANY_BIT, WRITES}, ) {SYS_openat, 2, LOW, IF_ANY_BIT, WRITES},
    {SYS_clone, 0, LOW, IF_NO_BIT, CLONE_THREAD},
    {SYS_clone, 0, LOW, IF_ANY_BIT, NAMESPACES | CLONE_PTRACE | CLONE_PIDFD},
    {SYS_tgkill, 0, LOW, IF_OTHER, FILLED_IN},
    {SYS_recvmsg, 0, LOW, IF_OTHER, FILLED_IN},
    {SYS_fcntl, 1, LOW, IF_EQUAL, F_ADD_SEALS},
    {SYS_fcntl, 1, LOW, IF_EQUAL, F_SETOWN},
    {SYS_fcntl, 1, LOW, IF_EQUAL, F_SETOWN_EX},
    {SYS_fcntl, 1, LOW, IF_EQUAL, F_SETSIG},
    {SYS_fcntl, 1, LOW, IF_EQUAL, F_NOTIFY},
    {SYS_fcntl, 1, LOW, IF_EQUAL, F_SETLEASE},
    {SYS_ioctl, 1, LOW, IF_EQUAL, TIOCSTI},
    {SYS_ioctl, 1, LOW, IF_EQUAL, FIOSETOWN},
    {SYS_ioctl, 1, LOW, IF_EQUAL, SIOCSPGRP},
    {SYS_prctl, 0, LOW, IF_EQUAL, PR_SET_DUMPABLE},
    {SYS_prctl, 0, LOW, IF_EQUAL, PR_SET_PDEATHSIG},
    {SYS_prctl, 0, LOW, IF_EQUAL, PR_SET_PTRACER},
    {SYS_prctl, 0, LOW, IF_EQUAL, PR_SET_MM},
    {SYS_prlimit64, 0, LOW, IF_OTHER, 0},
    {SYS_prlimit64, 2, LOW, IF_OTHER, 0},
    {SYS_prlimit64, 2, HIGH, IF_OTHER, 0},
    /* Memory that RLIMIT_DATA does not count: a file without a name, stacks. */
    {SYS_mmap, 3, LOW, IF_NOT_PRIVATE, MAP_ANONYMOUS},
    {SYS_mmap, 3, LOW, IF_ANY_BIT, MAP_GROWSDOWN},
    {SYS_fcntl, 1, LOW, IF_EQUAL, F_SETPIPE_SZ},
    {SYS_rt_sigaction, 0, LOW, IF_EQUAL, PARK_SIGNAL},
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* The host walks the program once for each system call when it is installed, to know those that always pass. A search
 * by halves makes that walk, and the translation to machine code, several times shorter than a chain of comparisons. */
enum verdict { PASS, DENY, UNKNOWN, ASK };
enum { MOST_RUNS = 256 }; /* a conditional jump reaches 255 instructions: over half of a search of 256 runs */

/* Neighbouring numbers with one verdict. */
struct run {
    uint16_t first;
    uint8_t verdict;
};

struct program {
    struct sock_filter code[32 + 2 * MOST_RUNS + 5 * COUNT(conditions)];
    unsigned short length;
};

static void add(struct program *program, uint16_t code, uint32_t value, uint8_t if_true, uint8_t if_false)
{
    program->code[program->length++] = (struct sock_filter)BPF_JUMP(code, value, if_true, if_false);
}

static void load(struct program *program, size_t offset)
{
    add(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void give(struct program *program, uint32_t result) { add(program, BPF_RET | BPF_K, result, 0, 0); }

static void refuse(struct program *program, int error) { give(program, SECCOMP_RET_ERRNO | (uint32_t)error); }

static unsigned find_runs(struct run runs[NEWEST + 1])
{
    uint8_t verdicts[NEWEST + 1] = {PASS};
    unsigned count = 0;
    for (size_t i = 0; i < COUNT(denied); i++)
        verdicts[denied[i]] = DENY;
    for (size_t i = 0; i < COUNT(unknown); i++)
        verdicts[unknown[i]] = UNKNOWN;
    for (size_t i = 0; i < COUNT(conditions); i++)
        verdicts[conditions[i].number] = ASK;
    for (uint16_t number = 0; number <= NEWEST; number++)
        if (!number || verdicts[number] == ASK || verdicts[number] != verdicts[number - 1])
            runs[count++] = (struct run){.first = number, .verdict = verdicts[number]};
    return count;
}

/* The number is loaded. A run that asks becomes a jump, whose way `answer` fills in; its value is the number till then. */
static void search(struct program *program, const struct run *runs, unsigned count)
{
    if (count > 1) {
        unsigned lower = count / 2;
        add(program, BPF_JMP | BPF_JGE | BPF_K, runs[lower].first, (uint8_t)(2 * lower - 1), 0);
        search(program, runs, lower);
        search(program, runs + lower, count - lower);
    } else if (runs->verdict == ASK) {
        add(program, BPF_JMP | BPF_JA, runs->first, 0, 0);
    } else if (runs->verdict == PASS) {
        give(program, SECCOMP_RET_ALLOW);
    } else {
        refuse(program, runs->verdict == DENY ? EPERM : ENOSYS);
    }
}

static uint32_t value_of(const struct condition *condition, int control_fd)
{
    if (condition->number == SYS_tgkill)
        return (uint32_t)getpid();
    if (condition->number == SYS_recvmsg)
        return (uint32_t)control_fd; /* -1, which is no descriptor, where there is none */
    return condition->value;
}

static void refuse_if(struct program *program, const struct condition *condition, uint32_t value)
{
    const size_t little_endian_half = condition->half == HIGH ? 4 : 0;
    load(program, offsetof(struct seccomp_data, args) + 8 * condition->argument + little_endian_half);
    if (condition->test == IF_NOT_PRIVATE)
        add(program, BPF_ALU | BPF_AND | BPF_K, value | MAP_PRIVATE, 0, 0);
    bool bits = condition->test == IF_ANY_BIT || condition->test == IF_NO_BIT;
    bool refuse_on_match = condition->test != IF_NO_BIT && condition->test != IF_OTHER;
    add(program, BPF_JMP | BPF_K | (bits ? BPF_JSET : BPF_JEQ), value, !refuse_on_match, refuse_on_match);
    refuse(program, EPERM);
}

static void load_argument(struct program *program, unsigned argument, size_t half)
{
    load(program, offsetof(struct seccomp_data, args) + 8 * argument + half);
}

/* Linux does not count private memory that is laid over as many pages of other mappings, as a library's data is when it
 * is loaded: one call of any length could leave the limit behind. So one that is longer than a library's data is refused. */
enum { LAID_OVER_MOST = 4 << 20 };

static void refuse_what_is_laid_over_much(struct program *program)
{
    load_argument(program, 2, 0);
    add(program, BPF_JMP | BPF_JSET | BPF_K, PROT_WRITE, 1, 0);
    give(program, SECCOMP_RET_ALLOW);
    load_argument(program, 3, 0);
    add(program, BPF_ALU | BPF_AND | BPF_K, MAP_FIXED | MAP_PRIVATE, 0, 0);
    add(program, BPF_JMP | BPF_JEQ | BPF_K, MAP_FIXED | MAP_PRIVATE, 1, 0);
    give(program, SECCOMP_RET_ALLOW);
    load_argument(program, 1, 4);
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
    refuse(program, EPERM);
    load_argument(program, 1, 0);
    add(program, BPF_JMP | BPF_JGT | BPF_K, LAID_OVER_MOST, 0, 1);
    refuse(program, EPERM);
}

static void answer(struct program *program, struct sock_filter *jump, int control_fd)
{
    const int number = (int)jump->k;
    jump->k = (uint32_t)(&program->code[program->length] - jump - 1);
    for (size_t i = 0; i < COUNT(conditions); i++)
        if (conditions[i].number == number)
            refuse_if(program, &conditions[i], value_of(&conditions[i], control_fd));
    if (number == SYS_mmap)
        refuse_what_is_laid_over_much(program);
    give(program, SECCOMP_RET_ALLOW);
}

/* False if the tables have more runs than a search can reach over. */
static bool build(struct program *program, int control_fd)
{
    struct run runs[NEWEST + 1];
    const unsigned count = find_runs(runs);
    if (count > MOST_RUNS)
        return false;
    load(program, offsetof(struct seccomp_data, arch));
    add(program, BPF_JMP | BPF_JEQ | BPF_K, NATIVE, 1, 0);
    give(program, SECCOMP_RET_KILL_PROCESS);
    load(program, offsetof(struct seccomp_data, nr));
    add(program, BPF_JMP | BPF_JSET | BPF_K, X32_BIT, 0, 1);
    refuse(program, EPERM);
    add(program, BPF_JMP | BPF_JGT | BPF_K, NEWEST, 0, 1);
    refuse(program, ENOSYS);
    search(program, runs, count);
    for (unsigned i = 0, end = program->length; i < end; i++)
        if (program->code[i].code == (BPF_JMP | BPF_JA))
            answer(program, &program->code[i], control_fd);
    return true;
}

int install_filter(int control_fd)
{
    struct program program = {.length = 0};
    if (!build(&program, control_fd)) {
        errno = E2BIG;
        return -1;
    }
    struct sock_fprog loaded = {.len = program.length, .filter = program.code};
    /* For all threads at once, the keeper too. A positive result is a thread that has a filter of its own. */
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &loaded);
    if (result > 0)
        errno = EBUSY;
    return result == 0 ? 0 : -1;
}
