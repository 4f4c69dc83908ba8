/* What a new task's process does between fork and attach(), in one call that runs no Python and so copies few pages.
 *
 * It dies with its parent; leaves its session and process group; takes the signals that end a process back from the
 * zygote, which ignores them; has its log, if one is named, as stdout and stderr; holds no descriptor but 0 to 2 and
 * its own, which are numbered from 3 on; has its memory mapped, the descriptors of which are closed again; and can from then on open only
 * the files that rules name, where it was given rules. One more descriptor stays until the sandbox is entered: the socket
 * on which it says by what it can be told of (filter.c).
 */
#include "cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { OWN_DESCRIPTORS = 3, FIRST_OWN = 3 };

static int die_with(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return -1;
    if (getppid() != parent)
        _exit(128 + SIGKILL); /* it ended before it could have told */
    return 0;
}

/* The interpreter goes on to believe that they are ignored: nothing in it acts on that. */
static void take_signals_back(void)
{
    static const int numbers[] = {SIGINT, SIGHUP, SIGTERM};
    const struct sigaction plain = {.sa_handler = SIG_DFL};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &plain, NULL);
}

static int open_log(int folder, const char *name)
{
    int log = openat(folder, name, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (log < 0)
        return -1;
    return dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0 ? -1 : 0;
}

static int keep_only(const int *descriptors, unsigned count)
{
    /* Above all that are kept, so that none is overwritten before it has moved. */
    int base = FIRST_OWN + (int)count;
    for (unsigned i = 0; i < count; i++)
        base = descriptors[i] >= base ? descriptors[i] + 1 : base;
    for (unsigned i = 0; i < count; i++)
        if (dup3(descriptors[i], base + (int)i, O_CLOEXEC) < 0)
            return -1;
    for (unsigned i = 0; i < count; i++)
        if (dup3(base + (int)i, FIRST_OWN + (int)i, O_CLOEXEC) < 0)
            return -1;
    return (int)syscall(SYS_close_range, FIRST_OWN + count, ~0U, 0);
}

int begin_map(const struct begin_map *maps, const int *descriptors, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int descriptor = descriptors[i];
        int protection = PROT_READ | (maps[i].rights & SEL4PY_RIGHTS_WRITE ? PROT_WRITE : 0);
        void *wanted = (void *)(uintptr_t)maps[i].address;
        void *got = mmap(wanted, maps[i].bytes, protection, MAP_SHARED | MAP_FIXED_NOREPLACE, descriptor, 0);
        if (got == MAP_FAILED)
            return -1;
        if (got != wanted) { /* a host that does not know MAP_FIXED_NOREPLACE takes the address for a wish */
            errno = EEXIST;
            return -1;
        }
        close(descriptor);
    }
    return 0;
}

/* Those that keep_only() has numbered. */
static int map_kept(const struct begin_map *maps, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const int descriptor = FIRST_OWN + OWN_DESCRIPTORS + (int)i;
        if (begin_map(&maps[i], &descriptor, 1) < 0)
            return -1;
    }
    return 0;
}

/* The limit of memory is set later, when the keeper's stack counts; then nothing under /proc can be opened any more. */
static int submit_to(int rules)
{
    int result = open_memory_count() < 0 ? -1 : obey_file_rules(rules);
    close(rules);
    return result;
}

PyObject *cpu_begin(PyObject *Py_UNUSED(module), PyObject *args)
{
    int parent, folder, has_rules, has_report, bare;
    const char *name, *log;
    const char *descriptors, *maps;
    Py_ssize_t descriptor_bytes, map_bytes;
    if (!PyArg_ParseTuple(args, "iyiyy#y#ppp:begin", &parent, &name, &folder, &log, &descriptors, &descriptor_bytes, &maps,
                          &map_bytes, &has_rules, &has_report, &bare))
        return NULL;
    const unsigned count = (unsigned)(descriptor_bytes / (Py_ssize_t)sizeof(int));
    const unsigned map_count = (unsigned)(map_bytes / (Py_ssize_t)sizeof(struct begin_map));
    const unsigned without_rules = OWN_DESCRIPTORS + map_count;
    const unsigned without_report = without_rules + (has_rules ? 1 : 0);
    if (count != without_report + (has_report ? 1 : 0)) {
        PyErr_SetString(PyExc_ValueError, "begin() takes the frame's, the doorbell's and the control socket's "
                                          "descriptors, one for each map, and those of rules and of who is told of "
                                          "forbidden calls if there are any");
        return NULL;
    }
    const char *step = "parent";
    if (die_with(parent) < 0)
        goto failed;
    setsid();
    prctl(PR_SET_NAME, name, 0, 0, 0);
    take_signals_back();
    step = log;
    if (*log && open_log(folder, log) < 0)
        goto failed;
    step = "descriptors";
    if (keep_only((const int *)(const void *)descriptors, count) < 0)
        goto failed;
    step = "maps";
    if (map_kept((const struct begin_map *)(const void *)maps, map_count) < 0)
        goto failed;
    step = "sandbox layer landlock";
    if (has_rules && submit_to(FIRST_OWN + (int)without_rules) < 0)
        goto failed;
    step = "sandbox layer capabilities";
    if (bare && become_bare() < 0)
        goto failed;
    return PyLong_FromLong(has_report ? FIRST_OWN + (long)without_report : -1);
failed:
    return PyErr_SetFromErrnoWithFilename(PyExc_OSError, step);
}
