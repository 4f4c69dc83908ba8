/* The channels that the kernel has handed to this process, and what becomes of them when it takes them away.
 *
 * Rules. The keeper fills a place, and says when its page is gone; the thread that the channel is for alone uses it, and
 * gives the place back. One that the thread has not begun to use the keeper takes back itself: clients that come and go
 * while the thread has other things to do leave nothing behind. A place whose thread ends while another one writes an answer
 * there is not filled before that is done. Pages lie in one reserved piece of the address space, so
 * that whether a fault is a channel's is a comparison, and a page that is gone can be touched for ever: it reads as zeroes.
 */
#include "cpu.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static struct channel table[CHANNEL_PLACES];
static unsigned places; /* how many of them have ever been filled, from the first one on */
static uint8_t *arena;  /* CHANNEL_PLACES pages */

struct channel *channel_place(unsigned index) { return &table[index]; }

unsigned channel_places(void) { return __atomic_load_n(&places, __ATOMIC_ACQUIRE); }

static uint8_t *page_of(const struct channel *channel) { return arena + (channel - table) * SEL4PY_CHANNEL_BYTES; }

/* By place: an empty page lies there, or is about to be laid, since the page that it is for has gone. */
static uint8_t emptied[CHANNEL_PLACES];

/* Pages that are counted as the process's private memory and never touched: one is given up for an empty page, where the
 * process has used up all that it may have. */
enum { SPARES = 64 };
static uint8_t *spare;
static unsigned spares;

static bool map_private_page(uint8_t *page)
{
    return mmap(page, SEL4PY_CHANNEL_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
           page;
}

static bool lay_empty_page(uint8_t *page)
{
    if (map_private_page(page))
        return true;
    unsigned left = __atomic_load_n(&spares, __ATOMIC_ACQUIRE);
    while (left && !__atomic_compare_exchange_n(&spares, &left, left - 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        ;
    if (!left || munmap(spare + (size_t)(left - 1) * SEL4PY_CHANNEL_BYTES, SEL4PY_CHANNEL_BYTES) < 0)
        return false;
    return map_private_page(page);
}

/* For the keeper, when a page has taken the place of an empty one: there is a page to spare again. */
static void spare_again(void)
{
    unsigned left = __atomic_load_n(&spares, __ATOMIC_ACQUIRE);
    if (left < SPARES && map_private_page(spare + (size_t)left * SEL4PY_CHANNEL_BYTES))
        __atomic_compare_exchange_n(&spares, &left, left + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* Said before it is laid: where another thread gives the place back meanwhile, and the keeper fills it anew, that has the
 * last word. */
static bool empty(size_t place)
{
    __atomic_store_n(&emptied[place], 1, __ATOMIC_RELEASE);
    if (lay_empty_page(arena + place * SEL4PY_CHANNEL_BYTES))
        return true;
    __atomic_store_n(&emptied[place], 0, __ATOMIC_RELEASE);
    return false;
}

bool channel_page_is_missing(uint64_t address)
{
    uint64_t first = (uintptr_t)__atomic_load_n(&arena, __ATOMIC_ACQUIRE);
    if (!first || address - first >= (uint64_t)CHANNEL_PLACES * SEL4PY_CHANNEL_BYTES)
        return false;
    const size_t place = (address - first) / SEL4PY_CHANNEL_BYTES;
    /* Who waits for an answer is to hear first that none comes, also on a processor that it shares with who serves. */
    if (table[place].role == SEL4PY_CHANNELROLE_SERVER)
        sched_yield();
    return empty(place);
}

static int reserve(void)
{
    size_t bytes = (size_t)CHANNEL_PLACES * SEL4PY_CHANNEL_BYTES;
    void *pages = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED)
        return errno;
    spare = mmap(NULL, (size_t)SPARES * SEL4PY_CHANNEL_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (spare == MAP_FAILED) {
        int error = errno;
        munmap(pages, bytes);
        return error;
    }
    __atomic_store_n(&spares, SPARES, __ATOMIC_RELEASE);
    __atomic_store_n(&arena, pages, __ATOMIC_RELEASE);
    return 0;
}

static uint32_t look_at(const struct channel *channel) { return __atomic_load_n(&channel->in_use, __ATOMIC_ACQUIRE); }

static uint32_t state_of(uint32_t seen) { return seen % PLACE_STATES; }

static bool is_held(uint32_t seen) { return state_of(seen) == PLACE_HANDED || state_of(seen) == PLACE_USED; }

uint32_t channel_generation(const struct channel *channel) { return look_at(channel) / PLACE_STATES; }

static void set_state(struct channel *channel, enum place state)
{
    const uint32_t before = look_at(channel);
    __atomic_store_n(&channel->in_use, before - state_of(before) + state, __ATOMIC_RELEASE);
}

/* One that was seen to be handed out becomes `next`, whoever of thread and keeper is first. */
static bool claim(struct channel *channel, uint32_t seen, enum place next)
{
    return state_of(seen) == PLACE_HANDED &&
           __atomic_compare_exchange_n(&channel->in_use, &seen, seen - PLACE_HANDED + next, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

bool channel_use(struct channel *channel, uint32_t seen) { return claim(channel, seen, PLACE_USED); }

bool channel_keep(struct channel *channel, uint32_t seen)
{
    return state_of(seen) == PLACE_USED || channel_use(channel, seen);
}

static bool is_of(const struct channel *channel, uint32_t thread, uint32_t *seen)
{
    *seen = look_at(channel);
    return is_held(*seen) && channel->thread == thread;
}

bool channel_is_of(const struct channel *channel, const struct cpu_thread *thread, uint32_t *seen)
{
    return is_of(channel, thread->id, seen);
}

bool channel_answer_begin(struct channel *channel, uint32_t generation)
{
    __atomic_add_fetch(&channel->answering, 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    const uint32_t seen = look_at(channel);
    if (is_held(seen) && seen / PLACE_STATES == generation && __atomic_load_n(&channel->owed, __ATOMIC_ACQUIRE))
        return true;
    channel_answer_end(channel);
    return false;
}

void channel_answer_end(struct channel *channel) { __atomic_sub_fetch(&channel->answering, 1, __ATOMIC_SEQ_CST); }

static struct channel *find(uint32_t thread, uint32_t number, uint32_t *seen)
{
    for (unsigned i = 0; i < channel_places(); i++)
        if (is_of(&table[i], thread, seen) && table[i].number == number &&
            !__atomic_load_n(&table[i].gone, __ATOMIC_ACQUIRE))
            return &table[i];
    return NULL;
}

struct channel *channel_of_thread(const struct cpu_thread *thread, uint32_t number, uint32_t *seen)
{
    return find(thread->id, number, seen);
}

/* Those that are gone do not count: however busy the thread is with other things, there is room for those that come. */
static unsigned received_by(uint32_t thread)
{
    unsigned count = 0;
    uint32_t seen;
    for (unsigned i = 0; i < channel_places(); i++)
        count += is_of(&table[i], thread, &seen) && channel_is_received(&table[i]) &&
                 !__atomic_load_n(&table[i].gone, __ATOMIC_ACQUIRE);
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
    __atomic_store_n(&emptied[channel - table], 0, __ATOMIC_RELEASE);
    if (mmap(page, SEL4PY_CHANNEL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != page)
        return errno;
    spare_again();
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
    channel->ease = (struct ease){0};
    __atomic_store_n(&channel->gone, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&channel->in_use, look_at(channel) - PLACE_KEEPERS + PLACE_FILLED + PLACE_HANDED, __ATOMIC_RELEASE);
    return 0;
}

int channel_open(const struct sel4py_control *request, int fd)
{
    struct cpu_thread *thread = thread_find(request->thread);
    int error = arena ? 0 : reserve();
    uint32_t seen;
    if (error || !thread)
        return error ? error : ESRCH;
    const struct channel *known = find(request->thread, (uint32_t)request->words[0], &seen);
    if (known && !channel_is_gone(known))
        return 0; /* told again */
    uint64_t role = request->words[1];
    if ((role == SEL4PY_CHANNELROLE_SERVER || role == SEL4PY_CHANNELROLE_WAITER) &&
        received_by(request->thread) >= MOST_RECEIVED)
        return EMFILE;
    for (unsigned i = 0; i < CHANNEL_PLACES; i++) {
        if (state_of(look_at(&table[i])) != PLACE_FREE)
            continue; /* and one that is free stays that until it is filled here */
        set_state(&table[i], PLACE_KEEPERS);
        __atomic_thread_fence(__ATOMIC_SEQ_CST); /* who is about to answer sees this, or is seen */
        if (__atomic_load_n(&table[i].answering, __ATOMIC_ACQUIRE)) {
            set_state(&table[i], PLACE_FREE);
            continue;
        }
        if (i >= places)
            __atomic_store_n(&places, i + 1, __ATOMIC_RELEASE);
        error = fill(&table[i], request, fd);
        if (error)
            set_state(&table[i], PLACE_FREE);
        tell(thread);
        return error;
    }
    return EMFILE;
}

/* An errno value. */
static int close_place(const struct cpu_thread *thread, struct channel *channel)
{
    if (!thread || claim(channel, look_at(channel), PLACE_KEEPERS)) {
        channel_give_back(channel);
        return 0;
    }
    if (!empty((size_t)(channel - table)))
        return errno;
    __atomic_store_n(&channel->gone, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static int close_one(const struct cpu_thread *thread, uint32_t thread_id, uint32_t number)
{
    uint32_t seen;
    struct channel *channel = find(thread_id, number, &seen);
    return channel ? close_place(thread, channel) : ESRCH;
}

/* One that sleeps on a page that was there: its wait begins anew, and finds another word. An errno value. */
static int wake_from_pages(struct cpu_thread *thread)
{
    tell(thread);
    pid_t tid = __atomic_load_n(&thread->tid, __ATOMIC_ACQUIRE);
    return tid && syscall(SYS_tgkill, getpid(), tid, PARK_SIGNAL) < 0 ? errno : 0;
}

int channels_look(void)
{
    int error = 0;
    for (unsigned i = 0; i < channel_places(); i++) {
        struct channel *channel = &table[i];
        if (!is_held(look_at(channel)) || __atomic_load_n(&channel->gone, __ATOMIC_ACQUIRE) ||
            !channel_page_is_gone(channel->page))
            continue;
        struct cpu_thread *thread = thread_find(channel->thread);
        int one = close_place(thread, channel);
        if (!one && thread)
            one = wake_from_pages(thread);
        error = one ? one : error;
    }
    return error;
}

int channel_close(const struct sel4py_control *request)
{
    struct cpu_thread *thread = thread_find(request->thread);
    int error = 0;
    for (unsigned i = 0; i < SEL4PY_CONTROL_CLOSED_TOGETHER; i++) {
        const uint32_t number = (uint32_t)(request->words[i / 2] >> (i % 2 * 32));
        int one = number ? close_one(thread, request->thread, number) : 0;
        error = error && error != ESRCH ? error : one ? one : error; /* ESRCH: nothing was there to take away */
    }
    int one = thread ? wake_from_pages(thread) : 0;
    return error ? error : one;
}

int channel_receiver_died(const struct sel4py_control *request)
{
    uint32_t seen;
    struct channel *channel = find(request->thread, (uint32_t)request->words[0], &seen);
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
    /* Who has met with the fault has an empty page there already. */
    if (!__atomic_load_n(&emptied[channel - table], __ATOMIC_ACQUIRE))
        empty((size_t)(channel - table));
    set_state(channel, PLACE_FREE);
}

void channels_of_deaf(const struct cpu_thread *thread)
{
    uint32_t seen;
    for (unsigned i = 0; i < channel_places(); i++) {
        struct channel *channel = &table[i];
        if (!channel_is_of(channel, thread, &seen) || !channel_is_received(channel) || !channel_keep(channel, seen))
            continue;
        if (!__atomic_load_n(&channel->owed, __ATOMIC_ACQUIRE)) {
            channel_give_back(channel);
            continue;
        }
        /* Another thread may be about to answer by it: the place is kept, and the page is not. */
        empty((size_t)(channel - table));
        __atomic_store_n(&channel->gone, 1, __ATOMIC_SEQ_CST);
    }
}

void channels_of_ended(const struct cpu_thread *thread)
{
    uint32_t seen;
    for (unsigned i = 0; i < channel_places(); i++)
        if (channel_is_of(&table[i], thread, &seen) && channel_keep(&table[i], seen))
            channel_give_back(&table[i]);
}
