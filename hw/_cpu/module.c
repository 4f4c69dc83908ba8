/* hw._cpu: the module's table. hw/cpu.py is what Python code imports; it tells the contract of the rest. */
#include "cpu.h"

#include <errno.h>

struct cpu_thread *attach_first(int frame_fd, int doorbell_fd, bool has_process)
{
    struct cpu_thread *thread = thread_new(0, frame_fd, doorbell_fd);
    if (!thread || fault_stack_use(thread->fault_stack) < 0 || fault_install() < 0)
        return NULL;
    if (has_process && (errno = thread_hold_death_word(thread)))
        return NULL;
    close(frame_fd);
    cpu_self = thread;
    thread->runs_handlers = gettid() == getpid();
    __atomic_store_n(&thread->tid, gettid(), __ATOMIC_RELEASE);
    return thread;
}

static PyObject *cpu_attach(PyObject *Py_UNUSED(module), PyObject *args)
{
    int frame_fd, doorbell_fd, control_fd;
    if (!PyArg_ParseTuple(args, "iii:attach", &frame_fd, &doorbell_fd, &control_fd))
        return NULL;
    if (cpu_self) {
        PyErr_SetString(PyExc_RuntimeError, "this thread has a trap frame already: a thread is attached once");
        return NULL;
    }
    if (control_fd >= 0 && control_descriptor() >= 0) {
        PyErr_SetString(PyExc_RuntimeError, "this process has a keeper already: pass control_fd=-1");
        return NULL;
    }
    /* One that is attached by hand has no process to itself. */
    const struct cpu_thread *thread = attach_first(frame_fd, doorbell_fd, control_fd >= 0);
    if (!thread && errno == EINVAL)
        return PyErr_Format(PyExc_ValueError, "frame_fd is shorter than a trap frame of %u bytes",
                            SEL4PY_TRAP_FRAME_BYTES);
    if (!thread)
        return PyErr_SetFromErrno(PyExc_OSError);
    if (control_fd >= 0 && (errno = control_start(control_fd, true)))
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

/* Nanoseconds; -1 with an exception. */
static long long bound_of(PyObject *argument)
{
    long long nanoseconds = PyLong_AsLongLong(argument);
    if (nanoseconds >= 0 || PyErr_Occurred())
        return nanoseconds;
    PyErr_SetString(PyExc_ValueError, "the bound is in nanoseconds and not negative; 0 means: not at all");
    return -1;
}

static PyObject *cpu_set_spin_ns(PyObject *Py_UNUSED(module), PyObject *argument)
{
    long long nanoseconds = bound_of(argument);
    if (nanoseconds < 0)
        return NULL;
    ring_set_spin(nanoseconds);
    Py_RETURN_NONE;
}

static PyObject *cpu_set_exchange_ns(PyObject *Py_UNUSED(module), PyObject *argument)
{
    long long nanoseconds = bound_of(argument);
    if (nanoseconds < 0)
        return NULL;
    fault_set_exchange(nanoseconds);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(trap_doc,
"trap(op, cptr, info, mr0, mr1, mr2, mr3, reply=0, dest=0, timeout_ns=-1)\n\n"
"One system call of the calling thread: (status, badge, info, mr0, mr1, mr2, mr3).\n\n"
"op: abi.Syscall. cptr, info, mr0..mr3: words. reply: reply capability of the receiving calls. dest: where\n"
"the first phase of NB_SEND_RECV and NB_SEND_WAIT goes. Message words from 4 on and capabilities: message_write,\n"
"set_caps, before; message_read, badges, after. timeout_ns: nanoseconds, -1 for ever; when it is over the call is\n"
"cancelled and answers status CANCELLED, unless it completed first. Arguments are positional.\n"
"Raises RuntimeError (thread not attached, inside a call, or rings broken), OSError (doorbell), and what a signal\n"
"handler raises: then the call has been cancelled, and its completion is lost if it came first.");
PyDoc_STRVAR(call_numbers_doc,
"call_numbers(cptr, info, shape, timeout_ns, *numbers)\n\n"
"As call(), with up to 4 numbers as message words. shape: abi.ValueKind of the result, then of each number (SIGNED or\n"
"WORD), abi.VALUE_KIND_BITS each from bit 0 on. Returns the value of a plain reply of that kind: an int, a bool, 0 for\n"
"NOTHING, bytes; the completion, as call() does, where the reply is another one; None, with nothing sent, where a number\n"
"does not fit.");
PyDoc_STRVAR(call_bytes_doc,
"call_bytes(cptr, info, result, timeout_ns, data)\n\n"
"As call_numbers(), with data (bytes) packed as message_put does. info without the length. result: abi.ValueKind. None,\n"
"with nothing sent, where the data is too long.");
PyDoc_STRVAR(answer_recv_doc,
"answer_recv(cptr, answer, reply)\n\n"
"As reply_recv(). answer: an int (a signed word), bytes (as message_put packs them with label 0), or (info, mr0, mr1, mr2,\n"
"mr3). A message of bytes that fill all of its words, more than 4, and that brings no capability comes with the bytes in\n"
"the place of mr0, and zeros behind.");
PyDoc_STRVAR(serve_doc,
"serve(cptr, answer, reply, loop, server, receive) -> (abi.Served, value, info)\n\n"
"answer_recv() (recv() where the answer is None), and again with what the method answers that the message is for, until\n"
"something is unusual. server.connections: badge -> who calls, with caller and provided.table, label -> entry. An entry\n"
"has handle(info, mr0, mr1, mr2, mr3) -> answer, and numbers: None, or (method, info, shape as in call_numbers) with\n"
"pack(result) -> answer. loop.caller and loop.entry are set before a method is called.\n"
"REQUEST: value is what answer_recv() returns, of nobody or nothing that is known. ANSWER: value is the answer, which has\n"
"not been sent, since the word server.changes is another one, receive.slot (unless receive is None) is None, detach() has been\n"
"called, or 64 requests were answered: other threads have a turn then. RAISED: value is the exception that the method with\n"
"this message's info raised.");
PyDoc_STRVAR(batch_doc,
"batch(entries)\n\n"
"Many invocations, one trap. An entry is a tuple (op, cptr, info, words, caps[, reply]) with at most 8 message words\n"
"and 2 capability addresses; one of them may have 3, and 4 words at most. Returns a completion, as trap does, for\n"
"each, in order. Results past message register 3 are dropped. For invocations that do not block: a batch has no time-out, and signal handlers run after it.\n"
"Nothing is submitted if an entry is malformed (TypeError, ValueError, OverflowError).");
PyDoc_STRVAR(message_write_doc,
"message_write(first, data)\n\nStore whole words into the message area, from word number first on (0..119).\n"
"Words 0 to 3 travel in registers and are not read from here. Raises ValueError if they do not fit.");
PyDoc_STRVAR(message_read_doc,
"message_read(first, count)\n\nA copy of count words of the message area from word number first on, as bytes.");
PyDoc_STRVAR(spin_doc,
"set_spin_ns(nanoseconds)\n\nHow long any thread of this process looks for a completion, at most, before it sleeps.\n"
"50,000 at the start; 0 to sleep at once. Within the bound each thread adapts.");
PyDoc_STRVAR(exchange_doc,
"set_exchange_ns(nanoseconds)\n\nHow long a thread of this process that cannot ask the kernel waits for memory that is not there, after\n"
"each message of its keeper's: it may be about to come, since another holder of the frame has lost it. 3 s at the start.");

static PyMethodDef methods[] = {
    {"begin", cpu_begin, METH_VARARGS, "begin(parent, name, log_folder, log_name, descriptors, maps, has_rules)"},
    {"prepare", cpu_prepare, METH_NOARGS, "prepare()"},
    {"await_order", cpu_await_order, METH_NOARGS, "await_order() -> (image, image_number, word0..word5)"},
    {"attach", cpu_attach, METH_VARARGS, "attach(frame_fd, doorbell_fd, control_fd)"},
    {"set_spin_ns", cpu_set_spin_ns, METH_O, spin_doc},
    {"set_exchange_ns", cpu_set_exchange_ns, METH_O, exchange_doc},
    {"kernel_trap", (PyCFunction)(void (*)(void))cpu_kernel_trap, METH_FASTCALL,
     "kernel_trap(…)\n\nAs trap(), and never by a channel: for calls whose reply may bring a capability."},
    {"call", (PyCFunction)(void (*)(void))cpu_call, METH_FASTCALL,
     "call(cptr, info, mr0, mr1, mr2, mr3, timeout_ns=-1)\n\nAs trap() with CALL."},
    {"reply_recv", (PyCFunction)(void (*)(void))cpu_reply_recv, METH_FASTCALL,
     "reply_recv(cptr, info, mr0, mr1, mr2, mr3, reply, timeout_ns=-1)\n\nAs trap() with REPLY_RECV."},
    {"recv", (PyCFunction)(void (*)(void))cpu_recv, METH_FASTCALL,
     "recv(cptr, reply, timeout_ns=-1)\n\nAs trap() with RECV."},
    {"call_numbers", (PyCFunction)(void (*)(void))cpu_call_numbers, METH_FASTCALL, call_numbers_doc},
    {"call_bytes", (PyCFunction)(void (*)(void))cpu_call_bytes, METH_FASTCALL, call_bytes_doc},
    {"answer_recv", (PyCFunction)(void (*)(void))cpu_answer_recv, METH_FASTCALL, answer_recv_doc},
    {"serve", (PyCFunction)(void (*)(void))cpu_serve, METH_FASTCALL, serve_doc},
    {"trap", (PyCFunction)(void (*)(void))cpu_trap, METH_FASTCALL, trap_doc},
    {"batch", cpu_batch, METH_O, batch_doc},
    {"message_write", cpu_message_write, METH_VARARGS, message_write_doc},
    {"message_read", cpu_message_read, METH_VARARGS, message_read_doc},
    {"message_put", (PyCFunction)(void (*)(void))cpu_message_put, METH_FASTCALL,
     "message_put(label, data) -> (info, mr0, mr1, mr2, mr3)\n\nA message of bytes: word 0 counts them, they begin at word 1,\n"
     "from word 4 on in the message area. Raises ValueError if they do not fit."},
    {"message_get", (PyCFunction)(void (*)(void))cpu_message_get, METH_FASTCALL,
     "message_get(info, mr0, mr1, mr2, mr3) -> bytes\n\nThe bytes of a message as message_put makes it; None if it is none."},
    {"set_caps", cpu_set_caps, METH_VARARGS,
     "set_caps(cap0, cap1, cap2)\n\nCapability addresses that the next message may carry (info says how many)."},
    {"badges", cpu_badges, METH_NOARGS, "badges()\n\nThe three words that the last receive unwrapped capabilities to."},
    {"set_receive", cpu_set_receive, METH_VARARGS,
     "set_receive(cnode, index, depth)\n\nThe slot for a capability that the next receive brings."},
    {"receive_path", cpu_receive_path, METH_NOARGS, "receive_path()\n\n(cnode, index, depth) of set_receive."},
    {"set_thread_entry", cpu_set_thread_entry, METH_O, "set_thread_entry(entry)"},
    {"file_rules", cpu_file_rules, METH_O, "file_rules(paths) -> descriptor, -1 where the host has no Landlock"},
    {"enter_sandbox", cpu_enter_sandbox, METH_VARARGS, "enter_sandbox(memory_bytes, open_files, file_bytes, without, report, number, loosened)"},
    {"host_call_name", cpu_host_call_name, METH_O, "host_call_name(number) -> str or None"},
    {"hide_memory", cpu_hide_memory, METH_NOARGS, "hide_memory()"},
    {"sandbox_layers", cpu_sandbox_layers, METH_NOARGS, "sandbox_layers()"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_cpu", "The user's half of the machine.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__cpu(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module && PyModule_AddFunctions(module, channel_methods) < 0)
        Py_CLEAR(module);
    if (module && mapping_add_type(module) < 0)
        Py_CLEAR(module);
    if (module && PyModule_AddIntConstant(module, "OVERRUN", SEL4PY_OP_OVERRUN) < 0)
        Py_CLEAR(module);
    return module;
}
