/* The table of this process's threads that have a trap frame. A slot is taken by attach() or by the keeper, and given
 * back by the thread itself at its end; it is never freed memory, so that the keeper may look at it at any time. */
#include "calls.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

_Thread_local struct cpu_thread *cpu_self __attribute__((tls_model("initial-exec")));

static struct cpu_thread table[SEL4PY_CONTROL_THREADS];
static uint32_t attached;

unsigned thread_count(void) { return __atomic_load_n(&attached, __ATOMIC_SEQ_CST); }

struct cpu_thread *thread_find(uint32_t id)
{
    for (unsigned i = 0; i < SEL4PY_CONTROL_THREADS; i++)
        if (__atomic_load_n(&table[i].in_use, __ATOMIC_ACQUIRE) && table[i].id == id)
            return &table[i];
    return NULL;
}

static uint8_t *map_frame(int frame_fd)
{
    struct stat status;
    if (fstat(frame_fd, &status) < 0)
        return NULL;
    /* Beyond the end of the file a touch would be SIGBUS. */
    if (status.st_size < (off_t)SEL4PY_TRAP_FRAME_BYTES) {
        errno = EINVAL;
        return NULL;
    }
    void *frame = mmap(NULL, SEL4PY_TRAP_FRAME_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, frame_fd, 0);
    return frame == MAP_FAILED ? NULL : frame;
}

/* A frame may have had an owner before: go on where the kernel is, whatever that one left in its words. */
static void join_rings(struct cpu_thread *thread)
{
    thread->submitted = __atomic_load_n(frame_word(thread, SEL4PY_SUBMIT_CONSUMED), __ATOMIC_ACQUIRE);
    thread->completed = __atomic_load_n(frame_word(thread, SEL4PY_COMPLETE_PRODUCED), __ATOMIC_ACQUIRE);
    __atomic_store_n(frame_word(thread, SEL4PY_SUBMIT_PRODUCED), thread->submitted, __ATOMIC_RELEASE);
    __atomic_store_n(frame_word(thread, SEL4PY_COMPLETE_CONSUMED), thread->completed, __ATOMIC_RELEASE);
    __atomic_store_n(frame_word(thread, SEL4PY_TASK_WAITING), 0, __ATOMIC_RELEASE);
}

/* The process's first thread holds a robust mutex in its frame for as long as it lives: at its end Linux marks the word
 * and wakes who waits for it, before it takes the process's memory down (kerneld/host/death_hints.py). */
int thread_hold_death_word(struct cpu_thread *thread)
{
    _Static_assert(SEL4PY_DEATH_WORD % 8 == 0, "alignment of a mutex");
    _Static_assert(SEL4PY_DEATH_WORD + sizeof(pthread_mutex_t) <= SEL4PY_KERNEL_LINE, "inside of the task's line");
    pthread_mutex_t *mutex = (pthread_mutex_t *)(void *)(thread->frame + SEL4PY_DEATH_WORD);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    int error = pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    if (!error)
        error = pthread_mutex_lock(mutex);
    /* Linux wakes only where somebody says that he waits; the kernel can read the word, and not write it. */
    if (!error)
        __atomic_or_fetch((uint32_t *)(void *)mutex, FUTEX_WAITERS, __ATOMIC_SEQ_CST);
    return error;
}

struct cpu_thread *thread_new(uint32_t id, int frame_fd, int doorbell_fd)
{
    for (unsigned i = 0; i < SEL4PY_CONTROL_THREADS; i++) {
        struct cpu_thread *thread = &table[i];
        uint32_t no = 0;
        if (!__atomic_compare_exchange_n(&thread->in_use, &no, 2, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            continue;
        uint8_t *frame = map_frame(frame_fd), *stack = frame ? fault_stack_new() : NULL;
        if (!stack) {
            int error = errno;
            if (frame)
                munmap(frame, SEL4PY_TRAP_FRAME_BYTES);
            errno = error;
            __atomic_store_n(&thread->in_use, 0, __ATOMIC_RELEASE);
            return NULL;
        }
        *thread = (struct cpu_thread){
            .frame = frame, .doorbell = doorbell_fd, .id = id, .spin_ns = INT64_MAX, .fault_stack = stack, .in_use = 2};
        join_rings(thread);
        __atomic_add_fetch(&attached, 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&thread->in_use, 1, __ATOMIC_RELEASE);
        return thread;
    }
    errno = EAGAIN;
    return NULL;
}

void thread_free(struct cpu_thread *thread)
{
    channels_of_ended(thread);
    calls_forget(thread);
    receive_forget(thread);
    munmap(thread->frame, SEL4PY_TRAP_FRAME_BYTES);
    fault_stack_free(thread->fault_stack);
    close(thread->doorbell);
    __atomic_store_n(&thread->park, PARK_RUNNING, __ATOMIC_SEQ_CST);
    futex_wake_all(&thread->park);
    __atomic_sub_fetch(&attached, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&thread->in_use, 0, __ATOMIC_RELEASE);
}

void thread_not_ready(void)
{
    const struct cpu_thread *thread = cpu_self;
    if (!thread)
        PyErr_SetString(PyExc_RuntimeError, "this thread has no trap frame: the kernel gives one to each TCB's thread, "
                                            "and attach() maps the first one's");
    else if (thread->busy)
        PyErr_SetString(PyExc_RuntimeError, "this thread is inside a system call: a signal handler must not trap");
    else
        PyErr_SetString(PyExc_RuntimeError, "this thread's rings are broken: an earlier system call said how");
}
