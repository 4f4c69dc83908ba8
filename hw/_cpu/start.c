/* The further threads of a task: one for each TCB that shares its VSpace. The keeper starts them, they take the GIL
 * and call the entry that the task has registered; at its end they tell the kernel by EXIT. */
#include "cpu.h"

#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>

/* Counts against the task's private memory; enough for the interpreter's recursion limit in C code (a test tries). */
enum { STACK_BYTES = 1 << 20 };

static PyObject *thread_entry;
static uint32_t has_entry; /* the keeper has no GIL to look at thread_entry with */

PyObject *cpu_set_thread_entry(PyObject *Py_UNUSED(module), PyObject *callable)
{
    if (!PyCallable_Check(callable)) {
        PyErr_SetString(PyExc_TypeError, "set_thread_entry() takes a callable (thread, image, *arguments)");
        return NULL;
    }
    PyObject *before = thread_entry;
    thread_entry = Py_NewRef(callable);
    Py_XDECREF(before);
    __atomic_store_n(&has_entry, 1, __ATOMIC_RELEASE);
    Py_RETURN_NONE;
}

static uint64_t status_of(PyObject *result)
{
    if (!result || result == Py_None)
        return 0;
    uint64_t status = PyLong_Check(result) ? PyLong_AsUnsignedLongLongMask(result) : 1;
    if (!PyLong_Check(result))
        PySys_FormatStderr("%S\n", result);
    return status;
}

/* As the interpreter does for SystemExit, but for this thread alone. */
static uint64_t status_of_exception(void)
{
    if (!PyErr_ExceptionMatches(PyExc_SystemExit)) {
        PyErr_PrintEx(0);
        return 1;
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *code = PyObject_GetAttrString(value, "code");
    uint64_t status = status_of(code);
    PyErr_Clear();
    Py_XDECREF(code);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return status;
}

static uint64_t call_entry(const struct cpu_thread *thread)
{
    _Static_assert(SEL4PY_CONTROL_WORD_COUNT == 6, "six arguments");
    PyObject *entry = Py_NewRef(thread_entry);
    const uint64_t *words = thread->arguments;
    PyObject *result = PyObject_CallFunction(
        entry, "IIKKKKKK", thread->id, thread->image, (unsigned long long)words[0], (unsigned long long)words[1],
        (unsigned long long)words[2], (unsigned long long)words[3], (unsigned long long)words[4],
        (unsigned long long)words[5]);
    uint64_t status = result && PyLong_Check(result) ? PyLong_AsUnsignedLongLongMask(result) : 0;
    if (!result)
        status = status_of_exception();
    Py_XDECREF(result);
    Py_DECREF(entry);
    return status;
}

/* The kernel answers no EXIT; the frame's memory is its own, so this mapping of it may go at once. */
static void tell_exit(struct cpu_thread *thread, uint64_t status)
{
    struct sel4py_entry entry = {.op = SEL4PY_SYSCALL_EXIT, .mr = {status}};
    ring_submit(thread, &entry, NULL);
    /* If it cannot be told, the thread is one that never ends: the kernel still has the whole process's death. */
    (void)ring_publish(thread);
}

static void unblock_signals(void)
{
    static const int wanted[] = {PARK_SIGNAL, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    sigset_t set;
    sigemptyset(&set);
    for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++)
        sigaddset(&set, wanted[i]);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void *thread_main(void *argument)
{
    struct cpu_thread *thread = argument;
    cpu_self = thread;
    __atomic_store_n(&thread->tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
    futex_wake_all((uint32_t *)&thread->tid);
    thread->outside = 1;
    fault_stack_use(thread->fault_stack);
    unblock_signals();
    park_here(thread);
    thread->outside = 0;
    PyGILState_STATE state = PyGILState_Ensure();
    uint64_t status = call_entry(thread);
    forget_objects(thread);
    PyGILState_Release(state);
    /* Before the kernel hears of it: its clients are told then, and a late answer would meet another call. */
    channels_of_ended(thread);
    tell_exit(thread, status);
    cpu_self = NULL;
    fault_stack_use(NULL);
    thread_free(thread);
    return NULL;
}

/* It stores its number first of all; a slot keeps it beyond the thread's end, until the keeper gives it to another. */
static pid_t wait_tid(struct cpu_thread *thread)
{
    _Static_assert(sizeof thread->tid == sizeof(uint32_t), "a futex word");
    pid_t tid;
    while (!(tid = __atomic_load_n(&thread->tid, __ATOMIC_ACQUIRE)))
        futex_wait_until((uint32_t *)&thread->tid, 0, NO_DEADLINE, false);
    return tid;
}

/* The kernel gives each thread of the process a higher number. One that it asks for twice was started once. */
static uint32_t last_number;

int start_thread(const struct sel4py_control *request, int frame_fd, int doorbell_fd, pid_t *tid)
{
    if (!__atomic_load_n(&has_entry, __ATOMIC_ACQUIRE))
        return ENOEXEC;
    if (request->thread <= last_number || thread_find(request->thread))
        return EEXIST;
    struct cpu_thread *thread = thread_new(request->thread, frame_fd, doorbell_fd);
    if (!thread)
        return errno;
    thread->image = request->image;
    for (unsigned i = 0; i < SEL4PY_CONTROL_WORD_COUNT; i++)
        thread->arguments[i] = request->words[i];
    pthread_attr_t attributes;
    pthread_t handle;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int error = pthread_create(&handle, &attributes, thread_main, thread);
    pthread_attr_destroy(&attributes);
    if (error) {
        thread_free(thread);
        return error;
    }
    last_number = request->thread;
    *tid = wait_tid(thread);
    return 0;
}
