/* The IPC buffer of the calling thread: message words, capability slots, receive path (libsel4py/abi.py). */
#include "trap.h"

enum { WORD = 8 };

static uint8_t *buffer(void)
{
    struct cpu_thread *thread = thread_ready();
    return thread ? thread->frame : NULL;
}

static bool fits(Py_ssize_t first, Py_ssize_t count)
{
    const Py_ssize_t words = SEL4PY_MESSAGE_MAX_LENGTH;
    if (first >= 0 && count >= 0 && first <= words && count <= words - first)
        return true;
    PyErr_Format(PyExc_ValueError, "words %zd to %zd are not in the message area of words 0 to %zd", first,
                 first + count - 1, words - 1);
    return false;
}

PyObject *cpu_message_write(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_ssize_t first;
    Py_buffer data;
    if (!PyArg_ParseTuple(args, "ny*:message_write", &first, &data))
        return NULL;
    uint8_t *frame = buffer();
    if (frame && data.len % WORD) {
        PyErr_Format(PyExc_ValueError, "%zd bytes are not whole words of 8 bytes: pad them with zeros", data.len);
        frame = NULL;
    }
    if (frame && fits(first, data.len / WORD))
        memcpy(frame + SEL4PY_IPC_MESSAGE + first * WORD, data.buf, (size_t)data.len);
    PyBuffer_Release(&data);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

PyObject *cpu_message_read(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_ssize_t first, count;
    if (!PyArg_ParseTuple(args, "nn:message_read", &first, &count))
        return NULL;
    uint8_t *frame = buffer();
    if (!frame || !fits(first, count))
        return NULL;
    return PyBytes_FromStringAndSize((const char *)frame + SEL4PY_IPC_MESSAGE + first * WORD, count * WORD);
}

enum { HEAD_BYTES = (SEL4PY_MESSAGE_REGISTERS - 1) * WORD };

unsigned message_place_bytes(uint8_t *frame, const uint8_t *data, size_t size, uint64_t *mr)
{
    const size_t in_head = size < HEAD_BYTES ? size : HEAD_BYTES, rest = size - in_head;
    uint8_t *area = frame + SEL4PY_IPC_MESSAGE + SEL4PY_MESSAGE_REGISTERS * WORD;
    memset(mr, 0, SEL4PY_MESSAGE_REGISTERS * WORD);
    mr[0] = size;
    memcpy(mr + 1, data, in_head);
    memcpy(area, data + in_head, rest);
    memset(area + rest, 0, -rest % WORD);
    return message_byte_words(size);
}

bool message_has_bytes(unsigned length, const uint64_t *mr)
{
    return length && length <= SEL4PY_MESSAGE_MAX_LENGTH && mr[0] <= (uint64_t)(length - 1) * WORD;
}

PyObject *message_take_bytes(const uint8_t *frame, const uint64_t *mr)
{
    const size_t size = mr[0], in_head = size < HEAD_BYTES ? size : HEAD_BYTES;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (!bytes)
        return NULL;
    uint8_t *data = (uint8_t *)PyBytes_AsString(bytes);
    memcpy(data, mr + 1, in_head);
    memcpy(data + in_head, frame + SEL4PY_IPC_MESSAGE + SEL4PY_MESSAGE_REGISTERS * WORD, size - in_head);
    return bytes;
}

static PyObject *put_bytes(uint8_t *frame, uint64_t label, const Py_buffer *data)
{
    uint64_t words[1 + SEL4PY_MESSAGE_REGISTERS];
    words[0] = label << 12 | message_place_bytes(frame, data->buf, (size_t)data->len, words + 1);
    PyObject *tuple = PyTuple_New(sizeof words / sizeof *words);
    for (unsigned i = 0; tuple && i < sizeof words / sizeof *words; i++) {
        PyObject *item = PyLong_FromUnsignedLongLong(words[i]);
        if (!item || PyTuple_SetItem(tuple, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(tuple);
    }
    return tuple;
}

PyObject *cpu_message_put(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    PyObject *result = NULL;
    Py_buffer data;
    uint64_t label;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "message_put(label, data) takes 2 arguments");
        return NULL;
    }
    uint8_t *frame = as_u64(args[0], &label) ? buffer() : NULL;
    if (!frame || PyObject_GetBuffer(args[1], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    if (data.len > MOST_BYTES || label >> 52)
        PyErr_Format(PyExc_ValueError, "%zd bytes do not fit a message, which holds %d; or the label does not fit 52 bits",
                     data.len, MOST_BYTES);
    else
        result = put_bytes(frame, label, &data);
    PyBuffer_Release(&data);
    return result;
}

PyObject *cpu_message_get(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint64_t info, words[SEL4PY_MESSAGE_REGISTERS];
    if (count != 1 + SEL4PY_MESSAGE_REGISTERS) {
        PyErr_SetString(PyExc_TypeError, "message_get(info, mr0, mr1, mr2, mr3) takes 5 arguments");
        return NULL;
    }
    uint8_t *frame = as_u64(args[0], &info) ? buffer() : NULL;
    for (unsigned i = 0; frame && i < SEL4PY_MESSAGE_REGISTERS; i++)
        if (!as_u64(args[1 + i], &words[i]))
            frame = NULL;
    if (!frame)
        return NULL;
    return message_has_bytes(info & 127, words) ? message_take_bytes(frame, words) : Py_NewRef(Py_None);
}

static PyObject *write_words(PyObject *args, unsigned offset, const char *format)
{
    uint64_t words[3];
    PyObject *items[3];
    if (!PyArg_ParseTuple(args, format, &items[0], &items[1], &items[2]))
        return NULL;
    for (int i = 0; i < 3; i++)
        if (!as_u64(items[i], &words[i]))
            return NULL;
    uint8_t *frame = buffer();
    if (!frame)
        return NULL;
    memcpy(frame + offset, words, sizeof words);
    return Py_NewRef(Py_None);
}

static PyObject *read_words(unsigned offset)
{
    uint64_t words[3];
    uint8_t *frame = buffer();
    if (!frame)
        return NULL;
    memcpy(words, frame + offset, sizeof words);
    return Py_BuildValue("KKK", (unsigned long long)words[0], (unsigned long long)words[1],
                         (unsigned long long)words[2]);
}

_Static_assert(SEL4PY_MESSAGE_MAX_EXTRA_CAPS == 3, "three capability slots");
_Static_assert(SEL4PY_IPC_RECEIVE_INDEX == SEL4PY_IPC_RECEIVE_CNODE + WORD, "the receive path is three words");
_Static_assert(SEL4PY_IPC_RECEIVE_DEPTH == SEL4PY_IPC_RECEIVE_INDEX + WORD, "the receive path is three words");

PyObject *cpu_set_caps(PyObject *Py_UNUSED(module), PyObject *args)
{
    return write_words(args, SEL4PY_IPC_CAPS_OR_BADGES, "OOO:set_caps");
}

PyObject *cpu_badges(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    return read_words(SEL4PY_IPC_CAPS_OR_BADGES);
}

PyObject *cpu_set_receive(PyObject *Py_UNUSED(module), PyObject *args)
{
    return write_words(args, SEL4PY_IPC_RECEIVE_CNODE, "OOO:set_receive");
}

PyObject *cpu_receive_path(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    return read_words(SEL4PY_IPC_RECEIVE_CNODE);
}
