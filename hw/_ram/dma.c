/* Numbers that a device shares with a driver (an index of a virtqueue, a flag): each load and store is one access of
 * the processor, and in order with all others. Bytes in bulk go by Ram.read and Ram.poke.
 */
#include "ram.h"

static bool place_of(PyObject *const *args, RamObject **ram, uint64_t *address, uint64_t *bytes)
{
    if (!(*ram = as_ram(args[0])) || !as_u64(args[1], address) || !as_u64(args[2], bytes))
        return false;
    if ((*bytes != 1 && *bytes != 2 && *bytes != 4 && *bytes != 8) || *address % *bytes) {
        PyErr_SetString(ram_state()->ram_error, "a number has 1, 2, 4 or 8 bytes at an address aligned to them");
        return false;
    }
    return ram_check(*ram, *address, *bytes);
}

/* load(ram, address, bytes) -> the number there, read in one access. */
PyObject *dma_load(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    RamObject *ram;
    uint64_t address, bytes, value;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "load takes ram, address, bytes");
        return NULL;
    }
    if (!place_of(args, &ram, &address, &bytes))
        return NULL;
    void *place = ram->base + address;
    if (bytes == 1)
        value = __atomic_load_n((uint8_t *)place, __ATOMIC_SEQ_CST);
    else if (bytes == 2)
        value = __atomic_load_n((uint16_t *)place, __ATOMIC_SEQ_CST);
    else if (bytes == 4)
        value = __atomic_load_n((uint32_t *)place, __ATOMIC_SEQ_CST);
    else
        value = __atomic_load_n((uint64_t *)place, __ATOMIC_SEQ_CST);
    return PyLong_FromUnsignedLongLong(value);
}

/* store(ram, address, bytes, value): write the number's low bytes in one access. */
PyObject *dma_store(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    RamObject *ram;
    uint64_t address, bytes, value;
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "store takes ram, address, bytes, value");
        return NULL;
    }
    if (!place_of(args, &ram, &address, &bytes) || !as_u64(args[3], &value))
        return NULL;
    void *place = ram->base + address;
    if (bytes == 1)
        __atomic_store_n((uint8_t *)place, (uint8_t)value, __ATOMIC_SEQ_CST);
    else if (bytes == 2)
        __atomic_store_n((uint16_t *)place, (uint16_t)value, __ATOMIC_SEQ_CST);
    else if (bytes == 4)
        __atomic_store_n((uint32_t *)place, (uint32_t)value, __ATOMIC_SEQ_CST);
    else
        __atomic_store_n((uint64_t *)place, value, __ATOMIC_SEQ_CST);
    Py_RETURN_NONE;
}
