/* hw._net: frames between a network interface's queues and a descriptor, where they lie. What is said of the order of things, of
 * bounds, and of all that is not of the commonest form, is hw/devices/net_frames.py's, which is the model of this.
 */
#include "batch.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { HEADER_BYTES = 12, ETHERNET_BYTES = 14 };
/* LATER: the descriptor gives or takes nothing now. OTHER: it has failed, and will say so again to whoever asks it next. */
enum outcome { UNUSUAL, DONE, LATER, OTHER };

const struct ram_api *net_ram;

struct turn {
    struct batch batch;
    Py_buffer spans;
    int descriptor;
    unsigned most;
    uint64_t longest, budget; /* bytes of a frame; and of this turn, about */
    unsigned count, dropped;  /* frames */
    uint64_t bytes;
    uint32_t written[ENTRIES_HIGH];
};

static bool parse(struct turn *turn, PyObject *args)
{
    PyObject *ram;
    unsigned long long address, longest, budget;
    if (!PyArg_ParseTuple(args, "OKy*iKIK", &ram, &address, &turn->spans, &turn->descriptor, &longest, &turn->most, &budget))
        return false;
    struct batch *batch = &turn->batch;
    batch->ram = (RamObject *)ram;
    batch->address = address;
    batch->spans = turn->spans.buf;
    batch->span_count = (size_t)turn->spans.len / sizeof(struct span);
    turn->longest = longest;
    turn->budget = budget;
    turn->most = turn->most < ENTRIES_HIGH ? turn->most : ENTRIES_HIGH;
    turn->count = turn->dropped = 0;
    turn->bytes = 0;
    const bool is_ram = PyObject_TypeCheck(ram, net_ram->ram_type);
    if (is_ram && !(address & 7) && net_ram->check(batch->ram, address, sizeof(struct page))) {
        batch->page = (struct page *)(void *)(batch->ram->base + address);
        return true;
    }
    PyBuffer_Release(&turn->spans);
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a Ram, and the address of a device's page in it");
    return false;
}

static PyObject *result(struct turn *turn, enum outcome outcome)
{
    PyBuffer_Release(&turn->spans);
    return PyErr_Occurred() ? NULL : Py_BuildValue("(iIK)", (int)outcome, turn->count, (unsigned long long)turn->bytes);
}

static enum outcome send_all(struct turn *turn)
{
    const struct batch *batch = &turn->batch;
    for (; turn->count < batch->count && turn->bytes < turn->budget; turn->count++) {
        const struct chain *chain = &batch->chains[turn->count];
        const uint32_t size = chain->length - HEADER_BYTES;
        if (write(turn->descriptor, chain->place + HEADER_BYTES, size) < 0)
            return errno == EAGAIN ? LATER : OTHER;
        turn->written[turn->count] = 0;
        turn->bytes += size;
    }
    return DONE;
}

/* transmit(ram, page, spans, descriptor, longest, most, budget) -> (outcome, frames, bytes): send what the driver has offered, and
 * give it back. UNUSUAL: nothing was done. */
static PyObject *net_transmit(PyObject *Py_UNUSED(module), PyObject *args)
{
    struct turn turn;
    if (!parse(&turn, args))
        return NULL;
    struct batch *batch = &turn.batch;
    bool usual = batch_look(batch, 1, turn.most, SPAN_READS);
    for (unsigned i = 0; usual && i < batch->count; i++)
        usual = batch->chains[i].length >= HEADER_BYTES + ETHERNET_BYTES &&
                batch->chains[i].length - HEADER_BYTES <= turn.longest;
    if (!usual)
        return result(&turn, UNUSUAL);
    enum outcome outcome = send_all(&turn);
    if (turn.count)
        (void)(batch_give_back(batch, turn.written, turn.count) && batch_add(batch, &batch->page->sent, turn.count) &&
               batch_add(batch, &batch->page->sent_bytes, turn.bytes));
    return result(&turn, outcome);
}

/* Nothing to do about checksums or segments, and the frame lies in one buffer: num_buffers is 1. */
static const uint8_t RECEIVED[HEADER_BYTES] = {[10] = 1};

static enum outcome receive_all(struct turn *turn)
{
    const struct batch *batch = &turn->batch;
    uint64_t moved = 0; /* with what was dropped */
    for (unsigned frames = 0; frames < turn->most && turn->count < batch->count && moved < turn->budget; frames++) {
        const struct chain *chain = &batch->chains[turn->count];
        const uint64_t size = chain->length - HEADER_BYTES, room = size < turn->longest ? size : turn->longest;
        uint8_t more; /* of a frame that is too long */
        struct iovec parts[2] = {{chain->place + HEADER_BYTES, room}, {&more, 1}};
        const ssize_t found = readv(turn->descriptor, parts, 2);
        if (found <= 0)
            return found < 0 && errno == EAGAIN ? LATER : OTHER;
        moved += (uint64_t)found;
        if ((uint64_t)found > room) {
            turn->dropped++;
            continue;
        }
        memcpy(chain->place, RECEIVED, sizeof RECEIVED);
        turn->written[turn->count++] = HEADER_BYTES + (uint32_t)found;
        turn->bytes += (uint64_t)found;
    }
    return DONE;
}

/* receive(ram, page, spans, descriptor, longest, most, budget) -> (outcome, frames, bytes): take what has come, as far as there are
 * buffers, and give these back. UNUSUAL: nothing was done. Of a frame that is dropped the buffer may hold a part, and is used for
 * the next. */
static PyObject *net_receive(PyObject *Py_UNUSED(module), PyObject *args)
{
    struct turn turn;
    if (!parse(&turn, args))
        return NULL;
    struct batch *batch = &turn.batch;
    bool usual = batch_look(batch, 0, turn.most, SPAN_WRITES);
    for (unsigned i = 0; usual && i < batch->count; i++)
        usual = batch->chains[i].length >= HEADER_BYTES;
    if (!usual)
        return result(&turn, UNUSUAL);
    enum outcome outcome = receive_all(&turn);
    if (turn.dropped && !batch_add(batch, &batch->page->dropped, turn.dropped))
        return result(&turn, outcome);
    if (turn.count)
        (void)(batch_give_back(batch, turn.written, turn.count) && batch_add(batch, &batch->page->received, turn.count) &&
               batch_add(batch, &batch->page->received_bytes, turn.bytes));
    return result(&turn, outcome);
}

static PyMethodDef methods[] = {
    {"transmit", net_transmit, METH_VARARGS, "transmit(ram, page, spans, descriptor, longest, most, budget)."},
    {"receive", net_receive, METH_VARARGS, "receive(ram, page, spans, descriptor, longest, most, budget)."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_net", "Frames between queues and a descriptor.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__net(void)
{
    PyObject *ram = PyImport_ImportModule("hw._ram");
    if (!ram)
        return NULL;
    Py_DECREF(ram); /* it stays loaded */
    net_ram = PyCapsule_Import(RAM_API_NAME, 0);
    PyObject *made = net_ram ? PyModule_Create(&definition) : NULL;
    if (made && (PyModule_AddIntConstant(made, "UNUSUAL", UNUSUAL) < 0 || PyModule_AddIntConstant(made, "DONE", DONE) < 0 ||
                 PyModule_AddIntConstant(made, "LATER", LATER) < 0 || PyModule_AddIntConstant(made, "OTHER", OTHER) < 0))
        Py_CLEAR(made);
    return made;
}
