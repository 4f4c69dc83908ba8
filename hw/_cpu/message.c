/* The IPC buffer of the calling thread: message words, capability slots, receive path (libsel4py/abi.py). */
#include "cpu.h"

#include <string.h>

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
enum { MOST_BYTES = (SEL4PY_MESSAGE_MAX_LENGTH - 1) * WORD };

/* Word 0 counts the bytes, which begin at word 1. */
static PyObject *put_bytes(uint8_t *frame, uint64_t label, const Py_buffer *data)
{
    uint64_t head[SEL4PY_MESSAGE_REGISTERS - 1] = {0};
    size_t size = (size_t)data->len, in_head = size < HEAD_BYTES ? size : HEAD_BYTES, rest = size - in_head;
    uint8_t *area = frame + SEL4PY_IPC_MESSAGE + SEL4PY_MESSAGE_REGISTERS * WORD;
    memcpy(head, data->buf, in_head);
    memcpy(area, (const uint8_t *)data->buf + in_head, rest);
    memset(area + rest, 0, -rest % WORD);
    const uint64_t words[] = {label << 12 | (size + WORD + WORD - 1) / WORD, size, head[0], head[1], head[2]};
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
    uint64_t info, words[SEL4PY_MESSAGE_REGISTERS], bytes[SEL4PY_MESSAGE_MAX_LENGTH];
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
    unsigned length = info & 127;
    if (!length || length > SEL4PY_MESSAGE_MAX_LENGTH || words[0] > (uint64_t)(length - 1) * WORD)
        return Py_NewRef(Py_None);
    memcpy(bytes, words + 1, HEAD_BYTES);
    memcpy((uint8_t *)bytes + HEAD_BYTES, frame + SEL4PY_IPC_MESSAGE + SEL4PY_MESSAGE_REGISTERS * WORD,
           words[0] > HEAD_BYTES ? words[0] - HEAD_BYTES : 0);
    return PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)words[0]);
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
