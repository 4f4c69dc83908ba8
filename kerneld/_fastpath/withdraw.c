/* Severed channels' pages: taken away right behind the commit, since a client may be waiting for just that. The rest of what
 * their ends mean Python carries out from the same tells, which a kernel that is started again reads as well.
 *
 * A client that says that it ran on this very processor would wait until all the rest is done: no yield gives a processor to
 * another session. So the kernel sleeps for as short as it can. A client that lies about that makes who revokes wait so long.
 */
#define _GNU_SOURCE
#include "fastpath.h"

#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { TELL_WORDS = 4 };

/* What the tells of one transaction take away. `told`: whom we had look last. */
struct withdrawal {
    int told;
    bool shares_processor;
};

/* Of what kerneld/host/channels.py says of a page: its descriptor, and an array of one number, the pidfd of the process whose
 * first thread may sleep on it, or -1. */
static bool parse(PyObject *end, int *page, int *process)
{
    long long number = -1;
    Py_buffer word;
    if (!PyArg_ParseTuple(end, "iy*", page, &word))
        return false;
    if (word.len == sizeof number)
        memcpy(&number, word.buf, sizeof number);
    PyBuffer_Release(&word);
    *process = (int)number;
    return true;
}

/* Whether the page's client says that it ran where we do. */
static bool is_client_here(int page)
{
    uint32_t processor;
    const off_t at = SEL4PY_CHANNEL_REQUEST + (off_t)offsetof(struct sel4py_line, cpu);
    return pread(page, &processor, sizeof processor, at) == sizeof processor && processor == (uint32_t)sched_getcpu();
}

/* Takes the page away, and has its client look, unless it has just been told. It is not of `pages` any more then; one that the
 * host does not truncate stays, and Python hears why. */
static bool withdraw(struct withdrawal *all, PyObject *pages, PyObject *channel)
{
    int page, process;
    PyObject *end = PyDict_GetItemWithError(pages, channel);
    if (!end)
        return !PyErr_Occurred();
    if (!parse(end, &page, &process))
        return false;
    const bool is_here = is_client_here(page);
    if (ftruncate(page, 0))
        return true;
    if (process >= 0 && process != all->told)
        syscall(SYS_pidfd_send_signal, process, SIGURG, NULL, 0); /* it may have ended: nobody looks then */
    all->told = process;
    all->shares_processor |= is_here;
    return !PyDict_DelItem(pages, channel);
}

bool fast_withdraw(RamObject *ram, const struct layout *at, PyObject *pages)
{
    const uint64_t told = *(const uint64_t *)(const void *)(ram->base + at->outbox_length);
    const uint64_t *tells = (const void *)(ram->base + at->outbox_entries);
    const struct timespec shortest = {.tv_nsec = 1};
    struct withdrawal all = {.told = -1};
    for (uint64_t i = 0; i < told; i++) {
        if (tells[TELL_WORDS * i] != at->outbox_channel_gone)
            continue;
        PyObject *channel = PyLong_FromUnsignedLongLong(tells[TELL_WORDS * i + 1]);
        if (!channel)
            return false;
        const bool done = withdraw(&all, pages, channel);
        Py_DECREF(channel);
        if (!done)
            return false;
    }
    if (all.shares_processor)
        nanosleep(&shortest, NULL);
    return true;
}
