/* The user's half of the machine: what a task's own process does to trap into the kernel and to obey it.
 *
 * Rules. A thread uses its own trap frame only (thread-local). A task keeps its ring positions here and never reads
 * its own words back from shared memory. The keeper (control.c) never takes the GIL, so that it obeys the kernel
 * whatever the task's Python does. What a task must not be able to do is decided elsewhere (kernel, sandbox.c):
 * nothing here protects the kernel from the task.
 */
#ifndef SEL4PY_CPU_H
#define SEL4PY_CPU_H

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "abi.h"
#include "channel.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

/* Park states, a futex word. */
enum park { PARK_RUNNING, PARK_REQUESTED, PARK_STOPPED, PARK_DEFERRED };

/* What the kernel has handed to one thread: a channel. channel_table.c */
enum { CHANNEL_PLACES = 2048, MOST_RECEIVED = 124 /* with two words of its own, what futex_waitv takes */ };
/* Whose a place is: the keeper fills those that are free, and takes one that is handed to a thread back by itself as long as
 * the thread does not use it; from then on the thread alone gives it back. The word's other bits count how often the place
 * has been filled: who takes it takes what he has looked at, and not what has come there since. */
enum place { PLACE_FREE, PLACE_HANDED, PLACE_USED, PLACE_KEEPERS, PLACE_STATES, PLACE_FILLED = PLACE_STATES };

/* How long to linger before the first look at what the peer is about to write (look.c), and how often that look has found it
 * since this was changed. */
struct ease {
    uint8_t lingers, found;
};

struct channel {
    uint32_t in_use; /* enum place, and how often it has been filled */
    uint32_t gone;   /* the kernel has taken the page away */
    uint32_t number;
    uint32_t role;
    uint32_t thread;   /* the keeper's number of the thread that it is for */
    uint32_t listener; /* a server's number */
    uint64_t badge;
    uint8_t *page;
    uint32_t owed;      /* whose answer was put off: sequence << 16, OWED and BEGUN; 0: none */
    uint32_t answering; /* threads that are about to write one of them */
    int64_t spin_ns;    /* how long looking has paid lately */
    uint16_t sequence;  /* the client's, of the last request */
    bool abandoned;     /* the client has not waited for the answer to it */
    struct ease ease;   /* before the answer */
};

struct receiver;
struct bindings;

/* What a thread's channels have done; cpu_channel_statistics gives them in this order. */
struct channel_counters {
    uint64_t calls, taken, sleeps, kernel_receives, abandoned;
};

/* The arguments of a thread's last system call, as objects and as words. */
enum position { AT_CPTR, AT_INFO, AT_MR, AT_REPLY = AT_MR + SEL4PY_MESSAGE_REGISTERS, AT_SHAPE, POSITIONS };

struct argument {
    PyObject *object;
    uint64_t word;
};

struct cpu_thread {
    uint8_t *frame;        /* the mapped trap frame */
    int doorbell;          /* eventfd */
    bool busy;             /* a system call is under way: a signal handler must not start a second one */
    bool runs_handlers;    /* Python's signal handlers run in this thread: it is the process's main thread */
    bool broken;           /* the rings are out of step or the doorbell is gone */
    uint32_t submitted;    /* entries written, free-running */
    uint32_t completed;    /* completions read, free-running */
    uint64_t tag;          /* of the last entry */
    int64_t spin_ns;       /* how long looking has paid lately */
    int64_t looks_since;   /* when the wait began */
    volatile sig_atomic_t outside; /* waits in our own code without the GIL: may be stopped right there */
    uint32_t in_use;       /* whether this slot of the table is taken */
    uint32_t id;           /* the kernel's number of the thread */
    uint32_t park;         /* enum park */
    uint32_t image;
    uint8_t *fault_stack;  /* what signals run on */
    pid_t tid;             /* 0 until the thread runs */
    uint64_t arguments[SEL4PY_CONTROL_WORD_COUNT];
    uint32_t event;            /* a futex word: the table of channels has changed */
    int64_t told_at;           /* when the keeper changed it last */
    uint32_t awaited_event;    /* its value when a wait for it began */
    struct bindings *bindings; /* calls.c: what it calls by channels; NULL before the first */
    struct argument known[POSITIONS];
    PyObject *result;          /* what the last system call returned */
    struct sel4py_completion last; /* what that says */
    bool last_has_bytes;       /* in the place of the first word */
    uint32_t detached;         /* requests that were taken out of its hands, to be answered later */
    uint32_t crowded;          /* so many waits are not worth a look: others want the processors */
    struct channel_counters counters;
    struct receiver *receiver; /* receive.c: what it listens to; NULL if it never has */
};

/* Of the calling thread, NULL if it has no trap frame. Initial-exec, because a signal handler reads it. */
extern _Thread_local struct cpu_thread *cpu_self __attribute__((tls_model("initial-exec")));

/* thread.c */
/* A slot with the frame mapped; NULL with errno set. Takes the doorbell over, closes neither descriptor. */
int thread_hold_death_word(struct cpu_thread *thread);
struct cpu_thread *thread_new(uint32_t id, int frame_fd, int doorbell_fd);
void thread_free(struct cpu_thread *thread);
struct cpu_thread *thread_find(uint32_t id);
unsigned thread_count(void);
/* The calling thread's state; NULL with RuntimeError set if it has none, is inside a system call, or is broken. */
static inline struct cpu_thread *thread_ready(void);
void thread_not_ready(void); /* says why */

/* ring.c */
/* AGAIN and BROKEN: of receives beside channels alone. */
enum wait { WAIT_READY, WAIT_TIMEOUT, WAIT_INTERRUPTED, WAIT_AGAIN, WAIT_BROKEN };
#define NO_DEADLINE INT64_MAX
/* Writes an entry (and its tail unless NULL), gives it the next tag, does not publish it. */
uint64_t ring_submit(struct cpu_thread *thread, struct sel4py_entry *entry, const struct sel4py_tail *tail);
/* Publishes what was submitted and rings the doorbell if the kernel may sleep. False with errno set if it cannot. */
bool ring_publish(struct cpu_thread *thread);
bool ring_ready(const struct cpu_thread *thread);
/* Look for a completion for as long as that pays, and sleep until there is one. Both end at the deadline (nanoseconds of
 * CLOCK_MONOTONIC). INTERRUPTED: it did not pay, or a signal came. Called without the GIL. */
enum wait ring_look(struct cpu_thread *thread, int64_t deadline);
enum wait ring_sleep(struct cpu_thread *thread, int64_t deadline);
void ring_wait_uninterrupted(struct cpu_thread *thread);
/* Returns once there is a completion; if it has to sleep for that, once there are so many (1 at least). */
void ring_wait_for(struct cpu_thread *thread, unsigned count);
/* Copies the next completion, which must be there. False if its tag is another one. */
bool ring_take(struct cpu_thread *thread, uint64_t tag, struct sel4py_completion *completion);
void ring_set_spin(int64_t nanoseconds);

/* trap.c, forms.c, batch.c, message.c: Python's functions */
PyObject *cpu_trap(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *cpu_call(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *cpu_reply_recv(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *cpu_recv(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *cpu_call_numbers(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *cpu_call_bytes(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *cpu_answer_recv(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *cpu_serve(PyObject *module, PyObject *const *args, Py_ssize_t count); /* serve.c */
PyObject *cpu_kernel_trap(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *cpu_batch(PyObject *module, PyObject *entries);
PyObject *cpu_message_write(PyObject *module, PyObject *args);
PyObject *cpu_message_read(PyObject *module, PyObject *args);
PyObject *cpu_message_put(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *cpu_message_get(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *cpu_set_caps(PyObject *module, PyObject *args);
PyObject *cpu_badges(PyObject *module, PyObject *none);
PyObject *cpu_set_receive(PyObject *module, PyObject *args);
PyObject *cpu_receive_path(PyObject *module, PyObject *none);
/* System call numbers; false with an exception set. */
bool parse_op(PyObject *object, int32_t *op);
/* Says what is wrong with the rings, marks them broken, returns NULL. */
PyObject *raise_broken(struct cpu_thread *thread, const char *what);

/* result.c. With the GIL held. */
PyObject *completion_tuple(const struct sel4py_completion *completion);
/* As completion_tuple. Where nobody has kept the tuple that the thread got last it is given out again, and only the words
 * that differ are made anew. `bytes`, which is taken over, stands in the place of the first word unless it is NULL. */
PyObject *result_of(struct cpu_thread *thread, const struct sel4py_completion *completion, PyObject *bytes);
/* Lets go of what is kept for the next call: the result, and the arguments. Before the thread ends. */
void forget_objects(struct cpu_thread *thread);

/* park.c */
int park_install(void);
static inline bool park_asked(const struct cpu_thread *thread)
{
    return __atomic_load_n(&thread->park, __ATOMIC_ACQUIRE) != PARK_RUNNING;
}
/* Stops the calling thread while it is to be parked. Async-signal-safe. Not with the GIL held. */
void park_here(struct cpu_thread *thread);
/* The keeper's requests; an errno value, 0 if done. */
int park_thread(uint32_t id);
int unpark_thread(uint32_t id);
/* What the kernel parks with. A signal whose number no program uses, that the host never refuses to deliver (a queued
 * real-time signal is refused when anybody of the same user has filled the queue), ignored where no handler is. */
#define PARK_SIGNAL SIGURG

/* fault.c. The thread's signals run on a stack of their own; a stack's address is of its guard page. */
int fault_install(void);
uint8_t *fault_stack_new(void);
int fault_stack_reserve(void); /* the next that is asked for is made now */
/* Of the calling thread, from now on; NULL for none. */
int fault_stack_use(uint8_t *stack);
void fault_stack_free(uint8_t *stack);
/* The MAP or UNMAP of this number, or of the next one by 0, is done, and so are those before it. */
void fault_mapping_done(uint32_t number);
void fault_set_exchange(int64_t nanoseconds);
uint32_t fault_mappings_done(void);

/* mapping.c. -1 with an exception set. */
int mapping_add_type(PyObject *module);

/* channel_table.c. The first three are the keeper's, and give an errno value. */
int channel_open(const struct sel4py_control *request, int fd);
int channel_close(const struct sel4py_control *request);
int channel_receiver_died(const struct sel4py_control *request);
int channels_look(void);
/* Whether this is where a channel's page is, or was: then it reads as zeroes from now on. Async-signal-safe. */
bool channel_page_is_missing(uint64_t address);
struct channel *channel_place(unsigned index);
/* No place from this index on has ever been filled. */
unsigned channel_places(void);
/* How often the place has been filled. */
uint32_t channel_generation(const struct channel *channel);
/* Both say in *seen what was looked at. Whether it has been handed to the thread, and not been given back; the one of a number. */
bool channel_is_of(const struct channel *channel, const struct cpu_thread *thread, uint32_t *seen);
struct channel *channel_of_thread(const struct cpu_thread *thread, uint32_t number, uint32_t *seen);
bool channel_is_gone(const struct channel *channel);
/* From now on the calling thread, whose it was when it was seen, uses it. False if it does so already, or the kernel has taken it
 * away; channel_keep(): only then. */
bool channel_use(struct channel *channel, uint32_t seen);
bool channel_keep(struct channel *channel, uint32_t seen);
/* An answer that was put off when the place had been filled so often: until channel_answer_end() it is filled no more, whoever
 * gives it back. False, and nothing is to be ended, where it was given back, or is owed none. */
bool channel_answer_begin(struct channel *channel, uint32_t generation);
void channel_answer_end(struct channel *channel);
void channel_give_back(struct channel *channel);
/* The thread that the channel is for looks at the table again. */
void channel_look_again(const struct channel *channel);
/* The thread receives by none of its channels any more. */
void channels_of_deaf(const struct cpu_thread *thread);
void channels_of_ended(const struct cpu_thread *thread);

static inline bool channel_is_received(const struct channel *channel)
{
    return channel->role == SEL4PY_CHANNELROLE_SERVER || channel->role == SEL4PY_CHANNELROLE_WAITER;
}

/* control.c, start.c */
/* serve: whether the keeper obeys what comes from now on, or first waits for control_serve(). */
int control_start(int control_fd, bool serve);
void control_serve(const char *name); /* as ps(1) is to show the keeper, too */
int control_descriptor(void);
/* awake.c. The socket's descriptor, -1 before there is a keeper; obeys what was told up to this number and is any thread's to do:
 * false if there was nothing. Async-signal-safe. */
int awake_descriptor(void);
bool awake_obey(uint32_t told);
void control_wait_bare(void); /* until the keeper, if there is one, has given up its capabilities */
/* An errno value, 0 if it runs: then `tid` is set. */
int start_thread(const struct sel4py_control *request, int frame_fd, int doorbell_fd, pid_t *tid);
PyObject *cpu_set_thread_entry(PyObject *module, PyObject *callable);

/* channel_module.c, upgrade.c */
extern PyMethodDef channel_methods[];
/* Before a call by the kernel: gives the observer, if there is one, the chance to connect a channel for calls that are
 * made often. False with an exception set if it raised. */
bool upgrade_observe(struct cpu_thread *thread, uint64_t cptr);
PyObject *cpu_set_upgrade(PyObject *module, PyObject *args);
PyObject *cpu_candidate(PyObject *module, PyObject *cptr);
PyObject *cpu_forget_candidate(PyObject *module, PyObject *cptr);

/* begin.c. Wire form of one map: hw.cpu packs it. */
struct begin_map {
    uint64_t address, bytes, rights;
};
int begin_map(const struct begin_map *maps, const int *descriptors, unsigned count); /* closes them */
PyObject *cpu_begin(PyObject *module, PyObject *args);

/* ahead.c */
PyObject *cpu_prepare(PyObject *module, PyObject *none);
PyObject *cpu_await_order(PyObject *module, PyObject *none);

/* module.c: the calling thread as the process's first one; has_process: and its only one, which no other attaches. NULL with
 * errno set; EINVAL if the frame is too short. */
struct cpu_thread *attach_first(int frame_fd, int doorbell_fd, bool has_process);

/* landlock.c */
PyObject *cpu_file_rules(PyObject *module, PyObject *paths);
long landlock_version(void); /* 0: the host has none */
int obey_file_rules(int ruleset);

/* sandbox.c, filter.c */
PyObject *cpu_enter_sandbox(PyObject *module, PyObject *args);
PyObject *cpu_sandbox_layers(PyObject *module, PyObject *none);
PyObject *cpu_hide_memory(PyObject *module, PyObject *none);
int drop_capabilities(void); /* of the calling thread */
int become_bare(void);       /* before there is a second one: all that follow have none */
extern bool process_is_bare;
int open_memory_count(void); /* while files can still be opened */
void limit_memory_later(void); /* by limit_memory_now(), behind the filter, and not with the other limits */
int limit_memory_now(int64_t bytes);
PyObject *cpu_host_call_name(PyObject *module, PyObject *number);

/* control_fd, awake_fd, report_fd: the process's control socket, that of awake.c, and the socket on which the listener of
 * forbidden calls is sent together with `number`; -1 for none. The report's is closed then, and must have a number that no descriptor of the
 * task's can ever have: the filter lets sendmsg() pass for it. loosened: numbers of calls that pass in any form. */
struct filter_wish {
    int control_fd, awake_fd, report_fd;
    uint64_t number;
    const int *loosened;
    unsigned loosened_count;
};
int install_filter(const struct filter_wish *wish);

/* What a test may leave out (hw/layers.py). */
enum layer {
    LAYER_SECCOMP = 1,
    LAYER_LANDLOCK = 2,
    LAYER_NAMESPACES = 4,
    LAYER_LIMITS = 8,
    LAYER_CAPABILITIES = 16,
    LAYER_DUMPABLE = 32,
    LAYER_PID = 64,
    LAYER_CGROUP = 128,
    LAYER_TREE = 256,
};

/* Futexes: the trap frame's word is shared between processes, the others are not. */
int futex_wait_until(uint32_t *word, uint32_t seen, int64_t deadline, bool shared);
void futex_wake_all(uint32_t *word);

static inline struct cpu_thread *thread_ready(void)
{
    struct cpu_thread *thread = cpu_self;
    if (__builtin_expect(thread && !thread->busy && !thread->broken, true))
        return thread;
    thread_not_ready();
    return NULL;
}

static inline uint32_t *frame_word(const struct cpu_thread *thread, unsigned offset)
{
    return (uint32_t *)(void *)(thread->frame + offset);
}

static inline bool as_u64(PyObject *object, uint64_t *value)
{
    *value = PyLong_AsUnsignedLongLong(object);
    return !(*value == UINT64_MAX && PyErr_Occurred());
}

#endif
