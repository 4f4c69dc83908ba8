/* The seccomp filter of a task, made from the tables of host_calls.c and conditions.c.
 *
 * A call that stands in no table kills. Where somebody is told of it (`report_fd`), the host stops the thread in the
 * call, which is not done, and that one reads from the host which it was and kills the process: nothing that the task
 * can change has a part in it. Else the host kills it at once. Calls that are newer than the tables are answered as by
 * an older host, so that a newer C library finds its way. Another machine's system-call convention kills always.
 */
#include "cpu.h"
#include "host_calls.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#else
#define NATIVE AUDIT_ARCH_AARCH64
#endif
#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH 16
#endif
enum { X32_BIT = 0x40000000 };
enum { SEND_AGAIN_NS = 1000000, SEND_TRIES = 10000 }; /* each try takes a millisecond and more */

/* The host walks the program once for each system call when it is installed, to know those that always pass. A search
 * by halves makes that walk, and the translation to machine code, several times shorter than a chain of comparisons. */
enum { MOST_RUNS = 256 }; /* a conditional jump reaches 255 instructions: over half of a search of 256 runs */

/* Neighbouring numbers with one verdict. */
struct run {
    uint16_t first;
    uint8_t verdict;
};

struct program {
    struct sock_filter code[64 + 2 * MOST_RUNS + 6 * MOST_CONDITIONS];
    unsigned short length;
    const struct filter_wish *wish;
    uint32_t kill; /* what a call is answered that stands in no table */
};

static void add(struct program *program, uint16_t code, uint32_t value, uint8_t if_true, uint8_t if_false)
{
    program->code[program->length++] = (struct sock_filter)BPF_JUMP(code, value, if_true, if_false);
}

static void load(struct program *program, size_t offset)
{
    add(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void load_argument(struct program *program, unsigned argument, size_t half)
{
    load(program, offsetof(struct seccomp_data, args) + 8 * argument + half);
}

static void give(struct program *program, uint32_t result) { add(program, BPF_RET | BPF_K, result, 0, 0); }

static void refuse(struct program *program, int error) { give(program, SECCOMP_RET_ERRNO | (uint32_t)error); }

static unsigned find_runs(const struct filter_wish *wish, struct run runs[NEWEST_CALL + 1])
{
    uint8_t verdicts[NEWEST_CALL + 1] = {KILL};
    unsigned count = 0;
    for (unsigned table = 0; table < HOST_CALL_TABLES; table++)
        for (unsigned i = 0; i < host_calls[table].count; i++)
            verdicts[host_calls[table].calls[i].number] = (uint8_t)host_calls[table].verdict;
    for (unsigned i = 0; i < condition_count; i++)
        verdicts[conditions[i].number] = ASK;
    for (unsigned i = 0; i < wish->loosened_count; i++)
        if (wish->loosened[i] >= 0 && wish->loosened[i] <= NEWEST_CALL)
            verdicts[wish->loosened[i]] = PASS;
    for (uint16_t number = 0; number <= NEWEST_CALL; number++)
        if (!number || verdicts[number] == ASK || verdicts[number] != verdicts[number - 1])
            runs[count++] = (struct run){.first = number, .verdict = verdicts[number]};
    return count;
}

static void answer_plainly(struct program *program, uint8_t verdict)
{
    if (verdict == PASS)
        give(program, SECCOMP_RET_ALLOW);
    else if (verdict == KILL)
        give(program, program->kill);
    else
        refuse(program, verdict == DENY ? EPERM : ENOSYS);
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
    } else {
        answer_plainly(program, runs->verdict);
    }
}

/* A descriptor is -1, which is none, where there is none. */
static uint32_t value_of(const struct condition *condition, const struct filter_wish *wish)
{
    if (condition->number == SYS_tgkill && condition->argument == 0)
        return (uint32_t)getpid();
    if (condition->number == SYS_recvmsg && condition->argument == 0)
        return (uint32_t)(condition->value == FILLED_IN ? wish->control_fd : wish->awake_fd);
    if (condition->number == SYS_sendmsg)
        return (uint32_t)wish->report_fd;
    return condition->value;
}

static void add_condition(struct program *program, const struct condition *condition)
{
    const uint32_t value = value_of(condition, program->wish);
    load_argument(program, condition->argument, condition->half == HIGH ? 4 : 0);
    if (condition->mask != ALL_BITS)
        add(program, BPF_ALU | BPF_AND | BPF_K, condition->mask, 0, 0);
    if (condition->test == UNLESS_EQUAL) {
        add(program, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
        give(program, SECCOMP_RET_ALLOW);
        return;
    }
    if (condition->test == IF_NOT_PRIVATE)
        add(program, BPF_ALU | BPF_AND | BPF_K, value | MAP_PRIVATE, 0, 0);
    bool bits = condition->test == IF_ANY_BIT || condition->test == IF_NO_BIT;
    bool refuse_on_match = condition->test != IF_NO_BIT && condition->test != IF_OTHER;
    add(program, BPF_JMP | BPF_K | (bits ? BPF_JSET : BPF_JEQ), value, !refuse_on_match, refuse_on_match);
    refuse(program, EPERM);
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

static void answer(struct program *program, struct sock_filter *jump)
{
    const int number = (int)jump->k;
    bool refuse_others = false;
    jump->k = (uint32_t)(&program->code[program->length] - jump - 1);
    for (unsigned i = 0; i < condition_count; i++) {
        if (conditions[i].number != number)
            continue;
        add_condition(program, &conditions[i]);
        refuse_others |= conditions[i].test == UNLESS_EQUAL;
    }
    if (number == SYS_mmap)
        refuse_what_is_laid_over_much(program);
    if (refuse_others)
        refuse(program, EPERM);
    else
        give(program, SECCOMP_RET_ALLOW);
}

/* False if the tables have more runs than a search can reach over. */
static bool build(struct program *program)
{
    struct run runs[NEWEST_CALL + 1];
    const unsigned count = find_runs(program->wish, runs);
    if (count > MOST_RUNS || condition_count > MOST_CONDITIONS)
        return false;
    load(program, offsetof(struct seccomp_data, arch));
    add(program, BPF_JMP | BPF_JEQ | BPF_K, NATIVE, 1, 0);
    give(program, SECCOMP_RET_KILL_PROCESS);
    load(program, offsetof(struct seccomp_data, nr));
    add(program, BPF_JMP | BPF_JSET | BPF_K, X32_BIT, 0, 1);
    give(program, SECCOMP_RET_KILL_PROCESS);
    add(program, BPF_JMP | BPF_JGT | BPF_K, NEWEST_CALL, 0, 1);
    refuse(program, ENOSYS);
    search(program, runs, count);
    for (unsigned i = 0, end = program->length; i < end; i++)
        if (program->code[i].code == (BPF_JMP | BPF_JA))
            answer(program, &program->code[i]);
    return true;
}

/* For all threads at once, the keeper too. A positive result without a listener is a thread with a filter of its own. */
static long install(struct program *program, unsigned flags)
{
    struct sock_fprog loaded = {.len = program->length, .filter = program->code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC | flags, &loaded);
}

/* The listener, or -1 with EINVAL where the host is older than Linux 5.7. */
static int install_with_listener(const struct filter_wish *wish)
{
    struct program program = {.wish = wish, .kill = SECCOMP_RET_USER_NOTIF};
    if (build(&program))
        return (int)install(&program, SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_TSYNC_ESRCH);
    errno = E2BIG;
    return -1;
}

static int send_listener(const struct filter_wish *wish, int listener)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))}};
    uint64_t number = wish->number;
    struct iovec part = {.iov_base = &number, .iov_len = sizeof number};
    const struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memcpy(CMSG_DATA(&control.header), &listener, sizeof listener);
    /* A plain user's descriptors that are on their way in sockets, of all his processes together, may be no more than
     * this process may have open: unix(7), ETOOMANYREFS. They are taken out by others, of which nobody is told. */
    const struct timespec while_others_receive = {.tv_nsec = SEND_AGAIN_NS};
    ssize_t sent;
    int error;
    for (unsigned tried = 0;; tried++) {
        sent = sendmsg(wish->report_fd, &message, MSG_NOSIGNAL);
        error = errno;
        if (sent >= 0 || error != ETOOMANYREFS || tried == SEND_TRIES)
            break;
        nanosleep(&while_others_receive, NULL);
    }
    close(listener);
    close(wish->report_fd);
    errno = sent < 0 ? error : EPIPE;
    return sent == sizeof number ? 0 : -1;
}

int install_filter(const struct filter_wish *wish)
{
    if (wish->report_fd >= 0) {
        int listener = install_with_listener(wish);
        if (listener >= 0)
            return send_listener(wish, listener);
        if (errno != EINVAL)
            return -1;
        close(wish->report_fd);
    }
    struct program program = {.wish = wish, .kill = SECCOMP_RET_KILL_PROCESS};
    if (!build(&program)) {
        errno = E2BIG;
        return -1;
    }
    long result = install(&program, 0);
    if (result > 0)
        errno = EBUSY;
    return result == 0 ? 0 : -1;
}

PyObject *cpu_host_call_name(PyObject *Py_UNUSED(module), PyObject *number)
{
    long wanted = PyLong_AsLong(number);
    if (wanted == -1 && PyErr_Occurred())
        return NULL;
    const char *name = wanted >= 0 && wanted <= NEWEST_CALL ? host_call_name((int)wanted) : NULL;
    return name ? PyUnicode_FromString(name) : Py_NewRef(Py_None);
}
