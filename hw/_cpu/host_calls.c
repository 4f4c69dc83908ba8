/* What a task may ask of the host, by name: all that is let through, what is refused, and what else has a name.
 *
 * Four answers. PASS: what Python, its libraries and this module need; with a condition on its arguments where only
 * some of them are harmless (conditions.c). DENY, with EPERM: what ordinary programs try and have an answer for.
 * UNKNOWN, with ENOSYS: what the C library tries first and has a fallback for. All others KILL: nothing that belongs
 * into a task asks for them, so whoever does is no task that anybody wants to go on; they stand here for their names.
 */
#include "host_calls.h"

#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>

/* One number on every architecture, and newer than the oldest headers that we build with. */
#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_map_shadow_stack
#define SYS_map_shadow_stack 453
#define SYS_futex_wake 454
#define SYS_futex_wait 455
#define SYS_futex_requeue 456
#endif
#ifndef SYS_statmount
#define SYS_statmount 457
#define SYS_listmount 458
#define SYS_lsm_get_self_attr 459
#define SYS_lsm_set_self_attr 460
#define SYS_lsm_list_modules 461
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif

#define CALL(name) {SYS_##name, #name}

static const struct host_call allowed[] = {
    /* descriptors that it has */
    CALL(read), CALL(readv), CALL(pread64), CALL(preadv), CALL(preadv2), CALL(write), CALL(writev), CALL(pwrite64),
    CALL(pwritev), CALL(close), CALL(close_range), CALL(lseek), CALL(fstat), CALL(dup), CALL(dup3),
    CALL(pipe2), CALL(ppoll), CALL(pselect6), CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_pwait),
    CALL(epoll_pwait2), CALL(eventfd2), CALL(timerfd_create), CALL(timerfd_settime), CALL(timerfd_gettime),
    CALL(signalfd4), CALL(sendfile), CALL(fadvise64), CALL(readahead), CALL(getdents64), CALL(fstatfs),
    LEGACY(CALL(dup2), CALL(pipe), CALL(poll), CALL(select), CALL(epoll_create), CALL(epoll_wait), CALL(eventfd),
           CALL(getdents), )
    /* files by path: Landlock says which */
    CALL(newfstatat), CALL(statx), CALL(faccessat), CALL(faccessat2), CALL(readlinkat), CALL(getcwd), CALL(statfs),
    LEGACY(CALL(stat), CALL(lstat), CALL(access), CALL(readlink), )
    /* memory */
    CALL(munmap), CALL(mprotect), CALL(brk), CALL(mincore), CALL(membarrier),
    /* threads, and waiting */
    CALL(set_robust_list), CALL(get_robust_list), CALL(set_tid_address), CALL(rseq), CALL(futex_waitv), CALL(exit),
    CALL(exit_group), CALL(restart_syscall), CALL(sched_yield), CALL(sched_getaffinity), CALL(sched_getparam),
    CALL(sched_getscheduler), CALL(sched_getattr), CALL(sched_get_priority_max), CALL(sched_get_priority_min),
    CALL(sched_rr_get_interval), CALL(getcpu), CALL(getpriority), CALL(wait4), CALL(waitid),
    LEGACY(CALL(arch_prctl), CALL(pause), CALL(getpgrp), )
    /* signals of its own */
    CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(rt_sigpending), CALL(rt_sigsuspend), CALL(rt_sigtimedwait),
    CALL(sigaltstack), CALL(setitimer), CALL(getitimer), LEGACY(CALL(alarm), )
    /* clocks */
    CALL(clock_gettime), CALL(clock_getres), CALL(clock_nanosleep), CALL(nanosleep), CALL(gettimeofday), CALL(times),
    LEGACY(CALL(time), )
    /* what it is */
    CALL(getpid), CALL(gettid), CALL(getppid), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid),
    CALL(getresuid), CALL(getresgid), CALL(getgroups), CALL(getpgid), CALL(getsid), CALL(uname), CALL(sysinfo),
    CALL(getrusage), CALL(getrandom), CALL(umask), LEGACY(CALL(getrlimit), )
};

static const struct host_call refused[] = {
    /* other machines and processes: sockets */
    CALL(socket), CALL(socketpair), CALL(connect), CALL(bind), CALL(listen), CALL(accept), CALL(accept4),
    CALL(sendto), CALL(sendmmsg), CALL(recvfrom), CALL(recvmmsg), CALL(shutdown), CALL(setsockopt),
    CALL(getsockopt), CALL(getsockname), CALL(getpeername),
    /* System V and POSIX queues, shared memory and semaphores: names that anybody of the same user shares */
    CALL(shmget), CALL(shmat), CALL(shmdt), CALL(shmctl), CALL(semget), CALL(semop), CALL(semctl), CALL(semtimedop),
    CALL(msgget), CALL(msgsnd), CALL(msgrcv), CALL(msgctl), CALL(mq_open), CALL(mq_unlink), CALL(mq_timedsend),
    CALL(mq_timedreceive), CALL(mq_notify), CALL(mq_getsetattr),
    /* other programs and processes */
    CALL(execve), CALL(execveat), LEGACY(CALL(fork), CALL(vfork), ) CALL(kill), CALL(tkill), CALL(pidfd_open),
    CALL(setpgid), CALL(setsid), CALL(setpriority), CALL(ioprio_set), CALL(ioprio_get), CALL(capget),
    CALL(sched_setscheduler), CALL(sched_setparam), CALL(sched_setattr), CALL(sched_setaffinity), CALL(personality),
    /* timers whose signal is any: for SIGCONT the host lets a process go on that was stopped */
    CALL(timer_create), CALL(timer_settime), CALL(timer_gettime), CALL(timer_getoverrun), CALL(timer_delete),
    /* memory behind a name, the length of memory that others map, where memory lies, what stays in it */
    CALL(memfd_create), CALL(memfd_secret), CALL(truncate), CALL(ftruncate), CALL(fallocate), CALL(copy_file_range),
    CALL(splice), CALL(vmsplice), CALL(tee), CALL(mlock), CALL(mlock2), CALL(mlockall), CALL(munlock), CALL(munlockall), CALL(msync),
    CALL(mbind), CALL(get_mempolicy), CALL(set_mempolicy), CALL(move_pages),
    /* a moved or doubled mapping would escape the kernel's UNMAP; realloc() copies instead */
    CALL(mremap),
    /* changing files, watching them, and the host's disks */
    LEGACY(CALL(creat), CALL(mknod), CALL(link), CALL(symlink), CALL(unlink), CALL(rename), CALL(mkdir), CALL(rmdir),
           CALL(chmod), CALL(chown), CALL(lchown), CALL(utime), CALL(utimes), CALL(futimesat), ) CALL(mknodat),
    CALL(linkat), CALL(symlinkat), CALL(unlinkat),
#ifdef SYS_renameat
    CALL(renameat),
#endif
    CALL(renameat2), CALL(mkdirat), CALL(fchmod), CALL(fchmodat), CALL(fchmodat2), CALL(fchown), CALL(fchownat),
    CALL(utimensat), CALL(setxattr), CALL(lsetxattr), CALL(fsetxattr), CALL(getxattr), CALL(lgetxattr),
    CALL(fgetxattr), CALL(listxattr), CALL(llistxattr), CALL(flistxattr), CALL(removexattr), CALL(lremovexattr),
    CALL(fremovexattr), LEGACY(CALL(inotify_init), ) CALL(inotify_init1), CALL(inotify_add_watch),
    CALL(inotify_rm_watch), CALL(flock), CALL(fsync), CALL(fdatasync), CALL(sync), CALL(syncfs),
    CALL(sync_file_range), CALL(chdir), CALL(fchdir),
    /* what libraries look for */
    CALL(io_uring_setup), CALL(landlock_create_ruleset), CALL(landlock_add_rule),
    CALL(landlock_restrict_self), CALL(pkey_alloc), CALL(pkey_free), CALL(pkey_mprotect),
};

/* What these would tell the C library is that it runs on a host without them. */
static const struct host_call unknown[] = {
    CALL(clone3), CALL(openat2), CALL(mseal), CALL(cachestat), CALL(map_shadow_stack),
    CALL(futex_wake), CALL(futex_wait), CALL(futex_requeue),
};

static const struct host_call killed[] = {
    CALL(ptrace), CALL(process_vm_readv), CALL(process_vm_writev), CALL(process_madvise), CALL(process_mrelease),
    CALL(kcmp), CALL(rt_sigqueueinfo), CALL(rt_tgsigqueueinfo), CALL(pidfd_send_signal), CALL(pidfd_getfd),
    CALL(migrate_pages), CALL(remap_file_pages), CALL(open_by_handle_at), CALL(name_to_handle_at),
    CALL(fanotify_init), CALL(fanotify_mark), CALL(mount), CALL(umount2), CALL(pivot_root), CALL(chroot),
    CALL(open_tree), CALL(move_mount), CALL(fsopen), CALL(fsconfig), CALL(fsmount), CALL(fspick),
    CALL(mount_setattr), CALL(statmount), CALL(listmount), CALL(unshare), CALL(setns), CALL(setuid), CALL(setgid),
    CALL(setreuid), CALL(setregid), CALL(setresuid), CALL(setresgid), CALL(setgroups), CALL(setfsuid), CALL(setfsgid),
    CALL(capset), CALL(quotactl), CALL(quotactl_fd), CALL(acct), CALL(swapon), CALL(swapoff), CALL(reboot),
    CALL(sethostname), CALL(setdomainname), CALL(settimeofday), CALL(clock_settime), CALL(adjtimex),
    CALL(clock_adjtime), CALL(syslog), CALL(vhangup), CALL(io_uring_enter), CALL(io_uring_register), CALL(io_setup),
    CALL(io_destroy), CALL(io_getevents), CALL(io_submit), CALL(io_cancel), CALL(userfaultfd), CALL(bpf),
    CALL(perf_event_open), CALL(keyctl), CALL(add_key), CALL(request_key), CALL(init_module), CALL(finit_module),
    CALL(delete_module), CALL(kexec_load), CALL(lookup_dcookie), CALL(lsm_get_self_attr), CALL(lsm_set_self_attr),
    CALL(lsm_list_modules), LEGACY(CALL(iopl), CALL(ioperm), CALL(modify_ldt), CALL(uselib), CALL(ustat),
           CALL(sysfs), CALL(signalfd), )
#ifdef SYS_kexec_file_load
    CALL(kexec_file_load),
#endif
    /* those that conditions.c asks further of */
    LEGACY(CALL(open), ) CALL(openat), CALL(clone), CALL(tgkill), CALL(sendmsg), CALL(recvmsg), CALL(fcntl),
    CALL(ioctl), CALL(prctl), CALL(seccomp), CALL(prlimit64), CALL(setrlimit), CALL(mmap), CALL(madvise), CALL(futex),
    CALL(rt_sigaction), CALL(pwritev2),
};

#define TABLE(verdict, calls) {verdict, sizeof(calls) / sizeof *(calls), calls}
const struct host_calls host_calls[HOST_CALL_TABLES] = {
    TABLE(KILL, killed), TABLE(PASS, allowed), TABLE(DENY, refused), TABLE(UNKNOWN, unknown)};

const char *host_call_name(int number)
{
    for (unsigned table = 0; table < HOST_CALL_TABLES; table++)
        for (unsigned i = 0; i < host_calls[table].count; i++)
            if (host_calls[table].calls[i].number == number)
                return host_calls[table].calls[i].name;
    return NULL;
}
