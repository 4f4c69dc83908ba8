/* Memory of its own for a frame: a memfd laid over the window at the frame's physical address, and taken off again.
 *
 * The window keeps its address and its length, so whoever holds a Ram goes on seeing one contiguous memory.
 */
#include "ram.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* map_fixed(ram, address, bytes, fd, offset): show bytes [offset, offset + bytes) of fd at a physical address. */
PyObject *window_map_fixed(PyObject *Py_UNUSED(module), PyObject *args)
{
    enum { PAGE = 4096 };
    PyObject *source;
    unsigned long long address, bytes, offset;
    int fd;
    if (!PyArg_ParseTuple(args, "OKKiK", &source, &address, &bytes, &fd, &offset))
        return NULL;
    RamObject *ram = as_ram(source);
    if (!ram || !ram_check(ram, address, bytes))
        return NULL;
    uint8_t *place = ram->base + address;
    if (((uintptr_t)place | bytes | offset) % PAGE || !bytes) {
        PyErr_SetString(ram_state()->ram_error, "only whole pages of a mapped window can be laid over");
        return NULL;
    }
    if (mmap(place, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)offset) == MAP_FAILED)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

/* discard(fd, offset, bytes): give a memfd's pages back to the host; they read as zero from now on. */
PyObject *window_discard(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned long long offset, bytes;
    int fd;
    if (!PyArg_ParseTuple(args, "iKK", &fd, &offset, &bytes))
        return NULL;
    /* By number: fallocate(3)'s declaration hangs on feature macros. */
    if (syscall(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

/* host_address(ram, address, bytes): where the window shows these bytes. For futex(2) alone, which looks for itself
 * whether anything is there. */
PyObject *window_host_address(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *source;
    unsigned long long address, bytes;
    if (!PyArg_ParseTuple(args, "OKK", &source, &address, &bytes))
        return NULL;
    RamObject *ram = as_ram(source);
    if (!ram || !ram_check(ram, address, bytes))
        return NULL;
    return PyLong_FromVoidPtr(ram->base + address);
}
