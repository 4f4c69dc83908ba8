/* The keeper: the thread of this process that obeys the kernel, over the control socket (libsel4py/abi.py).
 *
 * It never takes the GIL, blocks all signals but SIGSEGV and SIGBUS and holds no privilege. It obeys without asking: the
 * kernel decides. Each request is answered by one DONE, but for a quiet one that has worked; each may come twice, where a
 * kernel has died in between. When the socket ends, the kernel has dropped the process, and it ends at once. What a thread
 * waits for comes by another socket, and that thread obeys it (awake.c).
 */
#include "control.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

enum { KEEPER_STACK_BYTES = 128 << 10, EXIT_DROPPED = 113 };

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static int control_fd = -1;

int control_descriptor(void) { return control_fd; }

static uint32_t keeper_is_bare; /* it has no capability any more */
static uint32_t keeper_serves;
static const char *keeper_name; /* NULL for the process's, with which it begins */

void control_wait_bare(void)
{
    while (!process_is_bare && control_fd >= 0 && !__atomic_load_n(&keeper_is_bare, __ATOMIC_ACQUIRE))
        futex_wait_until(&keeper_is_bare, 0, NO_DEADLINE, false);
}

static int map_memory(const struct sel4py_control *request, int fd, int how)
{
    uint64_t address = request->words[0], bytes = request->words[1], rights = request->words[2];
    bool replace = request->words[3] & SEL4PY_MAP_REPLACE;
    int protection = rights & SEL4PY_RIGHTS_READ ? PROT_READ : PROT_NONE;
    if (rights & SEL4PY_RIGHTS_WRITE)
        protection |= PROT_READ | PROT_WRITE;
    void *wanted = (void *)(uintptr_t)address;
    void *got = mmap(wanted, bytes, protection, how | MAP_SHARED | (replace ? MAP_FIXED : MAP_FIXED_NOREPLACE), fd, 0);
    if (got == MAP_FAILED)
        return errno;
    if (got == wanted)
        return 0;
    munmap(got, bytes); /* A host that does not know MAP_FIXED_NOREPLACE takes the address for a wish. */
    return EEXIST;
}

int control_map(const struct received *message, int how)
{
    if (!message->whole)
        return EMFILE;
    const bool is_map = message->request.op == SEL4PY_CONTROLOP_MAP && message->fd_count == 1;
    return is_map ? map_memory(&message->request, message->fds[0], how) : EINVAL;
}

static int unmap_memory(const struct sel4py_control *request)
{
    void *address = (void *)(uintptr_t)request->words[0];
    uint64_t bytes = request->words[1];
    if (!(request->words[3] & SEL4PY_MAP_RESERVE))
        return munmap(address, bytes) < 0 ? errno : 0;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    return mmap(address, bytes, PROT_NONE, flags, -1, 0) == MAP_FAILED ? errno : 0;
}

/* The errno value of one request. Sets a descriptor that it keeps to -1, and `tid` to the number of a new thread. */
static int obey(struct received *message, pid_t *tid)
{
    const struct sel4py_control *request = &message->request;
    static const unsigned char wanted[] = {[SEL4PY_CONTROLOP_THREAD] = 2, [SEL4PY_CONTROLOP_MAP] = 1,
                                           [SEL4PY_CONTROLOP_CHANNEL] = 1, [SEL4PY_CONTROLOP_AWAKE] = 1};
    if (!message->whole)
        return EMFILE;
    if (request->op >= sizeof wanted || message->fd_count != wanted[request->op])
        return EINVAL;
    int error;
    switch (request->op) {
    case SEL4PY_CONTROLOP_THREAD:
        error = start_thread(request, message->fds[0], message->fds[1], tid);
        if (!error)
            message->fds[1] = -1;
        return error;
    case SEL4PY_CONTROLOP_PARK:
        return park_thread(request->thread);
    case SEL4PY_CONTROLOP_UNPARK:
        return unpark_thread(request->thread);
    case SEL4PY_CONTROLOP_MAP:
        return map_memory(request, message->fds[0], 0);
    case SEL4PY_CONTROLOP_UNMAP:
        return unmap_memory(request);
    case SEL4PY_CONTROLOP_CHANNEL:
        return channel_open(request, message->fds[0]);
    case SEL4PY_CONTROLOP_CHANNEL_CLOSE:
        return channel_close(request);
    case SEL4PY_CONTROLOP_RECEIVER_DIED:
        return channel_receiver_died(request);
    case SEL4PY_CONTROLOP_CHANNELS_LOOK:
        return channels_look();
    case SEL4PY_CONTROLOP_AWAKE:
        return awake_open(message->fds[0]);
    default:
        return EINVAL;
    }
}

bool control_receive(int fd, struct received *message)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(FD_LIMIT * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = &message->request, .iov_len = sizeof message->request};
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memset(message, 0, sizeof *message);
    ssize_t length;
    do
        length = recvmsg(fd, &header, MSG_CMSG_CLOEXEC);
    while (length < 0 && errno == EINTR);
    if (!length)
        errno = 0;
    if (length <= 0)
        return false;
    for (struct cmsghdr *item = CMSG_FIRSTHDR(&header); item; item = CMSG_NXTHDR(&header, item)) {
        if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS)
            continue;
        message->fd_count = (unsigned)((item->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(message->fds, CMSG_DATA(item), message->fd_count * sizeof(int));
    }
    message->whole = length == sizeof message->request && !(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
    return true;
}

void control_close(struct received *message)
{
    for (unsigned i = 0; i < message->fd_count; i++)
        if (message->fds[i] >= 0)
            close(message->fds[i]);
}

static bool is_quiet(const struct sel4py_control *request)
{
    return request->op == SEL4PY_CONTROLOP_MAP && request->words[3] & SEL4PY_MAP_QUIET;
}

void control_answer(const struct sel4py_control *request, int error, pid_t tid)
{
    struct sel4py_control done = {.op = SEL4PY_CONTROLOP_DONE,
                                  .sequence = request->sequence,
                                  .thread = request->thread,
                                  .words = {(uint64_t)error, (uint64_t)tid}};
    ssize_t written;
    do
        written = write(control_fd, &done, sizeof done);
    while (written < 0 && errno == EINTR);
    if (written != sizeof done)
        _exit(EXIT_DROPPED);
}

/* A channel's page that was truncated is met with by SIGBUS, which must not find it blocked. */
static void unblock_faults(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    sigaddset(&set, SIGSEGV);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void *keeper_main(void *Py_UNUSED(argument))
{
    if (!process_is_bare)
        drop_capabilities();
    unblock_faults();
    __atomic_store_n(&keeper_is_bare, 1, __ATOMIC_RELEASE);
    futex_wake_all(&keeper_is_bare);
    while (!__atomic_load_n(&keeper_serves, __ATOMIC_ACQUIRE))
        futex_wait_until(&keeper_serves, 0, NO_DEADLINE, false);
    if (keeper_name)
        prctl(PR_SET_NAME, keeper_name, 0, 0, 0);
    for (;;) {
        struct received message;
        if (!control_receive(control_fd, &message))
            _exit(EXIT_DROPPED);
        const bool is_numbered =
            message.request.op == SEL4PY_CONTROLOP_MAP || message.request.op == SEL4PY_CONTROLOP_UNMAP;
        const uint32_t number = is_numbered ? (uint32_t)message.request.words[NUMBER_WORD] : 0;
        pid_t tid = 0;
        awake_obey_before(number);
        int error = obey(&message, &tid);
        if (is_numbered) /* whatever came of it: the kernel counts what it sends */
            fault_mapping_done(number);
        control_close(&message);
        if (error || !is_quiet(&message.request))
            control_answer(&message.request, error, tid);
    }
    return NULL;
}

void control_serve(const char *name)
{
    static char kept[16];
    strncpy(kept, name, sizeof kept - 1);
    keeper_name = kept;
    __atomic_store_n(&keeper_serves, 1, __ATOMIC_RELEASE);
    futex_wake_all(&keeper_serves);
}

int control_start(int fd, bool serve)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t keeper;
    if (park_install() < 0 || awake_reserve() < 0)
        return errno;
    control_fd = fd;
    __atomic_store_n(&keeper_serves, serve, __ATOMIC_RELEASE);
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, KEEPER_STACK_BYTES);
    /* Inherited by the keeper and by the threads that it starts: the process's signals are the first thread's. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&keeper, &attributes, keeper_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error)
        control_fd = -1;
    return error;
}
