/* One attempt at a system call: what is looked at, and the loads and stores that it does.
 *
 * Records are found by a table of offsets that kerneld/fastpath.py makes from kerneld/records.py. Words of records are taken
 * as they are found: a load outside of RAM yields 0 and makes the attempt fail. All stores go through the undo log.
 */
#ifndef SEL4PY_FASTPATH_ATTEMPT_H
#define SEL4PY_FASTPATH_ATTEMPT_H

#include "fastpath.h"
#include "logged.h"

#include <string.h>

enum { WRITE = 1, READ = 2, GRANT = 4, GRANT_REPLY = 8 };
enum { SLOT_BYTES = 32 };

struct slot {
    uint64_t word0, word1;
    uint64_t address; /* where it lies */
};

struct attempt {
    RamObject *ram;
    const struct layout *at;
    uint64_t tcb, frame;
    uint32_t consumed, produced; /* submissions taken, and those that there are */
    struct sel4py_entry entry;   /* copied once */
    uint64_t tail[8];            /* zeros where the entry has none */
    struct slot cap;             /* the invoked capability */
    uint64_t told;               /* tells in the outbox before the completion's */
    bool tells_host;             /* the outbox has more than a completion, or one that waits */
    bool took_memory;            /* the completion is told when what was taken from processes is gone */
    bool outside;                /* a record was said to lie outside of RAM: the slow path will tell */
    bool told_itself;            /* the thread's own system call was completed, and nothing else is told */
    bool follows;                /* another of the same burst, whose tell is in the outbox */
};

_Static_assert(sizeof(struct sel4py_tail) == 64, "a tail is eight words");

static inline uint64_t load(struct attempt *a, uint64_t address)
{
    if ((address & 7) || address > a->ram->size - 8) {
        a->outside = true;
        return 0;
    }
    return *(volatile uint64_t *)(void *)(a->ram->base + address);
}

static inline struct slot load_slot(struct attempt *a, uint64_t address)
{
    return (struct slot){load(a, address), load(a, address + 8), address};
}

static inline uint64_t type_of(struct slot slot) { return slot.word0 >> TYPE_SHIFT; }

static inline uint64_t rights_of(struct slot slot) { return slot.word0 >> RIGHTS_SHIFT; }

static inline uint64_t object_of(struct slot slot) { return slot.word0 & OBJECT_MASK; }

/* The log was empty and holds thousands of entries, so a store fails only where a test interrupts. */
static inline bool store(struct attempt *a, uint64_t address, uint64_t value)
{
    return ram_store_inline(a->ram, address, value, fast_api->store) == 0;
}

#define STORE(address, value)                                                                                         \
    do {                                                                                                              \
        if (!store(a, address, value))                                                                                \
            return false;                                                                                             \
    } while (0)

/* Words of a record that mostly hold these values already. */
static inline bool store_words(struct attempt *a, uint64_t address, const uint64_t *words, unsigned count)
{
    if (address <= a->ram->size - 8 * count && !memcmp(a->ram->base + address, words, 8 * count))
        return true;
    for (unsigned i = 0; i < count; i++)
        STORE(address + 8 * i, words[i]);
    return true;
}

/* Opens the transaction, runs the stores, commits; rolls back nothing itself: a failed store is an interruption. */
#define PERFORM(perform)                                                                                               \
    do {                                                                                                              \
        a->ram->open = true;                                                                                          \
        a->ram->stores = 0;                                                                                           \
        if (!(perform))                                                                                               \
            return FAILED;                                                                                            \
        a->ram->open = false;                                                                                         \
        a->ram->log->committed++;                                                                                     \
        __atomic_store_n(&a->ram->log->length, 0, __ATOMIC_RELEASE);                                                  \
        return DONE;                                                                                                  \
    } while (0)

/* saved.c: the thread's saved system call, and its end. */
bool save_trap(struct attempt *a);
bool complete(struct attempt *a, uint64_t tcb, uint64_t badge, uint64_t info, const uint64_t *mr, unsigned words);
/* completion.complete_unchanged: info and registers stay as the thread has submitted them. */
bool complete_unchanged(struct attempt *a, uint64_t tcb, uint64_t status, uint64_t badge);

/* submission.c. `resolve`: all of these low bits, below a CNode capability. `look_up`: an address of the thread's. */
bool resolve(struct attempt *a, struct slot slot, uint64_t cptr, unsigned bits, struct slot *found);
bool look_up(struct attempt *a, uint64_t cptr, struct slot *found);

/* deletions.c */
void deletions_add(const RamObject *ram, uint64_t thread, struct slot slot);

/* call.c. Whether a thread that is made runnable runs at once, on time of its own that is held to no budget, in a live process, and
 * is told at once that its system call has ended: it has taken no memory from processes. */
bool runs(struct attempt *a, uint64_t tcb);
/* queues.remove, of an endpoint's queue: the thread waits there no more. */
bool leave_queue(struct attempt *a, uint64_t endpoint, uint64_t tcb);
/* A call's way: who waits for it at the endpoint, and by which reply object it will be answered (false where it is
 * not the fast path's matter); the trap is saved; the message goes there, and the caller waits. */
bool find_receiver(struct attempt *a, struct slot cap, uint64_t *receiver, uint64_t *reply);
bool enter(struct attempt *a);
bool deliver_call(struct attempt *a, struct slot cap, uint64_t receiver, uint64_t reply, uint64_t info,
                  const uint64_t *mr);

/* receive.c. Whether the thread's blocking receive gives nothing back to its bound notification, and finds no signal there. */
bool takes_no_signal(struct attempt *a);

/* call.c, receive.c, signal.c, fault.c, map.c, revoke.c, port.c */
enum outcome try_call(struct attempt *a);
enum outcome try_reply_recv(struct attempt *a);
enum outcome try_receive(struct attempt *a);
enum outcome try_signal(struct attempt *a);
enum outcome try_fault(struct attempt *a);
enum outcome try_map(struct attempt *a);
enum outcome try_revoke(struct attempt *a);
enum outcome try_port(struct attempt *a);
enum outcome try_irq(struct attempt *a);

#endif
