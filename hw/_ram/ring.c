/* The kernel's half of the trap ring (libsel4py/abi.py, "the trap frame").
 *
 * Every byte of a trap frame can be changed by its task at any time. So: an entry is copied once and the copy is
 * used; the kernel's own indices are kept in its records and only told here; and nothing read here is trusted to
 * be in range. The task's lies cost the task alone.
 */
#include "abi.h"
#include "completion.h"
#include "ram.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

uint8_t *ring_frame(RamObject *ram, uint64_t frame)
{
    if (frame & (SEL4PY_TRAP_FRAME_BYTES - 1)) {
        PyErr_SetString(ram_state()->ram_error, "a trap frame is aligned to its size");
        return NULL;
    }
    return ram_check(ram, frame, SEL4PY_TRAP_FRAME_BYTES) ? ram->base + frame : NULL;
}

static uint32_t *word32(uint8_t *frame, unsigned offset) { return (uint32_t *)(void *)(frame + offset); }

static int parse(PyObject *const *args, Py_ssize_t count, Py_ssize_t wanted, uint8_t **frame, uint64_t *numbers)
{
    if (count != wanted) {
        PyErr_Format(PyExc_TypeError, "expected %zd arguments", wanted);
        return -1;
    }
    RamObject *ram = as_ram(args[0]);
    for (Py_ssize_t i = 1; ram && i < count; i++)
        if (!as_u64(args[i], &numbers[i - 1]))
            return -1;
    if (!ram)
        return -1;
    *frame = ring_frame(ram, numbers[0]);
    return *frame ? 0 : -1;
}

/* OVERRUN is ours to say: a task that writes that number submits another system call that does not exist. */
static int32_t op_of(const struct sel4py_entry *entry) { return entry->op == SEL4PY_OP_OVERRUN ? 0 : entry->op; }

/* take(ram, frame, consumed) -> (op, flags, cptr, info, mr0, mr1, mr2, mr3, tag) or None. CONSUMER of submissions. */
static PyObject *ring_take(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint8_t *frame;
    uint64_t numbers[2];
    if (parse(args, count, 3, &frame, numbers) < 0)
        return NULL;
    uint32_t produced = __atomic_load_n(word32(frame, SEL4PY_SUBMIT_PRODUCED), __ATOMIC_ACQUIRE);
    uint32_t consumed = (uint32_t)numbers[1];
    if (produced == consumed)
        Py_RETURN_NONE;
    struct sel4py_entry entry;
    if (produced - consumed > SEL4PY_RING_ENTRIES) {
        memset(&entry, 0, sizeof entry);
        entry.op = SEL4PY_OP_OVERRUN;
        entry.cptr = produced;
    } else {
        memcpy(&entry, frame + SEL4PY_SUBMIT_RING + (consumed % SEL4PY_RING_ENTRIES) * sizeof entry, sizeof entry);
        entry.op = op_of(&entry);
    }
    PyObject *items[9] = {
        PyLong_FromLong(entry.op),
        PyLong_FromUnsignedLong(entry.flags),
        PyLong_FromUnsignedLongLong(entry.cptr),
        PyLong_FromUnsignedLongLong(entry.info),
        PyLong_FromUnsignedLongLong(entry.mr[0]),
        PyLong_FromUnsignedLongLong(entry.mr[1]),
        PyLong_FromUnsignedLongLong(entry.mr[2]),
        PyLong_FromUnsignedLongLong(entry.mr[3]),
        PyLong_FromUnsignedLongLong(entry.tag),
    };
    PyObject *tuple = PyTuple_New(9);
    for (int i = 0; i < 9; i++)
        if (!tuple || !items[i] || PyTuple_SetItem(tuple, i, items[i]) < 0) {
            Py_CLEAR(tuple);
            break;
        }
    return tuple;
}

/* take_tail(ram, frame, consumed) -> (reply, dest, mr4, mr5, mr6, mr7, cap0, cap1): the same entry's second line. */
static PyObject *ring_take_tail(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint8_t *frame;
    uint64_t numbers[2], words[8];
    if (parse(args, count, 3, &frame, numbers) < 0)
        return NULL;
    _Static_assert(sizeof words == sizeof(struct sel4py_tail), "a tail is eight words");
    memcpy(words, frame + SEL4PY_SUBMIT_TAILS + ((uint32_t)numbers[1] % SEL4PY_RING_ENTRIES) * sizeof words,
           sizeof words);
    PyObject *tuple = PyTuple_New(8);
    for (int i = 0; tuple && i < 8; i++) {
        PyObject *item = PyLong_FromUnsignedLongLong(words[i]);
        if (!item || PyTuple_SetItem(tuple, i, item) < 0)
            Py_CLEAR(tuple);
    }
    return tuple;
}

/* take_into(ram, frame, consumed, record) -> op, OVERRUN, or None. Copies the entry once, by logged stores, to nine
 * words at `record`, and its tail to the eight words behind them: zeros if its flags say that there is none. */
static PyObject *ring_take_into(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint8_t *frame;
    uint64_t numbers[3];
    if (parse(args, count, 4, &frame, numbers) < 0)
        return NULL;
    uint32_t produced = __atomic_load_n(word32(frame, SEL4PY_SUBMIT_PRODUCED), __ATOMIC_ACQUIRE);
    uint32_t consumed = (uint32_t)numbers[1];
    uint64_t record = numbers[2];
    if (produced == consumed)
        Py_RETURN_NONE;
    if (produced - consumed > SEL4PY_RING_ENTRIES)
        return PyLong_FromLong(SEL4PY_OP_OVERRUN);
    struct sel4py_entry entry;
    unsigned index = consumed % SEL4PY_RING_ENTRIES;
    memcpy(&entry, frame + SEL4PY_SUBMIT_RING + index * sizeof entry, sizeof entry);
    entry.op = op_of(&entry);
    uint64_t words[9] = {(uint64_t)(int64_t)entry.op, entry.flags, entry.cptr,  entry.info, entry.mr[0],
                         entry.mr[1],                 entry.mr[2], entry.mr[3], entry.tag};
    RamObject *ram = (RamObject *)args[0];
    for (unsigned i = 0; i < 9; i++)
        if (ram_store(ram, record + 8 * i, words[i]) < 0)
            return NULL;
    uint64_t tail_words[8] = {0};
    if (entry.flags & SEL4PY_ENTRY_HAS_TAIL)
        memcpy(tail_words, frame + SEL4PY_SUBMIT_TAILS + index * sizeof tail_words, sizeof tail_words);
    for (unsigned i = 0; i < 8; i++)
        if (ram_store(ram, record + 72 + 8 * i, tail_words[i]) < 0)
            return NULL;
    return PyLong_FromLong(entry.op);
}

/* set_consumed(ram, frame, consumed): tell the task that entries are free. CONSUMER of submissions. */
static PyObject *ring_set_consumed(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint8_t *frame;
    uint64_t numbers[2];
    if (parse(args, count, 3, &frame, numbers) < 0)
        return NULL;
    __atomic_store_n(word32(frame, SEL4PY_SUBMIT_CONSUMED), (uint32_t)numbers[1], __ATOMIC_RELEASE);
    Py_RETURN_NONE;
}

/* complete(ram, frame, produced, status, badge, info, mr0, mr1, mr2, mr3, tag) -> whether the thread sleeps.
 * Writes completion number `produced` and publishes it. PRODUCER of completions. Writing the same number again is
 * harmless. */
static PyObject *ring_complete(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint8_t *frame;
    uint64_t numbers[10];
    if (parse(args, count, 11, &frame, numbers) < 0)
        return NULL;
    uint32_t produced = (uint32_t)numbers[1];
    struct sel4py_completion completion = {
        .status = (int32_t)numbers[2],
        .badge = numbers[3],
        .info = numbers[4],
        .mr = {numbers[5], numbers[6], numbers[7], numbers[8]},
        .tag = numbers[9],
    };
    memcpy(frame + SEL4PY_COMPLETE_RING + (produced % SEL4PY_RING_ENTRIES) * sizeof completion, &completion,
           sizeof completion);
    return PyBool_FromLong(completion_publish(frame, produced + 1));
}

/* Publishes completion number `produced` from the record at `told`. PRODUCER of completions. Returns 1 if the thread
 * sleeps, 0 if not, -1 with an exception set. The frame was checked. */
int ring_publish(RamObject *ram, uint64_t frame_address, uint64_t told_address, uint32_t produced)
{
    if ((told_address & 7) || !ram_check(ram, told_address, sizeof(struct told))) {
        if (!PyErr_Occurred())
            PyErr_SetString(ram_state()->ram_error, "a recorded completion is aligned");
        return -1;
    }
    uint8_t *frame = ram->base + frame_address;
    completion_write(frame, (const void *)(ram->base + told_address), produced);
    return completion_publish(frame, produced + 1);
}

/* deliver(ram, frame, told, produced) -> whether the thread sleeps. */
static PyObject *ring_deliver(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint8_t *frame;
    uint64_t numbers[3];
    if (parse(args, count, 4, &frame, numbers) < 0)
        return NULL;
    int sleeps = ring_publish((RamObject *)args[0], numbers[0], numbers[1], (uint32_t)numbers[2]);
    return sleeps < 0 ? NULL : PyBool_FromLong(sleeps);
}

/* produced(ram, frame) -> the completion index that the task sees now. */
static PyObject *ring_produced(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint8_t *frame;
    uint64_t number;
    if (parse(args, count, 2, &frame, &number) < 0)
        return NULL;
    return PyLong_FromUnsignedLong(__atomic_load_n(word32(frame, SEL4PY_COMPLETE_PRODUCED), __ATOMIC_ACQUIRE));
}

/* wake(ram, frame): wake the thread that sleeps on its completion index. */
static PyObject *ring_wake(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint8_t *frame;
    uint64_t number;
    if (parse(args, count, 2, &frame, &number) < 0)
        return NULL;
    syscall(SYS_futex, word32(frame, SEL4PY_COMPLETE_PRODUCED), FUTEX_WAKE, 1, NULL, NULL, 0);
    Py_RETURN_NONE;
}

/* hint(ram, frame): count that something came to be received in the kernel, and wake the thread if it sleeps on that. */
static PyObject *ring_hint(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint8_t *frame;
    uint64_t number;
    if (parse(args, count, 2, &frame, &number) < 0)
        return NULL;
    if (hint_count(frame))
        syscall(SYS_futex, word32(frame, SEL4PY_RECEIVE_HINT), FUTEX_WAKE, 1, NULL, NULL, 0);
    Py_RETURN_NONE;
}

/* watch(ram, frame, consumed, watching) -> whether submissions wait. Tell the task whether a doorbell is needed,
 * then look again: announce, look again, then sleep. */
static PyObject *ring_watch(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint8_t *frame;
    uint64_t numbers[3];
    if (parse(args, count, 4, &frame, numbers) < 0)
        return NULL;
    __atomic_store_n(word32(frame, SEL4PY_KERNEL_WATCHING), numbers[2] != 0, __ATOMIC_SEQ_CST);
    uint32_t produced = __atomic_load_n(word32(frame, SEL4PY_SUBMIT_PRODUCED), __ATOMIC_SEQ_CST);
    return PyBool_FromLong(produced != (uint32_t)numbers[1]);
}

#define FAST(function) (PyCFunction)(void (*)(void))function, METH_FASTCALL

PyMethodDef ring_methods[] = {
    {"take", FAST(ring_take), "take(ram, frame, consumed) -> entry words or None."},
    {"take_into", FAST(ring_take_into), "take_into(ram, frame, consumed, record) -> op, OVERRUN or None."},
    {"deliver", FAST(ring_deliver), "deliver(ram, frame, told, produced) -> whether the thread sleeps."},
    {"take_tail", FAST(ring_take_tail), "take_tail(ram, frame, consumed) -> the entry's second line."},
    {"set_consumed", FAST(ring_set_consumed), "set_consumed(ram, frame, consumed)."},
    {"complete", FAST(ring_complete),
     "complete(ram, frame, produced, status, badge, info, mr0..mr3, tag) -> whether the thread sleeps."},
    {"produced", FAST(ring_produced), "produced(ram, frame) -> completion index that the task sees."},
    {"wake", FAST(ring_wake), "wake(ram, frame)."},
    {"hint", FAST(ring_hint), "hint(ram, frame)."},
    {"watch", FAST(ring_watch), "watch(ram, frame, consumed, watching) -> whether submissions wait."},
    {"publish", FAST(publish), "publish(ram, layout) -> TCBs whose completions were published, or None."},
    {"map_fixed", window_map_fixed, METH_VARARGS, "map_fixed(ram, address, bytes, fd, offset)."},
    {"make_memories", fresh_make_memories, METH_VARARGS, "make_memories(name, count, bytes, below) -> descriptors."},
    {"lay_fresh", fresh_lay, METH_VARARGS, "lay_fresh(ram, ram_fd, address, bytes, fd, words, number) -> whether it was."},
    {"discard", window_discard, METH_VARARGS, "discard(fd, offset, bytes)."},
    {"host_address", window_host_address, METH_VARARGS, "host_address(ram, address, bytes)."},
    {"load", FAST(dma_load), "load(ram, address, bytes) -> the number there, in one access."},
    {"store", FAST(dma_store), "store(ram, address, bytes, value): in one access."},
    {NULL, NULL, 0, NULL},
};
