/* The sandbox's first layer: what a task's process gives up before the first line of its boot image runs.
 *
 * Order: what later steps need comes first, the system-call filter last but for the limit of descriptors. A step that
 * fails raises OSError, and the process must then not run the image. Nothing of it can be undone from inside.
 */
#include "cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Root keeps its user number, for the files that it may read, and loses everything else that makes it root. */
int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return (int)syscall(SYS_capset, &header, none);
}

bool process_is_bare;

int become_bare(void)
{
    if (drop_capabilities() < 0)
        return -1;
    process_is_bare = true;
    return 0;
}

/* The first thread's, which RLIMIT_DATA does not count. All others' stacks are mappings like any. */
enum { STACK_BYTES = 8 << 20 };

static int memory_count = -1; /* what tells how much memory the process has, open from `begin` on */

int open_memory_count(void) { return memory_count = open("/proc/self/statm", O_RDONLY | O_CLOEXEC); }

static void forget_memory_count(void)
{
    if (memory_count >= 0)
        close(memory_count);
    memory_count = -1;
}

/* Bytes of private writable memory that the process holds, as RLIMIT_DATA counts them (and the stack). */
static int64_t private_bytes(void)
{
    long pages = -1;
    char text[256] = "";
    if (memory_count < 0 && open_memory_count() < 0)
        return -1;
    ssize_t length = read(memory_count, text, sizeof text - 1);
    forget_memory_count();
    if (length <= 0 || sscanf(text, "%*d %*d %*d %*d %*d %ld", &pages) != 1) {
        errno = EIO;
        return -1;
    }
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

static int limit(int resource, int64_t amount)
{
    struct rlimit now;
    if (amount < 0)
        return 0;
    if (getrlimit(resource, &now) < 0)
        return -1;
    rlim_t wanted = (rlim_t)amount < now.rlim_max ? (rlim_t)amount : now.rlim_max;
    struct rlimit both = {.rlim_cur = wanted, .rlim_max = wanted};
    return setrlimit(resource, &both);
}

/* The filter lets this limit and that of descriptors be set, and no process of a task's can raise what they may be raised
 * to. The C library's function would be prlimit64(), which it does not let through. */
static int lower(int resource, int64_t amount)
{
    struct rlimit now;
    if (getrlimit(resource, &now) < 0)
        return -1;
    rlim_t wanted = (rlim_t)amount < now.rlim_max ? (rlim_t)amount : now.rlim_max;
    const struct rlimit both = {.rlim_cur = wanted, .rlim_max = wanted};
    return (int)syscall(SYS_setrlimit, resource, &both);
}

static bool memory_is_later;

void limit_memory_later(void) { memory_is_later = true; }

int limit_memory_now(int64_t bytes)
{
    if (bytes < 0) {
        forget_memory_count();
        return 0;
    }
    int64_t held = private_bytes(), total;
    if (held < 0)
        return -1;
    /* RLIMIT_AS would count the kernel's own mappings as well. */
    return lower(RLIMIT_DATA, __builtin_add_overflow(held, bytes, &total) ? INT64_MAX : total);
}

static int set_limits(int64_t memory_bytes, int64_t file_bytes)
{
    if (!memory_is_later && limit_memory_now(memory_bytes) < 0)
        return -1;
    if (limit(RLIMIT_STACK, STACK_BYTES) < 0 || limit(RLIMIT_FSIZE, file_bytes) < 0)
        return -1;
    return limit(RLIMIT_CORE, 0) < 0 || limit(RLIMIT_MEMLOCK, 0) < 0 ? -1 : limit(RLIMIT_MSGQUEUE, 0);
}

/* Behind the filter: the host hands no descriptor over for a process whose limit is below the number that all of its
 * user's are on their way with (ETOOMANYREFS), and the filter's listener is handed over last. */
static int limit_descriptors(int64_t open_files)
{
    return open_files < 0 ? 0 : lower(RLIMIT_NOFILE, open_files);
}

static int move_to(int descriptor, int wanted)
{
    int moved = dup3(descriptor, wanted, O_CLOEXEC);
    if (moved >= 0)
        close(descriptor);
    return moved;
}

static PyObject *failed(const char *layer)
{
    PyObject *error = PyErr_SetFromErrnoWithFilename(PyExc_OSError, layer);
    return error;
}

PyObject *cpu_enter_sandbox(PyObject *Py_UNUSED(module), PyObject *args)
{
    long long memory_bytes, open_files, file_bytes;
    unsigned without;
    unsigned long long number;
    const char *loosened;
    Py_ssize_t loosened_bytes;
    int report;
    if (!PyArg_ParseTuple(args, "LLLIiKy#:enter_sandbox", &memory_bytes, &open_files, &file_bytes, &without, &report,
                          &number, &loosened, &loosened_bytes))
        return NULL;
    /* Where the limit puts it out of the task's reach for good; not beyond what a table of descriptors has at first, for
     * to make it longer takes milliseconds in a process that has a second thread. */
    if (report >= 0 && (report = move_to(report, (int)--open_files)) < 0)
        return failed("sandbox layer seccomp");
    if (without & LAYER_LIMITS && !memory_is_later)
        forget_memory_count();
    if (!(without & LAYER_LIMITS) && set_limits(memory_bytes, file_bytes) < 0)
        return failed("sandbox layer limits");
    if (!process_is_bare && !(without & LAYER_CAPABILITIES) && drop_capabilities() < 0)
        return failed("sandbox layer capabilities");
    /* Its filter is ours, and would not let it give up what it has. */
    control_wait_bare();
    if (prctl(PR_SET_DUMPABLE, without & LAYER_DUMPABLE ? 1 : 0, 0, 0, 0) < 0)
        return failed("sandbox layer dumpable");
    if (without & LAYER_SECCOMP) {
        close(report);
    } else {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
            return failed("sandbox layer no_new_privs");
        const struct filter_wish wish = {.control_fd = control_descriptor(),
                                         .awake_fd = awake_descriptor(),
                                         .report_fd = report,
                                         .number = number,
                                         .loosened = (const int *)(const void *)loosened,
                                         .loosened_count = (unsigned)(loosened_bytes / (Py_ssize_t)sizeof(int))};
        if (install_filter(&wish) < 0)
            return failed("sandbox layer seccomp");
    }
    if (!(without & LAYER_LIMITS) && limit_descriptors(open_files) < 0)
        return failed("sandbox layer limits");
    Py_RETURN_NONE;
}

PyObject *cpu_hide_memory(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

/* Whether a child can be made in these new namespaces. It shares nothing and ends at once. */
static bool can_clone_into(unsigned long namespaces)
{
    long child = syscall(SYS_clone, namespaces | SIGCHLD, NULL, NULL, NULL, NULL);
    if (child == 0)
        _exit(0);
    if (child < 0)
        return false;
    pid_t reaped;
    do
        reaped = waitpid((pid_t)child, NULL, 0);
    while (reaped < 0 && errno == EINTR);
    return true;
}

static bool has_seccomp(void)
{
    uint32_t refuse = SECCOMP_RET_ERRNO, kill = SECCOMP_RET_KILL_PROCESS;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &refuse) == 0 &&
           syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &kill) == 0;
}

PyObject *cpu_sandbox_layers(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    const unsigned long inner = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS;
    struct rlimit data;
    struct {
        const char *name;
        long level;
    } layers[] = {
        {"no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) >= 0},
        {"rlimits", getrlimit(RLIMIT_DATA, &data) == 0},
        {"capabilities", prctl(PR_CAPBSET_READ, CAP_CHOWN, 0, 0, 0) >= 0},
        {"seccomp", has_seccomp()},
        {"landlock", landlock_version()},
        {"user_namespaces", can_clone_into(CLONE_NEWUSER)},
        /* A host may grant a user namespace and no rights in it: then these fail. */
        {"namespaces", can_clone_into(CLONE_NEWUSER | inner)},
    };
    PyObject *result = PyDict_New();
    for (unsigned i = 0; result && i < sizeof layers / sizeof *layers; i++) {
        PyObject *level = PyLong_FromLong(layers[i].level);
        if (!level || PyDict_SetItemString(result, layers[i].name, level) < 0)
            Py_CLEAR(result);
        Py_XDECREF(level);
    }
    return result;
}
