/* An access to memory that is not there: SIGSEGV and SIGBUS, and what becomes of them.
 *
 * The kernel maps frames between MAPPING_BASE and MAPPING_END. The thread that touches such memory first waits until the
 * keeper has done what the kernel has told it so far (MAPPINGS_TOLD), then asks the kernel by Syscall.FAULT, whose completion
 * comes when the thread's pager has answered; the instruction is then carried out again. Where a device's registers are, the
 * kernel does the access itself (access.c), and the thread goes on behind the instruction. All else is the process's own bug
 * and ends it by the signal, with a line in its log.
 *
 * Rules. All of this runs in a signal handler, on a stack of its own, and is async-signal-safe: no lock, no allocation, no
 * Python. The GIL is not touched: a thread that holds it keeps it while its pager works. Only a thread whose rings are in step
 * can ask, so nothing may touch managed memory that is not there while `busy` is set, or while an access is being resolved.
 * Where a signal handler of the task's does, it waits for what its keeper may bring, and is then the process's end, told as
 * what it is; a wild pointer in there is told as that, and in which fault's handling it came.
 */
#include "fault.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

/* A frame of the fault, one of a signal that comes meanwhile, and what they call. */
enum { STACK_BYTES = 64 << 10, SIGNAL_FRAMES = 4, LINE_BYTES = 320 };
static int64_t exchange_ns = 3000000000; /* a frame of 1 GiB takes two thirds of that */

_Thread_local struct guard guard_self __attribute__((tls_model("initial-exec")));

static uint32_t mappings_done; /* a futex word: MAP and UNMAP messages that are obeyed */
static uint32_t mappings_awaited; /* how many threads sleep on it */

void fault_set_exchange(int64_t nanoseconds) { __atomic_store_n(&exchange_ns, nanoseconds, __ATOMIC_RELAXED); }

uint32_t fault_mappings_done(void) { return __atomic_load_n(&mappings_done, __ATOMIC_ACQUIRE); }

/* A kernel that is started again may tell a number twice. */
void fault_mapping_done(uint32_t number)
{
    uint32_t done = fault_mappings_done();
    if (!number)
        number = done + 1;
    while ((int32_t)(number - done) > 0 &&
           !__atomic_compare_exchange_n(&mappings_done, &done, number, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE))
        continue;
    if (__atomic_load_n(&mappings_awaited, __ATOMIC_SEQ_CST))
        futex_wake_all(&mappings_done);
}

static int await_mappings(uint32_t done, int64_t deadline)
{
    __atomic_add_fetch(&mappings_awaited, 1, __ATOMIC_SEQ_CST);
    const int result = futex_wait_until(&mappings_done, done, deadline, false);
    __atomic_sub_fetch(&mappings_awaited, 1, __ATOMIC_RELAXED);
    return result;
}

/* --- stacks ----------------------------------------------------------------------------------------------------------- */

static size_t stack_bytes(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (STACK_BYTES + SIGNAL_FRAMES * getauxval(AT_MINSIGSTKSZ) + page - 1) / page * page;
}

static uint8_t *reserved; /* for the process's first thread, which alone takes it */

int fault_stack_reserve(void) { return (reserved = fault_stack_new()) ? 0 : -1; }

/* Counts as the process's private memory, as all stacks do. The lowest page stays empty, to fault. */
uint8_t *fault_stack_new(void)
{
    if (reserved) {
        uint8_t *stack = reserved;
        reserved = NULL;
        return stack;
    }
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = page + stack_bytes();
    uint8_t *stack = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED)
        return NULL;
    if (mprotect(stack, page, PROT_NONE) == 0)
        return stack;
    fault_stack_free(stack);
    return NULL;
}

void fault_stack_free(uint8_t *stack) { munmap(stack, (size_t)sysconf(_SC_PAGESIZE) + stack_bytes()); }

int fault_stack_use(uint8_t *stack)
{
    const stack_t wanted = {
        .ss_sp = stack ? stack + sysconf(_SC_PAGESIZE) : NULL,
        .ss_size = stack ? stack_bytes() : 0,
        .ss_flags = stack ? 0 : SS_DISABLE,
    };
    return sigaltstack(&wanted, NULL);
}

/* --- the end ---------------------------------------------------------------------------------------------------------- */

struct line {
    char text[LINE_BYTES];
    size_t length;
};

static void put(struct line *line, const char *text)
{
    for (; *text && line->length < sizeof line->text; text++)
        line->text[line->length++] = *text;
}

static void put_number(struct line *line, uint64_t number, unsigned base)
{
    char digits[20];
    unsigned count = 0;
    do
        digits[count++] = "0123456789abcdef"[number % base];
    while (number /= base);
    while (count && line->length < sizeof line->text)
        line->text[line->length++] = digits[--count];
}

/* The disposition is nobody's but the signal's from here on: whatever else faults meanwhile ends the process as well. */
static void end_process(int number, const struct access *access, const char *why)
{
    struct line line = {.length = 0};
    put(&line, "sel4py: thread ");
    put_number(&line, (uint64_t)syscall(SYS_gettid), 10);
    put(&line, access->kind & SEL4PY_FAULT_FETCH   ? " ran into address 0x"
               : access->kind & SEL4PY_FAULT_WRITE ? " wrote to address 0x"
                                                   : " read from address 0x");
    put_number(&line, access->address, 16);
    put(&line, ", instruction 0x");
    put_number(&line, access->ip, 16);
    if (access->is_nested) {
        put(&line, ", while its fault at address 0x");
        put_number(&line, access->outer_address, 16);
        put(&line, " was being resolved");
    }
    put(&line, ": ");
    put(&line, why);
    put(&line, number == SIGBUS ? "; the process ends by SIGBUS\n" : "; the process ends by SIGSEGV\n");
    ssize_t written = write(STDERR_FILENO, line.text, line.length);
    (void)written; /* a log that takes nothing */
    signal(number, SIG_DFL);
    syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), number);
}

/* --- asking ----------------------------------------------------------------------------------------------------------- */

/* Waits until what was told before now is done, by this thread or the keeper. False if it was done already. */
static bool wait_for_keeper(const struct cpu_thread *thread)
{
    /* The first thread's frame stays as long as the process. */
    const struct cpu_thread *with_frame = thread ? thread : thread_find(0);
    if (!with_frame || control_descriptor() < 0)
        return false;
    const uint32_t told = __atomic_load_n(frame_word(with_frame, SEL4PY_MAPPINGS_TOLD), __ATOMIC_ACQUIRE);
    for (bool waited = false;; waited = true) {
        uint32_t done = __atomic_load_n(&mappings_done, __ATOMIC_ACQUIRE);
        if ((int32_t)(told - done) <= 0)
            return waited;
        if (!awake_obey(told))
            await_mappings(done, NO_DEADLINE);
    }
}

/* For a thread that cannot ask. Where another holder of a frame loses it, the frame is exchanged: the keeper is told UNMAP,
 * and MAP when the bytes have moved. So what is not there may be about to come, and the access is tried again once after each
 * message; false if none comes for as long as the largest frame may take. */
static bool wait_for_exchange(void)
{
    if (control_descriptor() < 0)
        return false;
    const uint32_t done = __atomic_load_n(&mappings_done, __ATOMIC_ACQUIRE);
    const uint64_t now_tried = (uint64_t)done + 1;
    if (guard_self.tried == now_tried) {
        const int64_t deadline = now_ns() + __atomic_load_n(&exchange_ns, __ATOMIC_RELAXED);
        while (__atomic_load_n(&mappings_done, __ATOMIC_ACQUIRE) == done)
            if (await_mappings(done, deadline) < 0 && errno == ETIMEDOUT)
                return false;
    }
    guard_self.tried = now_tried;
    return true;
}

/* NULL if the thread can ask the kernel. */
static const char *why_not_ask(const struct cpu_thread *thread, const struct access *access)
{
    if (access->is_nested)
        return "the memory is not there, and a thread asks the kernel for one access at a time";
    if (!thread)
        return "the memory is not there, and this thread has no trap frame to ask the kernel by";
    if (thread->busy)
        return "the memory is not there, and this thread is inside a system call, so it cannot ask the kernel";
    if (thread->broken)
        return "the memory is not there, and this thread's rings are broken, so it cannot ask the kernel";
    return NULL;
}

enum answer_of_kernel { GO_ON, NOBODY_RESOLVES, RINGS_BROKEN };

static enum answer_of_kernel ask_kernel(struct cpu_thread *thread, const struct access *access, ucontext_t *context)
{
    struct sel4py_entry entry = {
        .op = SEL4PY_SYSCALL_FAULT,
        .mr = {access->address, access->ip, access->kind, access_wanted(access, context)},
    };
    struct sel4py_completion completion;
    uint64_t tag = ring_submit(thread, &entry, NULL);
    if (!ring_publish(thread))
        return RINGS_BROKEN;
    ring_wait_uninterrupted(thread);
    if (!ring_take(thread, tag, &completion))
        return RINGS_BROKEN;
    switch (completion.mr[0]) {
    case SEL4PY_FAULTANSWER_AGAIN:
        wait_for_keeper(thread); /* what it has asked for is told most often, and is this thread's to lay */
        return GO_ON;
    case SEL4PY_FAULTANSWER_DONE:
        return access_done(access, context, completion.mr[1]) ? GO_ON : RINGS_BROKEN;
    default:
        return NOBODY_RESOLVES;
    }
}

/* An access that can fail. With the GIL held it waits for nobody: its caller tries again without. */
static void resolve_guarded(struct cpu_thread *thread, struct access *access, ucontext_t *context)
{
    guard_self.address = access->address;
    guard_self.is_write = access->kind & SEL4PY_FAULT_WRITE;
    if (guard_self.may_wait) {
        if (wait_for_keeper(thread))
            return;
        access->kind |= SEL4PY_FAULT_GUARDED;
        if (why_not_ask(thread, access) ? wait_for_exchange() : ask_kernel(thread, access, context) == GO_ON)
            return;
    }
    fault_leave_guarded(context);
}

static void resolve(int number, struct cpu_thread *thread, struct access *access, ucontext_t *context)
{
    if (fault_is_guarded(access->ip)) {
        resolve_guarded(thread, access, context);
        return;
    }
    if (wait_for_keeper(thread))
        return;
    const char *why = why_not_ask(thread, access);
    if (!why) {
        enum answer_of_kernel answer = ask_kernel(thread, access, context);
        if (answer == GO_ON)
            return;
        thread->broken |= answer == RINGS_BROKEN;
        why = answer == RINGS_BROKEN ? "the kernel does not keep to libsel4py.abi" : "the kernel gives no memory there";
    } else if (wait_for_exchange()) {
        return;
    }
    end_process(number, access, why);
}

/* --- the handler ------------------------------------------------------------------------------------------------------ */

/* Python's faulthandler, if the task enables it later, comes first: it tells of the fault, puts us back in its place, and
 * raises the signal on the stack that its handler runs on. The instruction is carried out again behind that, and brings us
 * the fault itself. A signal that the task raises by itself comes from elsewhere, and is its end. */
static bool comes_from_faulthandler(const siginfo_t *info, const ucontext_t *context)
{
    return info->si_code == SI_TKILL && info->si_pid == getpid() &&
           fault_stack_pointer(context) - (uintptr_t)context->uc_stack.ss_sp < context->uc_stack.ss_size;
}

static bool is_managed(int number, const siginfo_t *info)
{
    const uint64_t address = (uintptr_t)info->si_addr;
    const bool is_page = number == SIGBUS ? info->si_code == BUS_ADRERR
                                          : info->si_code == SEGV_MAPERR || info->si_code == SEGV_ACCERR;
    return is_page && address >= SEL4PY_MAPPING_BASE && address < SEL4PY_MAPPING_END;
}

static void on_fault(int number, siginfo_t *info, void *interrupted)
{
    const int saved = errno;
    ucontext_t *context = interrupted;
    struct cpu_thread *thread = cpu_self;
    if (comes_from_faulthandler(info, context))
        return;
    struct access access = {.address = info->si_code > 0 ? (uintptr_t)info->si_addr : 0,
                            .is_nested = guard_self.resolving,
                            .outer_address = guard_self.resolving_address};
    fault_read_context(context, &access);
    if (number == SIGSEGV && info->si_code == SEGV_ACCERR)
        access.kind |= SEL4PY_FAULT_PRESENT;
    if (info->si_code <= 0)
        end_process(number, &access, "the signal was sent to it, and no access is to blame");
    else if (number == SIGBUS && channel_page_is_missing(access.address))
        ; /* it reads as zeroes from now on */
    else if (!is_managed(number, info))
        end_process(number, &access, "the process has no such memory there, and none that the kernel maps can be");
    else {
        guard_self.resolving = true;
        guard_self.resolving_address = access.address;
        resolve(number, thread, &access, context);
        guard_self.resolving = access.is_nested;
        guard_self.resolving_address = access.outer_address;
    }
    errno = saved;
}

int fault_install(void)
{
    /* No signal is blocked meanwhile: a thread that waits for its pager can be parked, and a fault in here is told. */
    const struct sigaction action = {
        .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_RESTART | SA_NODEFER | SA_ONSTACK};
    return sigaction(SIGSEGV, &action, NULL) < 0 || sigaction(SIGBUS, &action, NULL) < 0 ? -1 : 0;
}
