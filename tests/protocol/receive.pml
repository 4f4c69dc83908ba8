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

int posted_word[CHANNELS], state[CHANNELS];
byte sleepers[CHANNELS];  /* how often it was cleared << 1 | SLEEPING */
byte done[CHANNELS];      /* sequence number of the last answer; how its client waits for it is in channel.pml */
byte signals;             /* badges, a bit each */
#define POSTED_NOW(i)  (IS_REQUEST(posted_word[i], state[i]) && posted_word[i] != 0 && state[i] != 0)

/* The trap frame. COMPLETE_PRODUCED and RECEIVE_HINT are kept as how far they are ahead of what the task has seen: what
 * it compares, and what a futex compares for it, is whether they are ahead. */
mtype = { RECV, NB_RECV, CANCEL, DONE, EMPTY, CANCELLED };
chan submit_ring = [2] of { mtype };
chan complete_ring = [2] of { mtype };
byte complete_ahead;
bool hint_ahead, task_waiting;

byte event;               /* process-local: the keeper's */

/* Futexes that the receiver is queued on; any wake dequeues it from all. */
bool on_page[CHANNELS], on_kernel, on_event, woken;

/* The kernel's records. */
byte queued;              /* senders at the endpoint */
bool blocked;             /* the receiver, in RECV */

/* No process decides by these. */
byte in_hand;             /* messages handed to the receiver that it has not dealt with */
byte told;                /* signals that the receiver has taken */
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
    int seen, seen_posted;
    byte i, event_seen, expected[CHANNELS], time_outs = TIME_OUTS;
    bool swapped, posted, timed, forgotten; /* forgotten: the first channel, which is gone */
    bool more = true; /* there may be senders in the kernel that no hint will tell again */
    mtype result = 0, cancel_result = 0;
look:
    atomic {
        if
        :: event != event_seen -> event_seen = event; forgotten = (posted_word[0] == 0)
        :: else
        fi;
        i = 0
    };
    do
    :: i < CALLERS && !(forgotten && i == 0) ->
        seen = state[i];
        atomic {
            seen_posted = posted_word[i];
            if
            :: seen != 0 && seen_posted != 0 && IS_REQUEST(seen_posted, seen) -> goto requested
            :: else -> seen = 0; seen_posted = 0; i++
            fi
        }
    :: atomic { i == 0 && CALLERS > 0 && forgotten -> i++ }
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
    /* announces in the trap frame and looks there, and on every channel and looks there */
#ifdef MUTANT_ANNOUNCE_UNFENCED
    announce_buffered = true;
#else
    task_waiting = true;
#endif
    atomic {
        if
        :: event != event_seen -> goto awake
        :: (posted && READY) || (!posted && hint_ahead) -> goto awake
        :: else -> i = 0
        fi
    };
    do
    :: i < CALLERS && !(forgotten && i == 0) ->
        atomic {
#ifndef MUTANT_UNANNOUNCED
            sleepers[i] = sleepers[i] | SLEEPING;
#endif
            expected[i] = sleepers[i]
        };
#ifndef MUTANT_NO_SECOND_LOOK
        seen = state[i];
        atomic {
            seen_posted = posted_word[i];
            if
            :: seen != 0 && seen_posted != 0 && IS_REQUEST(seen_posted, seen) -> seen = 0; seen_posted = 0; goto awake
            :: else -> seen = 0; seen_posted = 0
            fi
        };
#endif
        i++
    :: atomic { i == 0 && CALLERS > 0 && forgotten -> i++ }
    :: else -> break
    od;
    atomic {
        i = 0;
        sleepers[SIGNALLED] = sleepers[SIGNALLED] | SLEEPING;
        expected[SIGNALLED] = sleepers[SIGNALLED]
    };
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
            :: i == 0 && forgotten
#ifndef MUTANT_SLEEPERS_NOT_COMPARED
            :: !(i == 0 && forgotten) && sleepers[i] != expected[i] -> goto awake
#endif
            :: else -> on_page[i] = true
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
        :: event != event_seen -> goto awake
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
        on_page[0] = false; on_page[CHANNELS - 1] = false; on_page[CHANNELS / 2] = false;
        on_kernel = false; on_event = false; woken = false;
        expected[0] = 0; expected[CHANNELS - 1] = 0; expected[CHANNELS / 2] = 0;
        i = 0; timed = false;
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
#ifdef MUTANT_TAKEN_STORED
        swapped = true;
#else
        swapped = (state[i] == seen);
#endif
        seen = 0;
        if
        :: swapped ->
            swapped = false;
            assert(done[i] != SEQUENCE_OF(seen_posted)); /* nobody has withdrawn it */
            state[i] = STATE_WORD(SEQUENCE_OF(seen_posted), LISTENER, TAKEN);
            HAND()
        :: else -> seen_posted = 0; goto look
        fi
    };
    atomic { done[i] = SEQUENCE_OF(seen_posted); seen_posted = 0; in_hand--; goto look };
signalled:
    if
    :: posted -> retract()
    :: else
    fi;
#ifdef MUTANT_SIGNALS_NOT_EXCHANGED
    seen = signals;
    atomic { told = told | seen; seen = 0; signals = 0; HAND() };
#else
    atomic { assert(signals != 0); told = told | signals; signals = 0; HAND() };
#endif
    atomic { in_hand--; goto look };
from_kernel:
    atomic {
        on_page[0] = false; on_page[CHANNELS - 1] = false; on_page[CHANNELS / 2] = false;
        on_kernel = false; on_event = false; woken = false;
        expected[0] = 0; expected[CHANNELS - 1] = 0; expected[CHANNELS / 2] = 0;
        i = 0; timed = false; seen = 0; seen_posted = 0;
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

/* Whoever has posted, or has signalled. */
inline wake_sleepers(i) {
    if
    :: sleeping ->
#ifdef MUTANT_SLEEPERS_CLEARED_AFTER_WAKE
        atomic { wake(on_page[i]) };
#endif
#ifndef MUTANT_SLEEPERS_LEFT
        atomic { sleepers[i]++ };
#endif
#ifndef MUTANT_SLEEPERS_CLEARED_AFTER_WAKE
        atomic { wake(on_page[i]) };
#endif
        sleeping = false
    :: else
    fi
}

proctype caller(byte me) {
    bool timed, sleeping;
    atomic {
        if
        :: withdrawals > 0 -> withdrawals--; timed = true
        :: true
        fi
    };
#ifdef MUTANT_SLEEPERS_SEEN_BEFORE_POST
    sleeping = sleepers[me] & SLEEPING;
#endif
    atomic {
        if
        :: posted_word[me] == 0 -> goto over
        :: else -> posted_word[me] = POSTED_WORD(1)
        fi
    };
#ifndef MUTANT_SLEEPERS_SEEN_BEFORE_POST
    sleeping = sleepers[me] & SLEEPING;
#endif
    wake_sleepers(me);
    if
    :: atomic { done[me] == 1 || state[me] == 0 -> goto over }
    :: atomic { timed && POSTED_NOW(me) -> state[me] = STATE_WORD(1, 0, IDLE); done[me] = 1 }
    fi;
over:
    skip
}

proctype signaller() {
    byte left = SIGNALS;
    bool sleeping;
    do
    :: left == 0 -> break
    :: left > 0 ->
#ifdef MUTANT_SIGNAL_UNFENCED
        /* the OR becomes visible after the look at SLEEPERS that follows it */
        sleeping = sleepers[SIGNALLED] & SLEEPING;
        signals = signals | (1 << (left - 1));
#else
        signals = signals | (1 << (left - 1));
        sleeping = sleepers[SIGNALLED] & SLEEPING;
#endif
        wake_sleepers(SIGNALLED);
        atomic { left-- }
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
        atomic { posted_word[0] = 0; state[0] = 0; sleepers[0] = 0 };
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
    assert(signals == 0 && told == (1 << SIGNALS) - 1);
    for (i : 0 .. CALLERS - 1) {
        assert(!POSTED_NOW(i));
        assert(STATE_OF(state[i]) != GONE || !on_page[i]) /* the receiver knows that it is gone */
    }
}

init {
    atomic {
        byte i;
        for (i : 0 .. CHANNELS - 1) { posted_word[i] = POSTED_WORD(0); state[i] = STATE_WORD(0, 0, IDLE) };
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
