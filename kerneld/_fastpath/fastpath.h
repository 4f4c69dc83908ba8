/* What the files of the fast path share: where records' fields lie, and one attempt at a system call. */
#ifndef SEL4PY_FASTPATH_H
#define SEL4PY_FASTPATH_H

#include "abi.h"
#include "api.h"

#define LAYOUT(X)                                                                                                     \
    X(tcb_state) X(tcb_process) X(tcb_sched_context) X(tcb_bound_notification) X(tcb_reply) X(tcb_blocked_on)         \
    X(tcb_run_last) X(tcb_run_first)                                                                                  \
    X(tcb_queue_prev) X(tcb_queue_next) X(tcb_block_word) X(tcb_listener) X(tcb_fault_label) X(tcb_fault_words)       \
    X(tcb_trap) X(tcb_tail) X(tcb_consumed) X(tcb_produced) X(tcb_told) X(tcb_told_area) X(tcb_cspace) X(tcb_buffer)  \
    X(in_trap) X(told_pending) X(takes_memory) X(tcb_vspace) X(tcb_fault_handler) X(space_root) X(space_size_bits) X(space_limited)\
    X(space_count) X(space_free_nodes) X(space_nodes_used) X(space_nodes) X(table_share) X(table_min_bytes)           \
    X(node_slot) X(node_lower) X(node_higher) X(node_mask) X(endpoint_head) X(endpoint_tail) X(notification_state)    \
    X(notification_signals) X(notification_bound_tcb) X(notification_listeners) X(notification_sched_context)         \
    X(reply_tcb) X(reply_prev) X(reply_next_word) X(context_refill_max) X(context_period) X(outbox_length)            \
    X(outbox_entries) X(outbox_deliver) X(outbox_map) X(label_frame_map) X(cap_endpoint) X(cap_notification)          \
    X(cap_reply) X(cap_cnode) X(cap_frame) X(cap_vspace) X(state_running) X(state_receive) X(state_reply)             \
    X(process_live) X(endpoint_receive) X(notification_idle) X(notification_active) X(tcb_size) X(tcb_listen)         \
    X(tcb_channels) X(endpoint_channels) X(channel_client) X(channel_client_prev) X(channel_client_next)              \
    X(channel_target_prev) X(channel_target_next) X(channel_mask) X(slot_prev) X(slot_mdb) X(slot_mask)               \
    X(slot_revocable) X(slot_first_badged) X(slot_watched) X(slot_bound) X(outbox_channel_gone) X(outbox_hint)        \
    X(label_cnode_revoke) X(cap_io_port) X(outbox_device) X(label_io_port_out32) X(doorbells) X(latches)              \
    X(label_io_port_in32) X(cap_irq_handler) X(label_irq_handler_ack) X(irq_states) X(irq_signal) X(irq_pending)      \
    X(irq_slots) X(irq_masked)

/* A write of less than `queues` to this port tells `device`, and does nothing else, while the word at `status` is `live` under
 * `mask`. As hw/devices/device.py has it. */
struct doorbell {
    uint64_t port, queues, device, status, mask, live;
};

/* A read of `read` gives the word, a write to `clear` takes bits out of it, and the line is high while it is not 0. */
struct latch {
    uint64_t read, clear, word, line;
};

struct layout {
#define FIELD(name) uint64_t name;
    LAYOUT(FIELD)
#undef FIELD
    struct doorbell rows[]; /* as many as `doorbells` says; behind them as many latches as `latches` says */
};

#define ONE(name) +1
enum { FIELDS = 0 LAYOUT(ONE), TYPE_SHIFT = 59, RIGHTS_SHIFT = 40 };
#undef ONE
_Static_assert(sizeof(struct layout) == FIELDS * 8, "the layout is a row of words");

enum { LINES = 64 };
static const uint64_t OBJECT_MASK = (1ull << 40) - 1;
extern const struct ram_api *fast_api;

enum outcome { SLOW, DONE, FAILED };

struct burst {
    unsigned taken;
    bool tells_host; /* more than a completion: a Map, a Revoke, a doorbell. Nothing is published then */
};

/* Carries out the thread's next submission if the fast path takes it on: one transaction. submission.c */
enum outcome fast_attempt(RamObject *ram, const struct layout *at, uint64_t tcb);
/* As fast_attempt, and then the signals behind it, each a transaction, at most `limit` submissions in all. One tell stands
 * for all of them: the completions before the last are written to the ring, and are published with it. */
enum outcome fast_burst(RamObject *ram, const struct layout *at, uint64_t tcb, unsigned limit, struct burst *burst);

/* A device has raised a line: interrupts.raise_line, where it may interrupt. */
enum outcome fast_raise(RamObject *ram, const struct layout *at, uint64_t line);

/* Behind a transaction that has severed channels: takes their pages from those who have them. `pages`: by channel, what
 * kerneld/host/channels.py says of them. False with an exception set. withdraw.c */
bool fast_withdraw(RamObject *ram, const struct layout *at, PyObject *pages);

/* Behind a Map: carries out the host's part of it, where it is simple; `handed` says whether. `shared`: of
 * kerneld/host/first_maps.py. False with an exception set. hand.c */
bool fast_hand(RamObject *ram, const struct layout *at, PyObject *shared, bool *handed);

/* Python's arguments; NULL with an exception set. module.c */
RamObject *fast_parse(PyObject *ram, PyObject *bytes, const struct layout **layout);

PyObject *fast_serve(PyObject *module, PyObject *args); /* serve.c */
PyObject *fast_hear(PyObject *module, PyObject *args); /* serve.c */
PyObject *fast_interrupt(PyObject *module, PyObject *const *args, Py_ssize_t count); /* serve.c */
PyObject *fast_delete_copies(PyObject *module, PyObject *const *args, Py_ssize_t count); /* revoke.c */
PyObject *fast_deletions(PyObject *module, PyObject *ram); /* deletions.c */

#endif
