/* The channels that the kernel has handed to this process, and what becomes of them when it takes them away.
 *
 * Rules. The keeper fills a place, and says when its page is gone; the thread that the channel is for alone uses it, and
 * gives the place back. Pages lie in one reserved piece of the address space, so that whether a fault is a channel's is
 * a comparison, and a page that is gone can be touched for ever: it reads as zeroes.
 */
#include "cpu.h"

#include <errno.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static struct channel table[CHANNEL_PLACES];
static uint8_t *arena; /* CHANNEL_PLACES pages */

struct channel *channel_place(unsigned index) { return &table[index]; }

static uint8_t *page_of(const struct channel *channel) { return arena + (channel - table) * SEL4PY_CHANNEL_BYTES; }

/* Shared and anonymous: it counts against no limit of private memory, and so cannot be refused for that. */
static bool lay_empty_page(uint8_t *page)
{
    return mmap(page, SEL4PY_CHANNEL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
           page;
}

/* A channel's page was truncated: from here on it reads as zeroes, which all sides take for GONE. */
static void on_bus_error(int number, siginfo_t *info, void *Py_UNUSED(context))
{
    int saved = errno;
    uintptr_t first = (uintptr_t)__atomic_load_n(&arena, __ATOMIC_ACQUIRE), address = (uintptr_t)info->si_addr;
    bool ours = first && address - first < (uintptr_t)CHANNEL_PLACES * SEL4PY_CHANNEL_BYTES;
    if (!ours || !lay_empty_page((uint8_t *)(address & ~(uintptr_t)(SEL4PY_CHANNEL_BYTES - 1))))
        signal(number, SIG_DFL); /* the instruction is carried out again, and ends the process as it should */
    errno = saved;
}

static int reserve(void)
{
    const struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART | SA_NODEFER};
    size_t bytes = (size_t)CHANNEL_PLACES * SEL4PY_CHANNEL_BYTES;
    void *pages = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED)
        return errno;
    __atomic_store_n(&arena, pages, __ATOMIC_RELEASE);
    return sigaction(SIGBUS, &action, NULL) < 0 ? errno : 0;
}

static bool is_held(const struct channel *channel)
{
    return __atomic_load_n(&channel->in_use, __ATOMIC_ACQUIRE) == PLACE_HELD;
}

static struct channel *find(uint32_t thread, uint32_t number)
{
    for (unsigned i = 0; i < CHANNEL_PLACES; i++)
        if (is_held(&table[i]) && table[i].thread == thread && table[i].number == number &&
            !__atomic_load_n(&table[i].gone, __ATOMIC_ACQUIRE))
            return &table[i];
    return NULL;
}

struct channel *channel_of_thread(const struct cpu_thread *thread, uint32_t number)
{
    return find(thread->id, number);
}

static unsigned received_by(uint32_t thread)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CHANNEL_PLACES; i++)
        count += is_held(&table[i]) && table[i].thread == thread && channel_is_received(&table[i]);
    return count;
}

/* The thread looks at the table again, at once if it sleeps. */
static void tell(struct cpu_thread *thread)
{
    __atomic_store_n(&thread->told_at, now_ns(), __ATOMIC_RELAXED);
    __atomic_add_fetch(&thread->event, 1, __ATOMIC_SEQ_CST);
    futex_wake_all(&thread->event);
}

void channel_look_again(const struct channel *channel)
{
    struct cpu_thread *thread = thread_find(channel->thread);
    if (thread)
        tell(thread);
}

static int fill(struct channel *channel, const struct sel4py_control *request, int fd)
{
    uint8_t *page = page_of(channel);
    if (mmap(page, SEL4PY_CHANNEL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != page)
        return errno;
    channel->number = (uint32_t)request->words[0];
    channel->role = (uint32_t)request->words[1];
    channel->badge = request->words[2];
    channel->listener = (uint32_t)request->words[3] & SEL4PY_CHANNEL_LISTENER_MAX;
    channel->thread = request->thread;
    channel->page = page;
    channel->sequence = (uint16_t)(__atomic_load_n(channel_posted_word(page), __ATOMIC_RELAXED) >> 16);
    channel->abandoned = false;
    channel->owed = 0;
    channel->spin_ns = INT64_MAX;
    channel->generation++;
    __atomic_store_n(&channel->gone, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&channel->in_use, PLACE_HELD, __ATOMIC_RELEASE);
    return 0;
}

int channel_open(const struct sel4py_control *request, int fd)
{
    struct cpu_thread *thread = thread_find(request->thread);
    int error = arena ? 0 : reserve();
    if (error || !thread)
        return error ? error : ESRCH;
    const struct channel *known = find(request->thread, (uint32_t)request->words[0]);
    if (known && !channel_is_gone(known))
        return 0; /* told again */
    uint64_t role = request->words[1];
    if ((role == SEL4PY_CHANNELROLE_SERVER || role == SEL4PY_CHANNELROLE_WAITER) &&
        received_by(request->thread) >= MOST_RECEIVED)
        return EMFILE;
    for (unsigned i = 0; i < CHANNEL_PLACES; i++) {
        uint32_t unused = PLACE_FREE;
        if (!__atomic_compare_exchange_n(&table[i].in_use, &unused, PLACE_MADE, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_RELAXED))
            continue;
        error = fill(&table[i], request, fd);
        if (error)
            __atomic_store_n(&table[i].in_use, PLACE_FREE, __ATOMIC_RELEASE);
        tell(thread);
        return error;
    }
    return EMFILE;
}

/* An errno value. */
static int close_one(const struct cpu_thread *thread, uint32_t thread_id, uint32_t number)
{
    struct channel *channel = find(thread_id, number);
    if (!channel)
        return ESRCH;
    if (!lay_empty_page(channel->page))
        return errno;
    __atomic_store_n(&channel->gone, 1, __ATOMIC_SEQ_CST);
    if (!thread)
        channel_give_back(channel);
    return 0;
}

int channel_close(const struct sel4py_control *request)
{
    struct cpu_thread *thread = thread_find(request->thread);
    int error = 0;
    for (unsigned i = 0; i < SEL4PY_CONTROL_WORD_COUNT; i++) {
        int one = request->words[i] ? close_one(thread, request->thread, (uint32_t)request->words[i]) : 0;
        error = error ? error : one;
    }
    if (!thread)
        return error;
    /* Whatever became of some of them, the others' ends must be heard of. */
    tell(thread);
    /* One that sleeps on the page that was there: its wait begins anew, and finds another word. */
    pid_t tid = __atomic_load_n(&thread->tid, __ATOMIC_ACQUIRE);
    if (tid && syscall(SYS_tgkill, getpid(), tid, PARK_SIGNAL) < 0)
        return errno;
    return error;
}

int channel_receiver_died(const struct sel4py_control *request)
{
    struct channel *channel = find(request->thread, (uint32_t)request->words[0]);
    if (!channel)
        return ESRCH;
    channel_end_taken(channel->page, (uint32_t)request->words[1]);
    return 0;
}

bool channel_is_gone(const struct channel *channel)
{
    return __atomic_load_n(&channel->gone, __ATOMIC_ACQUIRE) || channel_page_is_gone(channel->page);
}

void channel_give_back(struct channel *channel)
{
    lay_empty_page(channel->page);
    __atomic_store_n(&channel->in_use, PLACE_FREE, __ATOMIC_RELEASE);
}

void channels_of_ended(const struct cpu_thread *thread)
{
    for (unsigned i = 0; i < CHANNEL_PLACES; i++)
        if (is_held(&table[i]) && table[i].thread == thread->id)
            channel_give_back(&table[i]);
}
