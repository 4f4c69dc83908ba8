/* The sandbox's layer of files: the few that a task may read, by Landlock, which looks at the file itself and not at a
 * path or at how it is asked for. So it holds where a rule of the filter (filter.c) is missed.
 *
 * The rules are made once, by the zygote, and are a descriptor; each new process submits to them before it has a second
 * thread (a host before version 8 of the interface takes the calling thread alone), and its threads inherit them.
 * Nothing may be executed, written, made, removed, renamed or controlled; no port be bound or reached; no process
 * outside be signalled and no abstract Unix socket outside be connected to, on hosts that know of these.
 * Source: Linux, Documentation/userspace-api/landlock.rst, include/uapi/linux/landlock.h.
 */
#include "cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

enum { ASK_VERSION = 1, PATH_BENEATH = 1 };
enum { READ_FILE = 1 << 2, READ_DIR = 1 << 3 };

/* As this code was written for: headers may be older. Fields that a host does not know it is not given. */
struct ruleset {
    uint64_t files, network, scopes;
};

struct __attribute__((packed)) path_beneath {
    uint64_t allowed;
    int32_t parent;
};

/* All that each version can deny, as bits from 0 on. */
static const struct {
    int version, file_bits;
} file_bits[] = {{1, 13}, {2, 14}, {3, 15}, {5, 16}};
enum { NETWORK_SINCE = 4, NETWORK_BITS = 2, SCOPES_SINCE = 6, SCOPE_BITS = 2 };

static uint64_t lowest(int bits) { return (UINT64_C(1) << bits) - 1; }

long landlock_version(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, ASK_VERSION);
    return version > 0 ? version : 0;
}

static int make_ruleset(long version)
{
    struct ruleset wanted = {0};
    size_t size = sizeof wanted.files;
    for (unsigned i = 0; i < sizeof file_bits / sizeof *file_bits; i++)
        if (version >= file_bits[i].version)
            wanted.files = lowest(file_bits[i].file_bits);
    if (version >= NETWORK_SINCE) {
        wanted.network = lowest(NETWORK_BITS);
        size += sizeof wanted.network;
    }
    if (version >= SCOPES_SINCE) {
        wanted.scopes = lowest(SCOPE_BITS);
        size += sizeof wanted.scopes;
    }
    return (int)syscall(SYS_landlock_create_ruleset, &wanted, size, 0);
}

/* One that is not there, or that this user cannot reach, is none that a task could read. */
static int allow(int ruleset, const char *path)
{
    int parent = open(path, O_PATH | O_CLOEXEC);
    if (parent < 0)
        return errno == ENOENT || errno == EACCES || errno == ENOTDIR ? 0 : -1;
    struct stat status;
    int result = fstat(parent, &status);
    if (result == 0) {
        struct path_beneath rule = {.allowed = READ_FILE, .parent = parent};
        if (S_ISDIR(status.st_mode))
            rule.allowed |= READ_DIR;
        result = (int)syscall(SYS_landlock_add_rule, ruleset, PATH_BENEATH, &rule, 0);
    }
    int error = errno;
    close(parent);
    errno = error;
    return result;
}

PyObject *cpu_file_rules(PyObject *Py_UNUSED(module), PyObject *paths)
{
    const long version = landlock_version();
    if (!version)
        return PyLong_FromLong(-1);
    PyObject *all = PySequence_List(paths);
    if (!all)
        return NULL;
    int ruleset = make_ruleset(version);
    if (ruleset < 0)
        PyErr_SetFromErrnoWithFilename(PyExc_OSError, "sandbox layer landlock");
    for (Py_ssize_t i = 0; ruleset >= 0 && i < PyList_Size(all); i++) {
        PyObject *path = PyList_GetItem(all, i);
        const char *text = PyBytes_AsString(path);
        if (text && allow(ruleset, text) == 0)
            continue;
        if (text)
            PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
        close(ruleset);
        ruleset = -1;
    }
    Py_DECREF(all);
    return ruleset < 0 ? NULL : PyLong_FromLong(ruleset);
}

int obey_file_rules(int ruleset)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
}
