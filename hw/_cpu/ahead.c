/* A process that is made ahead of need: all of a task's process but what makes it that task's.
 *
 * It has begun (begin.c), with one socket in the place of the frame, the doorbell and the control socket; has its keeper, its
 * handlers' stack and its sandbox, complete but for the bound of its memory; and waits on that socket for one order. What the
 * order brings takes the socket's places, so that the filter (filter.c), which knows the control socket by its number, lets
 * just the order be received before, and just the kernel's requests after.
 *
 * Who gives the order is the process that forked it, alone: the other end of the socket is nobody else's. The order is
 * believed, as what `begin` is given is. Until it comes the process holds no descriptor but the socket, its output, and the one
 * that tells how much memory it has, and it ends when the socket does.
 */
#include "cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

enum { FRAME = 3, DOORBELL = 4, CONTROL = 5, EXIT_UNUSED = 114, MOST_MAPS = 8, WITHOUT_MAPS = 4 };

/* Wire form of an order: kerneld/host/ahead.py packs it. Descriptors: log, frame, doorbell, control, then one a map. */
struct order {
    int64_t memory; /* bytes of private memory, -1 for no bound */
    uint32_t image, image_number;
    uint64_t words[SEL4PY_CONTROL_WORD_COUNT];
    char name[16];
    struct begin_map maps[MOST_MAPS];
};
_Static_assert(sizeof(struct order) == 80 + 24 * MOST_MAPS, "as it is packed");

PyObject *cpu_prepare(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    if (control_descriptor() >= 0 || cpu_self) {
        PyErr_SetString(PyExc_RuntimeError, "this process is attached already: only one that has just begun is prepared");
        return NULL;
    }
    limit_memory_later();
    if (fault_stack_reserve() < 0 || (errno = control_start(CONTROL, false)))
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

/* Returns how many descriptors came. It ends where the order does not come, or is none. */
static unsigned receive_order(struct order *order, int *descriptors)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE((WITHOUT_MAPS + MOST_MAPS) * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = order, .iov_len = sizeof *order};
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t length;
    do
        length = recvmsg(CONTROL, &header, MSG_CMSG_CLOEXEC);
    while (length < 0 && errno == EINTR);
    const struct cmsghdr *item = length == sizeof *order ? CMSG_FIRSTHDR(&header) : NULL;
    if (!item || header.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || item->cmsg_type != SCM_RIGHTS)
        _exit(EXIT_UNUSED);
    const unsigned count = (unsigned)((item->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    if (count < WITHOUT_MAPS || count > WITHOUT_MAPS + MOST_MAPS)
        _exit(EXIT_UNUSED);
    memcpy(descriptors, CMSG_DATA(item), count * sizeof(int));
    return count;
}

static int move_to(int descriptor, int wanted)
{
    int moved = dup3(descriptor, wanted, O_CLOEXEC);
    close(descriptor);
    return moved < 0 ? -1 : 0;
}

/* What was received has numbers above those of its own, which are all taken. */
static int take_places(const int *descriptors)
{
    if (dup3(descriptors[0], STDOUT_FILENO, 0) < 0 || dup3(descriptors[0], STDERR_FILENO, 0) < 0)
        return -1;
    close(descriptors[0]);
    for (int i = 1; i < WITHOUT_MAPS; i++)
        if (move_to(descriptors[i], FRAME + i - 1) < 0)
            return -1;
    return 0;
}

static PyObject *words_of(const struct order *order)
{
    const uint64_t *words = order->words;
    return Py_BuildValue("IIKKKKKK", order->image, order->image_number, (unsigned long long)words[0],
                         (unsigned long long)words[1], (unsigned long long)words[2], (unsigned long long)words[3],
                         (unsigned long long)words[4], (unsigned long long)words[5]);
}

PyObject *cpu_await_order(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    struct order order;
    int descriptors[WITHOUT_MAPS + MOST_MAPS];
    const unsigned count = receive_order(&order, descriptors);
    const char *step = "descriptors";
    if (take_places(descriptors) < 0)
        goto failed;
    order.name[sizeof order.name - 1] = 0;
    prctl(PR_SET_NAME, order.name, 0, 0, 0);
    step = "maps";
    if (begin_map(order.maps, descriptors + WITHOUT_MAPS, count - WITHOUT_MAPS) < 0)
        goto failed;
    step = "trap frame";
    if (!attach_first(FRAME, DOORBELL, true))
        goto failed;
    step = "sandbox layer limits";
    if (limit_memory_now(order.memory) < 0)
        goto failed;
    control_serve(order.name);
    return words_of(&order);
failed:
    return PyErr_SetFromErrnoWithFilename(PyExc_OSError, step);
}
