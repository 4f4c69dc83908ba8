/* The completion as a TCB's record holds it, and its way into the thread's trap frame: PRODUCER of completions.
 *
 * Writing a completion and publishing it are two things. One that is written and not published is seen by nobody who
 * keeps to the rules, and can be written again; the last index published stands for all before it.
 */
#ifndef SEL4PY_RAM_COMPLETION_H
#define SEL4PY_RAM_COMPLETION_H

#include "abi.h"

#include <stdint.h>
#include <string.h>

/* kerneld/records.py, Tcb.TOLD. */
struct told {
    uint64_t status, badge, info, mr[SEL4PY_MESSAGE_REGISTERS], tag;
    uint64_t message[SEL4PY_MESSAGE_MAX_LENGTH];
    uint64_t caps_or_badges[SEL4PY_MESSAGE_MAX_EXTRA_CAPS];
    uint64_t area; /* message words to copy (those from 4 on) | 1 << 32 if the capability words are to be copied */
};

/* Writes completion number `index`, and its words of the message area. */
static inline void completion_write(uint8_t *frame, const struct told *told, uint32_t index)
{
    uint64_t words = told->area & 0xff;
    if (words > SEL4PY_MESSAGE_REGISTERS && words <= SEL4PY_MESSAGE_MAX_LENGTH)
        memcpy(frame + SEL4PY_IPC_MESSAGE + SEL4PY_MESSAGE_REGISTERS * 8, told->message + SEL4PY_MESSAGE_REGISTERS,
               (words - SEL4PY_MESSAGE_REGISTERS) * 8);
    if (told->area >> 32 & 1)
        memcpy(frame + SEL4PY_IPC_CAPS_OR_BADGES, told->caps_or_badges, sizeof told->caps_or_badges);
    struct sel4py_completion completion = {
        .status = (int32_t)told->status, .badge = told->badge, .info = told->info, .tag = told->tag};
    memcpy(completion.mr, told->mr, sizeof completion.mr);
    memcpy(frame + SEL4PY_COMPLETE_RING + (index % SEL4PY_RING_ENTRIES) * sizeof completion, &completion,
           sizeof completion);
}

/* Publishes all completions before number `produced`; returns whether the thread sleeps and wants to be woken for that.
 * Sequentially consistent, so that the look at TASK_WAITING comes after: no lost wake-up. */
static inline int completion_publish(uint8_t *frame, uint32_t produced)
{
    __atomic_store_n((uint32_t *)(void *)(frame + SEL4PY_COMPLETE_PRODUCED), produced, __ATOMIC_SEQ_CST);
    uint32_t waiting = __atomic_load_n((uint32_t *)(void *)(frame + SEL4PY_TASK_WAITING), __ATOMIC_SEQ_CST);
    /* Otherwise the number to be reached: signed, since numbers go round. */
    return waiting == 1 || (waiting && (int32_t)(produced - waiting) >= 0);
}

/* Counts that something came to be received in the kernel; returns whether the thread may sleep on that word, and is to be
 * woken. Sequentially consistent, as above. */
static inline int hint_count(uint8_t *frame)
{
    __atomic_fetch_add((uint32_t *)(void *)(frame + SEL4PY_RECEIVE_HINT), 1, __ATOMIC_SEQ_CST);
    return __atomic_load_n((uint32_t *)(void *)(frame + SEL4PY_TASK_WAITING), __ATOMIC_SEQ_CST) != 0;
}

#endif
