/* One receiver that waits for its channels, for signals by a shared word, and for the kernel at the same time.
 *
 * One step (atomic) is one access to shared memory, with what the process decides by it on its own. That is sequential
 * consistency; where the protocol needs it between two words (announce, look again), a mutant has a weaker order.
 * A futex compares and queues word by word and is no barrier here. A -DMUTANT_… plants one bug, which Spin must find.
 */
#include "page.pml"

#ifndef CALLERS
#define CALLERS 2 /* channels, each with a client, one call by each */
#endif
#ifndef SENDS
#define SENDS 2 /* messages by the slow path */
#endif
#ifndef SIGNALS
#define SIGNALS 1 /* by the shared word of one more channel, that of a notification */
#endif
#ifndef THEFTS
#define THEFTS 1 /* queued senders that another receiver takes, or that give up */
#endif
#ifndef WITHDRAWALS
#define WITHDRAWALS 1 /* calls that time out before they are taken */
#endif
#ifndef TIME_OUTS
#define TIME_OUTS 1 /* of the receiver, which then receives again */
#endif
#ifndef REVOCATIONS
#define REVOCATIONS 1 /* 0 or 1, of the first channel */
#endif

#define LISTENER      1
#define SIGNALLED     CALLERS /* index of the notification's channel */
#define CHANNELS      (CALLERS + 1)

int state[CHANNELS];
byte done[CHANNELS];      /* sequence number of the last answer; how its client waits for it is in channel.pml */
byte signals;

/* The trap frame. COMPLETE_PRODUCED and RECEIVE_HINT are kept as how far they are ahead of what the task has seen: what
 * it compares, and what a futex compares for it, is whether they are ahead. */
mtype = { RECV, NB_RECV, CANCEL, DONE, EMPTY, CANCELLED };
chan submit_ring = [2] of { mtype };
chan complete_ring = [2] of { mtype };
byte complete_ahead;
bool hint_ahead, task_waiting;

byte event;               /* process-local: the keeper's */

/* Futexes that the receiver is queued on; any wake dequeues it from all. */
bool on_state[CHANNELS], on_kernel, on_event, woken;

/* The kernel's records. */
byte queued;              /* senders at the endpoint */
bool blocked;             /* the receiver, in RECV */

/* No process decides by these. */
byte in_hand;             /* messages handed to the receiver that it has not dealt with */
byte moved;               /* messages of the slow path that arrived or were lost to somebody else */

#ifdef MUTANT_ANNOUNCE_UNFENCED
bool announce_buffered;   /* the store to task_waiting is on its way */
#endif

#define HAND() in_hand++; assert(in_hand == 1) /* never two at once */

inline wake(queue) {
    if
    :: queue -> queue = false; woken = true
    :: else
    fi
}

/* --- the receiver ---------------------------------------------------------------------------------------- */

#define READY (complete_ahead > 0)

inline submit(op) { submit_ring ! op }

inline take(result) {
    atomic { READY -> complete_ring ? result; complete_ahead-- }
}

/* Ends the posted RECV. It may have received before the CANCEL got to it. */
inline retract() {
    submit(CANCEL);
#ifndef MUTANT_RETRACT_NOT_AWAITED
    take(result);
    take(cancel_result);
    atomic {
        posted = false;
        cancel_result = 0;
#ifndef MUTANT_RETRACT_DROPS
        if
        :: result == DONE -> result = 0; goto from_kernel
        :: else -> result = 0
        fi
#endif
    }
#endif
}

proctype receiver() {
    int seen, expected[CHANNELS];
    byte i, seen_event, time_outs = TIME_OUTS;
    bool swapped, posted, timed;
    bool more = true; /* there may be senders in the kernel that no hint will tell again */
    mtype result = 0, cancel_result = 0;
look:
    seen_event = event;
    i = 0;
    do
    :: atomic { i < CALLERS ->
            seen = state[i];
            if
            :: STATE_OF(seen) == REQUEST -> goto requested
            :: else -> seen = 0; i++
            fi
        }
    :: else -> break
    od;
    atomic {
        i = 0;
        if
        :: signals != 0 -> goto signalled
        :: else
        fi
    };
    if
    :: posted && READY -> take(result); atomic { posted = false; result = 0; goto from_kernel }
    :: posted && !READY
    :: !posted && (more || hint_ahead) ->
#ifdef MUTANT_HINT_SEEN_LATE
        submit(NB_RECV);
        take(result);
        hint_ahead = false;
#else
        hint_ahead = false;
        submit(NB_RECV);
        take(result);
#endif
        atomic {
            if
            :: result == DONE -> result = 0; goto from_kernel
            :: result == EMPTY -> result = 0; more = false; goto look
            fi
        }
    :: !posted && !more && !hint_ahead ->
        if
        :: submit(RECV); posted = true /* nothing came for a while */
        :: true
        fi
    fi;
    /* announces on every channel, and in the trap frame */
    i = 0;
    do
    :: i < CHANNELS ->
        atomic {
            seen = state[i];
            if
            :: STATE_OF(seen) == REQUEST -> seen = 0; goto look
            :: STATE_OF(seen) == GONE -> expected[i] = 0; goto announced
            :: else
            fi
        };
        atomic {
            swapped = (state[i] == seen);
            if
            :: swapped ->
                state[i] = seen | WAITERS; expected[i] = seen | WAITERS; swapped = false
            :: else -> seen = 0; goto look
            fi
        };
announced:
        atomic { seen = 0; i++ }
    :: else -> break
    od;
    i = 0;
#ifdef MUTANT_ANNOUNCE_UNFENCED
    announce_buffered = true;
#else
    task_waiting = true;
#endif
#ifndef MUTANT_NO_LOOK_AT_SIGNALS
    atomic {
        if
        :: signals != 0 -> goto awake
        :: else
        fi
    };
#endif
    atomic {
        woken = false;
        if
        :: time_outs > 0 -> time_outs--; timed = true
        :: true
        fi
    };
    /* futex_waitv: compares and queues word by word; a channel that is gone is not among them */
    do
    :: atomic { i < CHANNELS ->
            if
            :: expected[i] == 0
            :: expected[i] != 0 && state[i] != expected[i] -> goto awake
            :: else -> on_state[i] = true
            fi;
            i++
        }
    :: else -> break
    od;
    atomic {
        if
        :: posted && READY -> goto awake
#ifndef MUTANT_HINT_NOT_COMPARED
        :: !posted && hint_ahead -> goto awake
#endif
        :: else -> on_kernel = true
        fi
    };
    atomic {
        if
        :: event != seen_event -> goto awake
        :: else -> on_event = true
        fi
    };
end_asleep:
    if
    :: woken
    :: atomic { timed ->
            if
            :: posted
            :: else -> goto awake
            fi
        };
        retract()
    fi;
awake:
    atomic {
        on_state[0] = false; on_state[CHANNELS - 1] = false; on_state[CHANNELS / 2] = false;
        on_kernel = false; on_event = false; woken = false;
        expected[0] = 0; expected[CHANNELS - 1] = 0; expected[CHANNELS / 2] = 0;
        i = 0; seen_event = 0; timed = false;
#ifdef MUTANT_ANNOUNCE_UNFENCED
        announce_buffered = false;
#endif
        task_waiting = false;
        goto look
    };
requested:
    if
    :: posted ->
#ifdef MUTANT_NOT_RETRACTED
        skip
#else
        retract()
#endif
    :: else
    fi;
    atomic {
        swapped = (state[i] == seen);
        if
        :: swapped ->
            swapped = false;
            state[i] = STATE_WORD(SEQUENCE_OF(seen), LISTENER, TAKEN);
            HAND()
        :: else -> seen = 0; goto look
        fi
    };
    atomic { done[i] = SEQUENCE_OF(seen); seen = 0; in_hand--; goto look };
signalled:
    if
    :: posted -> retract()
    :: else
    fi;
    atomic { assert(signals != 0); signals = 0; HAND() };
    atomic { in_hand--; goto look };
from_kernel:
    atomic {
        on_state[0] = false; on_state[CHANNELS - 1] = false; on_state[CHANNELS / 2] = false;
        on_kernel = false; on_event = false; woken = false;
        expected[0] = 0; expected[CHANNELS - 1] = 0; expected[CHANNELS / 2] = 0;
        i = 0; seen_event = 0; timed = false; seen = 0;
        task_waiting = false;
        moved++;
        in_hand--;
#ifndef MUTANT_ONE_HINT_ONE_RECEIVE
        more = true;
#else
        more = false;
#endif
        goto look
    }
}

/* --- a client, and one who signals ------------------------------------------------------------------------ */

byte withdrawals = WITHDRAWALS;

proctype caller(byte me) {
    int old;
    bool timed;
    atomic {
        if
        :: withdrawals > 0 -> withdrawals--; timed = true
        :: true
        fi
    };
    atomic {
        if
        :: state[me] == 0 -> goto over
        :: else -> old = state[me]; state[me] = STATE_WORD(1, 0, REQUEST)
        fi
    };
    atomic {
        if
        :: old & WAITERS -> wake(on_state[me])
        :: else
        fi;
        old = 0
    };
    if
    :: atomic { done[me] == 1 || state[me] == 0 -> goto over }
    :: atomic { timed && state[me] == STATE_WORD(1, 0, REQUEST) -> state[me] = STATE_WORD(1, 0, IDLE) }
    fi;
over:
    skip
}

proctype signaller() {
    byte left = SIGNALS;
    int seen;
    do
    :: left == 0 -> break
    :: left > 0 ->
#ifdef MUTANT_SIGNAL_UNFENCED
        /* the OR becomes visible after the look at the state that follows it */
        seen = state[SIGNALLED];
        signals = 1;
#else
        signals = 1;
        seen = state[SIGNALLED];
#endif
        if
        :: seen & WAITERS ->
#ifndef MUTANT_SIGNAL_LEAVES_WORD
            state[SIGNALLED] = state[SIGNALLED] & ~WAITERS; /* a sleeper's compare must fail */
#endif
            atomic { wake(on_state[SIGNALLED]) }
        :: else
        fi;
        atomic { seen = 0; left-- }
    od
}

/* --- the kernel ------------------------------------------------------------------------------------------- */

/* Tells after the transaction: the completion, the index, then a look at whether the task sleeps. */
inline publish(result) {
    complete_ring ! result;
#ifdef MUTANT_COMPLETION_UNFENCED
    waiting = task_waiting;
    complete_ahead++;
#else
    complete_ahead++;
    waiting = task_waiting;
#endif
    atomic {
        if
        :: waiting -> wake(on_kernel)
        :: else
        fi;
        waiting = false
    }
}

inline hint() {
#ifdef MUTANT_HINT_UNFENCED
    waiting = task_waiting;
    hint_ahead = true;
#else
    hint_ahead = true;
    waiting = task_waiting;
#endif
    atomic {
        if
        :: waiting -> wake(on_kernel)
        :: else
        fi;
        waiting = false
    }
}

proctype kernel() {
    byte sends = SENDS, thefts = THEFTS;
    mtype op = 0;
    bool waiting;
end:
    do
    :: atomic { sends > 0 && blocked -> sends--; blocked = false; HAND() }; publish(DONE)
    :: atomic { sends > 0 && !blocked -> sends--; queued++ };
#ifndef MUTANT_NO_HINT
        hint()
#else
        skip
#endif
    :: atomic { queued > 0 && thefts > 0 -> thefts--; queued--; moved++ } /* another listener, or the sender gave up */
    :: thefts > 0 -> thefts = 0 /* or not: what may happen must not be what helps */
    :: atomic { submit_ring ? op ->
            if
            :: op == CANCEL && blocked -> blocked = false; op = CANCELLED
            :: op == CANCEL && !blocked -> op = 0; goto cancelled /* the call before it is over */
            :: op != CANCEL && queued > 0 -> queued--; HAND(); op = DONE
            :: op == NB_RECV && queued == 0 -> op = EMPTY
            :: op == RECV && queued == 0 -> op = 0; blocked = true; goto end
            fi
        };
        if
        :: op == CANCELLED -> op = 0; publish(CANCELLED); goto cancelled
        :: op == DONE -> op = 0; publish(DONE)
        :: op == EMPTY -> op = 0; publish(EMPTY)
        fi;
        goto end;
cancelled:
        publish(DONE)
    od
}

/* A channel is revoked: the page reads as zeroes, then the keeper adds to the event word and wakes it. */
proctype revoker() {
    if
    :: REVOCATIONS ->
        state[0] = 0;
#ifndef MUTANT_CLOSED_UNTOLD
        event = 1;
        atomic { wake(on_event) }
#endif
    :: true
    fi
}

#ifdef MUTANT_ANNOUNCE_UNFENCED
proctype store_buffer() {
end:
    do
    :: atomic { announce_buffered -> announce_buffered = false; task_waiting = true }
    od
}
#endif

/* When nothing moves any more, nothing waits to be received. */
proctype quiet() {
    byte i;
    timeout ->
    assert(queued == 0 && moved == SENDS && in_hand == 0);
    assert(signals == 0);
    for (i : 0 .. CALLERS - 1) {
        assert(STATE_OF(state[i]) != REQUEST);
        assert(STATE_OF(state[i]) != GONE || !on_state[i]) /* the receiver knows that it is gone */
    }
}

init {
    atomic {
        byte i;
        for (i : 0 .. CHANNELS - 1) { state[i] = STATE_WORD(0, 0, IDLE) };
        for (i : 0 .. CALLERS - 1) { run caller(i) };
        if :: SIGNALS > 0 -> run signaller() :: else fi;
        run receiver();
        run kernel();
        run revoker();
#ifdef MUTANT_ANNOUNCE_UNFENCED
        run store_buffer();
#endif
        run quiet()
    }
}
