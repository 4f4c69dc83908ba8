/* Memory for frames that nothing was ever stored in: made some at a time, and laid over the window, in one call each. */
#include "ram.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, MADE_HIGH = 1024 };

/* A memfd of so many bytes that cannot grow again; -1 with errno. Descriptors from `below` on are not for it. */
static int make_one(const char *name, off_t bytes, int below)
{
    int descriptor = (int)syscall(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (descriptor < 0)
        return -1;
    if (descriptor >= below)
        errno = EMFILE;
    else if (ftruncate(descriptor, bytes) == 0 && fcntl(descriptor, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return descriptor;
    const int error = errno;
    close(descriptor);
    errno = error;
    return -1;
}

/* make_memories(name, count, bytes, below) -> list of descriptors: as many as the host has, and one at least. */
PyObject *fresh_make_memories(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *name;
    unsigned count;
    long long bytes;
    int below;
    if (!PyArg_ParseTuple(args, "sILi", &name, &count, &bytes, &below))
        return NULL;
    PyObject *made = PyList_New(0);
    for (unsigned i = 0; made && i < count && i < MADE_HIGH; i++) {
        int descriptor = make_one(name, (off_t)bytes, below);
        if (descriptor < 0) {
            if (!i) {
                PyErr_SetFromErrno(PyExc_OSError);
                Py_CLEAR(made);
            }
            break;
        }
        PyObject *number = PyLong_FromLong(descriptor);
        if (!number || PyList_Append(made, number) < 0) {
            close(descriptor);
            Py_CLEAR(made);
        }
        Py_XDECREF(number);
    }
    return made;
}

static bool has_data(int fd, off_t from, off_t bytes)
{
    off_t data = lseek(fd, from, SEEK_DATA);
    return data < 0 ? errno != ENXIO : data < from + bytes;
}

int fresh_show(RamObject *ram, int ram_fd, uint64_t address, uint64_t bytes, int fd, uint64_t *word)
{
    if (has_data(ram_fd, (off_t)address, (off_t)bytes))
        return 0;
    __atomic_store_n(word, address, __ATOMIC_RELEASE);
    if (mmap(ram->base + address, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED)
        return 1;
    __atomic_store_n(word, 0, __ATOMIC_RELEASE);
    return -1;
}

/* lay_fresh(ram, ram_fd, address, bytes, fd, words, number) -> whether it was: show fd at a physical address, of which RAM's
 * own file holds nothing, once words[number] says so. False, and nothing done, where it holds something. */
PyObject *fresh_lay(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *source;
    Py_buffer words;
    unsigned long long address, bytes, number;
    int ram_fd, fd;
    if (!PyArg_ParseTuple(args, "OiKKiw*K", &source, &ram_fd, &address, &bytes, &fd, &words, &number))
        return NULL;
    RamObject *ram = as_ram(source);
    PyObject *result = NULL;
    if (!ram || !ram_check(ram, address, bytes))
        goto done;
    if (((uintptr_t)ram->base | address | bytes) % PAGE || !bytes || number >= (uint64_t)words.len / sizeof(uint64_t)) {
        PyErr_SetString(ram_state()->ram_error, "whole pages of a mapped window are laid over, and noted by a word that there is");
        goto done;
    }
    int laid = fresh_show(ram, ram_fd, address, bytes, fd, (uint64_t *)words.buf + number);
    result = laid < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyBool_FromLong(laid);
done:
    PyBuffer_Release(&words);
    return result;
}
