/* The host's part of the commonest Map, which a page fault waits for: a small frame that nobody has had goes to a live process to
 * which nothing else waits to be told, and which may write it. What it takes is shown in the window, sent to the keeper and told
 * to the threads as kerneld/host/mappings.py would. Python notes it behind that, before anything else looks
 * (kerneld/host/first_maps.py). Until the outbox is empty a kernel that is started again does all of it once more.
 */
#define _GNU_SOURCE
#include "fastpath.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { SMALL_BITS = 12, LOW_BITS = (1 << SMALL_BITS) - 1, TELL_WORDS = 4 };

/* Words about a keeper, kerneld/host/control.py: mappings that may be sent before Python looks, 0 if none may; the
 * control socket; the last message's sequence number; mappings since the last one that is answered; messages about memory;
 * the socket for a thread that waits for the mapping, if there is one; how often there was none; whether it was full.
 * Behind that come two words of each of the process's threads, its trap frame and its TCB. */
enum { ROOM, SOCKET, SEQUENCE, QUIET, SENT, AWAKE, MISSED, FULL, THREADS, THREAD_WORDS = 2 };
enum { NUMBER_MASK = 0xffffff, ANSWERED_EVERY = 32 };
static const uint64_t NO_SOCKET = UINT64_MAX;

/* kerneld/host/first_maps.py, `shared`. */
struct hands {
    PyObject *spaces; /* by VSpace address, an array of the words above */
    PyObject *notes;  /* what was handed since Python looked */
    PyObject *uses, *frames, *moves; /* by the frame's address: somebody has it, it has memory, it moves */
    PyObject *made;   /* memory that is nobody's yet, in order: number, descriptor */
    Py_buffer words;  /* by number, which frame's it is */
    Py_ssize_t most;  /* frames with memory of their own that the host has mappings for */
    int ram_fd;
};

static bool parse(PyObject *shared, struct hands *h)
{
    return PyArg_ParseTuple(shared, "O!O!O!Ow*O!O!ni", &PyDict_Type, &h->spaces, &PyList_Type, &h->notes, &PyDict_Type, &h->uses,
                            &h->made, &h->words, &PyDict_Type, &h->frames, &PyDict_Type, &h->moves, &h->most, &h->ram_fd);
}

/* Whether nobody has the frame, or had it since Python looked last. */
static bool is_new(const struct hands *h, uint64_t frame)
{
    PyObject *key = PyLong_FromUnsignedLongLong(frame);
    if (!key)
        return false;
    bool is_known = PyDict_Contains(h->uses, key) || PyDict_Contains(h->frames, key) || PyDict_Contains(h->moves, key);
    Py_DECREF(key);
    for (Py_ssize_t i = PyList_Size(h->notes); !is_known && i-- > 0;) {
        PyObject *note = PyList_GetItem(h->notes, i), *more = note ? PyTuple_GetItem(note, 2) : NULL;
        is_known = !more || (PyLong_AsUnsignedLongLong(more) & ~(uint64_t)LOW_BITS) == frame;
    }
    return !is_known && !PyErr_Occurred();
}

/* The memory that is next; false if none is there. */
static bool take(const struct hands *h, uint64_t *number, int *descriptor)
{
    const Py_ssize_t taken = PyList_Size(h->notes);
    if (PySequence_Size(h->made) <= taken || PyDict_Size(h->frames) + PyDict_Size(h->moves) + taken >= h->most)
        return false;
    unsigned long long at;
    PyObject *item = PySequence_GetItem(h->made, taken);
    bool taken_well = item && PyArg_ParseTuple(item, "Ki", &at, descriptor) && at < (uint64_t)h->words.len / sizeof(uint64_t);
    Py_XDECREF(item);
    *number = taken_well ? at : 0;
    return taken_well;
}

/* Whether one of the threads waits for its pager. */
static bool some_thread_waits(const RamObject *ram, const struct layout *at, const uint64_t *words, size_t count)
{
    for (size_t i = THREADS; i + THREAD_WORDS <= count; i += THREAD_WORDS)
        if (words[i + 1] <= ram->size - at->tcb_size && !(words[i + 1] & 7) &&
            *(const uint64_t *)(const void *)(ram->base + words[i + 1] + at->tcb_fault_label) == SEL4PY_FAULTLABEL_VM_FAULT)
            return true;
    return false;
}

/* Whom the message goes to: the keeper; or, if nobody has to answer it, the thread that waits for it. */
static int whom(uint64_t *words, bool is_quiet, bool is_awaited)
{
    if (!is_awaited || !is_quiet)
        return (int)words[SOCKET];
    if (words[AWAKE] != NO_SOCKET)
        return (int)words[AWAKE];
    words[MISSED]++;
    return (int)words[SOCKET];
}

/* The message MAP, as kerneld/host/control.py composes it, with one descriptor. */
static bool send_map(uint64_t *words, uint64_t where, int memory, bool is_awaited)
{
    const uint32_t sequence = (uint32_t)((words[SEQUENCE] & ~(uint64_t)NUMBER_MASK) | ((words[SEQUENCE] + 1) & NUMBER_MASK));
    const bool is_quiet = words[QUIET] + 1 < ANSWERED_EVERY;
    struct sel4py_control message = {
        .op = SEL4PY_CONTROLOP_MAP,
        .sequence = sequence,
        .words = {where & ~(uint64_t)LOW_BITS, LOW_BITS + 1, where & LOW_BITS,
                  SEL4PY_MAP_REPLACE | (is_quiet ? SEL4PY_MAP_QUIET : 0), (uint32_t)(words[SENT] + 1)}};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), &memory, sizeof memory);
    struct iovec part = {.iov_base = &message, .iov_len = sizeof message};
    const struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
    const int to = whom(words, is_quiet, is_awaited);
    if (sendmsg(to, &header, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof message) {
        if (errno == EAGAIN && to != (int)words[SOCKET])
            words[FULL] = 1; /* who obeys what it answers for never lets it come to that */
        return false;
    }
    words[SEQUENCE] = sequence;
    words[QUIET] = is_quiet ? words[QUIET] + 1 : 0;
    words[SENT]++;
    words[ROOM]--;
    return true;
}

static void tell_threads(RamObject *ram, const uint64_t *words, size_t count)
{
    for (size_t i = THREADS; i < count; i += THREAD_WORDS)
        if (words[i] <= ram->size - SEL4PY_TRAP_FRAME_BYTES && !(words[i] & 3))
            __atomic_store_n((uint32_t *)(void *)(ram->base + words[i] + SEL4PY_MAPPINGS_TOLD), (uint32_t)words[SENT],
                             __ATOMIC_RELEASE);
}

/* The message did not go: RAM shows there again, and the memory is nobody's. Nothing was stored in it. */
static void take_back(RamObject *ram, const struct hands *h, uint64_t frame, uint64_t number)
{
    uint64_t *word = (uint64_t *)h->words.buf + number;
    if (mmap(ram->base + frame, LOW_BITS + 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, h->ram_fd, (off_t)frame) !=
        MAP_FAILED)
        __atomic_store_n(word, 0, __ATOMIC_RELEASE);
}

/* What the tell says is done; false where nothing was, or the message did not go: Python does it, from the beginning. */
static bool hand(RamObject *ram, const struct layout *at, const struct hands *h, const uint64_t *tell, uint64_t *words, size_t count)
{
    const uint64_t frame = tell[3] & ~(uint64_t)LOW_BITS;
    uint64_t number;
    int memory;
    if (count < THREADS || !words[ROOM] || !is_new(h, frame) || !take(h, &number, &memory) ||
        !fast_api->check(ram, frame, LOW_BITS + 1) ||
        fast_api->show_fresh(ram, h->ram_fd, frame, LOW_BITS + 1, memory, (uint64_t *)h->words.buf + number) != 1)
        return false;
    if (!send_map(words, tell[2], memory, some_thread_waits(ram, at, words, count))) {
        take_back(ram, h, frame, number);
        return false;
    }
    tell_threads(ram, words, count);
    PyObject *note = Py_BuildValue("(KKKK)", (unsigned long long)tell[1], (unsigned long long)tell[2],
                                   (unsigned long long)tell[3], (unsigned long long)words[SEQUENCE]);
    bool is_noted = note && !PyList_Append(h->notes, note);
    Py_XDECREF(note);
    return is_noted;
}

bool fast_hand(RamObject *ram, const struct layout *at, PyObject *shared, bool *handed)
{
    const uint64_t *tells = (const void *)(ram->base + at->outbox_entries);
    const uint64_t told = *(const uint64_t *)(const void *)(ram->base + at->outbox_length);
    *handed = false;
    if (told != 2 || tells[0] != at->outbox_map || tells[TELL_WORDS] != at->outbox_deliver || tells[TELL_WORDS + 2] ||
        (tells[3] & LOW_BITS) != SMALL_BITS || !(tells[2] & SEL4PY_RIGHTS_WRITE))
        return true;
    struct hands h;
    if (!parse(shared, &h))
        return false;
    PyObject *space = PyLong_FromUnsignedLongLong(tells[1]);
    PyObject *array = space ? PyDict_GetItemWithError(h.spaces, space) : NULL;
    Py_buffer words;
    if (array && !PyObject_GetBuffer(array, &words, PyBUF_WRITABLE)) {
        *handed = hand(ram, at, &h, tells, words.buf, (size_t)words.len / sizeof(uint64_t));
        PyBuffer_Release(&words);
    }
    Py_XDECREF(space);
    PyBuffer_Release(&h.words);
    return !PyErr_Occurred();
}
