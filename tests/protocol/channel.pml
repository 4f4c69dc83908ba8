/* One channel: a client that calls, servers that race for the request, death and revocation at any step.
 *
 * One step (atomic) is one access to shared memory, with what the process decides by it on its own. A process may die
 * before each of its stores and while it sleeps: to die before a look is to die before the store that follows it.
 * The page may be taken away between any two steps, from one process sooner than from another (`gone`): then it reads
 * as zeroes there, and what is stored is lost. A -DMUTANT_… plants one bug, which Spin must find.
 */
#include "page.pml"

#ifndef CALLS
#define CALLS 2 /* by the client, one after the other */
#endif
#ifndef FATES
#define FATES 2 /* deaths, ends of listening and revocations in one run, at most */
#endif

#ifndef RIVAL
#define RIVAL 1 /* whether a second server listens */
#endif
#ifndef SUCCESSION
#define SUCCESSION 1 /* whether another listens after the first has met its fate */
#endif
#ifndef TOLD_TWICE
#define TOLD_TWICE 1 /* whether the kernel may tell a death twice */
#endif
#ifndef SEQUENCES
#define SEQUENCES 4 /* more than calls: no number comes twice */
#endif
#ifndef PROMPT
#define PROMPT 0 /* whether a server looks and takes in one step, as it must where numbers come round after a few calls */
#endif
#if PROMPT
#define BEGIN_PROMPT atomic {
#define END_PROMPT }
#else
#define BEGIN_PROMPT
#define END_PROMPT
#endif
#if RIVAL == 0 && SUCCESSION == 0
#error "no server would be left"
#endif

/* Processes. A server's is its listener number. */
#define CLIENT     1
#define FIRST      2
#define SECOND     3
#define SUCCESSOR  4
#define COUNT      5

int posted = POSTED_WORD(0), state = STATE_WORD(0, 0, IDLE), done = DONE_WORD(0);
byte sleepers; /* how often it was cleared << 1 | SLEEPING */
byte request_payload, reply_payload; /* the call's number; REPLY_DIED stands for the status SERVER_DIED */
#define REPLY_DIED 255
bool gone[COUNT];
#define LOOK(process, place) (gone[process] -> 0 : place)

/* Futexes. A sleeper is found through the page that it went to sleep on, so a process that lost it wakes nobody. */
bool on_page[COUNT], on_event[COUNT], woken[COUNT];
byte event[COUNT]; /* a server's process-local word, written by its keeper */
bool on_done, done_woken;

byte fates = FATES;
bool killed[COUNT], stopped[COUNT], told[COUNT], over[COUNT], severed, succeeded;
chan receiver_died = [4] of { byte };

/* What happened to the open call; no process decides by these. */
byte open_call, taken_by;
bool served, withdrawn;

#define STORE(process, place, value) if :: gone[process] :: else -> place = value fi
#define EXCHANGE(process, old, place, value) old = LOOK(process, place); STORE(process, place, value)
#define SWAP_IF(process, swapped, place, seen, value) \
    swapped = (LOOK(process, place) == seen); \
    if :: swapped -> STORE(process, place, value) :: else fi

/* Each of its steps that others can see begins with this. A dead process is in no futex queue. What a server still does
 * to a page that it lost nobody sees. */
#define MAY_DIE(process, mortal) \
    if \
    :: process != CLIENT && gone[process] -> goto dead \
    :: !(process != CLIENT && gone[process]) \
    :: mortal && fates > 0 -> fates--; killed[process] = true; goto dead \
    fi
/* The first of two equal servers to meet a fate is called FIRST, and SUCCESSOR lives. */
#define MORTAL(listener) (listener == FIRST || (SUCCESSION && listener == SECOND && (killed[FIRST] || stopped[FIRST])))

inline wake_one_server(listener) {
    if
    :: on_page[listener] -> on_page[listener] = false; woken[listener] = true
    :: else
    fi
}

inline wake_servers(process) {
    if
    :: gone[process]
#ifdef MUTANT_WAKE_ONE
    :: !gone[process] && on_page[FIRST] -> wake_one_server(FIRST)
    :: !gone[process] && !on_page[FIRST] -> wake_one_server(SECOND); wake_one_server(SUCCESSOR)
#else
    :: else -> wake_one_server(FIRST); wake_one_server(SECOND); wake_one_server(SUCCESSOR)
#endif
    fi
}

inline wake_client(process) {
    if
    :: !gone[process] && on_done -> on_done = false; done_woken = true
    :: else
    fi
}

inline wake_by_event(listener) {
    event[listener]++;
    if
    :: on_event[listener] -> on_event[listener] = false; woken[listener] = true
    :: else
    fi
}

/* --- the client ------------------------------------------------------------------------------------------ */

/* How a call returned. BY_KERNEL: nothing was posted. */
mtype = { PENDING, ANSWERED, WITHDRAWN, ABANDONED, SERVER_DIED, CHANNEL_GONE, BY_KERNEL };

proctype client() {
    byte call = 1, sequence, next, reply;
    int old, seen;
    bool swapped, timed, unanswered, lost, sleeping;
    mtype outcome = PENDING;
    do
    :: call > CALLS -> break
    :: else ->
        atomic {
            if :: timed = true :: timed = false fi;
            next = (sequence + 1) % SEQUENCES;
            if
            :: lost -> outcome = BY_KERNEL; goto returned
            :: else
            fi;
#ifndef MUTANT_ABANDONED_REUSED
            if
            :: unanswered ->
                seen = LOOK(CLIENT, done);
                if
                :: seen != 0 && SEQUENCE_OF(seen) != sequence -> outcome = BY_KERNEL; goto returned
                :: else -> unanswered = false
                fi
            :: else
            fi;
#endif
            seen = 0
        };
        atomic { MAY_DIE(CLIENT, true); STORE(CLIENT, request_payload, call) };
#ifdef MUTANT_SLEEPERS_SEEN_BEFORE_POST
        atomic { sleeping = LOOK(CLIENT, sleepers) & SLEEPING };
#endif
        atomic {
            MAY_DIE(CLIENT, true);
            EXCHANGE(CLIENT, old, posted, POSTED_WORD(next));
            if
            :: old == GONE -> outcome = BY_KERNEL; lost = true; goto returned
            :: else
            fi;
            old = 0; open_call = call; taken_by = 0; served = false; withdrawn = false
        };
#ifndef MUTANT_SLEEPERS_SEEN_BEFORE_POST
        atomic { sleeping = LOOK(CLIENT, sleepers) & SLEEPING };
#endif
        if
        :: atomic { !sleeping -> goto look }
        :: atomic { sleeping -> sleeping = false }
        fi;
#ifdef MUTANT_SLEEPERS_CLEARED_AFTER_WAKE
        atomic { MAY_DIE(CLIENT, true); wake_servers(CLIENT) };
#endif
#ifdef MUTANT_SLEEPERS_NOT_COUNTED
        atomic { MAY_DIE(CLIENT, true); STORE(CLIENT, sleepers, 0) };
#else
        atomic { MAY_DIE(CLIENT, true); STORE(CLIENT, sleepers, sleepers + 1) };
#endif
#ifndef MUTANT_SLEEPERS_CLEARED_AFTER_WAKE
        atomic { MAY_DIE(CLIENT, true); wake_servers(CLIENT) };
#endif
look:
        atomic {
            old = 0;
            seen = LOOK(CLIENT, done);
            if
            :: seen == 0 -> outcome = CHANNEL_GONE; lost = true; goto returned
            :: seen != 0 && SEQUENCE_OF(seen) == next -> goto answered
            :: else
            fi
        };
        atomic {
            MAY_DIE(CLIENT, true);
#ifdef MUTANT_WAITER_STORED
            STORE(CLIENT, done, seen | WAITER)
#else
            SWAP_IF(CLIENT, swapped, done, seen, seen | WAITER);
            if
            :: !swapped -> goto look
            :: else
            fi
#endif
        };
        /* futex wait: compares and queues in one step */
        atomic { done_woken = (LOOK(CLIENT, done) != (seen | WAITER)); on_done = !done_woken };
        if
        :: atomic { done_woken -> done_woken = false; goto look }
        :: atomic { timed -> on_done = false; done_woken = false }
        :: atomic { fates > 0 -> on_done = false; done_woken = false; fates--; killed[CLIENT] = true; goto dead }
        fi;
        /* timed out */
#ifdef MUTANT_WITHDRAWN_DONE_FIRST
        atomic { MAY_DIE(CLIENT, true); STORE(CLIENT, done, DONE_WORD(next)) };
#endif
withdraw:
        atomic {
            seen = LOOK(CLIENT, state);
            if
            :: seen == 0 || SEQUENCE_OF(seen) == next -> seen = 0; goto taken
            :: else
            fi
        };
        atomic {
            MAY_DIE(CLIENT, true);
#ifdef MUTANT_WITHDRAWN_BY_STORE
            swapped = true;
            STORE(CLIENT, state, STATE_WORD(next, 0, IDLE));
#else
            SWAP_IF(CLIENT, swapped, state, seen, STATE_WORD(next, 0, IDLE));
#endif
            seen = 0;
            if
            :: swapped -> swapped = false; withdrawn = true; assert(!served)
            :: else -> goto withdraw
            fi
        };
#if !defined(MUTANT_WITHDRAWN_DONE_LEFT) && !defined(MUTANT_WITHDRAWN_DONE_FIRST)
        atomic { MAY_DIE(CLIENT, true); STORE(CLIENT, done, DONE_WORD(next)) };
#endif
        atomic {
            outcome = WITHDRAWN;
#ifndef MUTANT_WITHDRAWN_USED_AGAIN
            sequence = next;
#endif
            goto returned
        };
taken:
        atomic {
            seen = LOOK(CLIENT, done);
            if
            :: seen == 0 -> outcome = CHANNEL_GONE; lost = true
            :: seen != 0 && SEQUENCE_OF(seen) == next -> goto answered
            :: else -> outcome = ABANDONED; unanswered = true; sequence = next
            fi;
            goto returned
        };
answered:
        reply = LOOK(CLIENT, reply_payload);
        atomic {
            sequence = next;
#ifndef MUTANT_REPLY_UNCHECKED
            seen = LOOK(CLIENT, done); /* the page may have gone before the copy was whole */
#endif
            if
            :: seen == 0 -> outcome = CHANNEL_GONE; lost = true
            :: seen != 0 && reply == REPLY_DIED ->
                outcome = SERVER_DIED;
                assert(taken_by != 0 && (killed[taken_by] || stopped[taken_by]))
            :: else ->
                outcome = ANSWERED;
                assert(reply == call && served) /* it ran, and this is its answer */
            fi
        };
returned:
        atomic {
            assert(outcome != PENDING);
            assert(outcome != CHANNEL_GONE || severed);
            outcome = PENDING; old = 0; seen = 0; swapped = false; reply = 0;
            call++
        }
    od;
dead:
    atomic {
        over[CLIENT] = true;
        call = 0; sequence = 0; next = 0; old = 0; seen = 0; swapped = false; timed = false; unanswered = false; lost = false;
        sleeping = false
    }
}

/* --- a server -------------------------------------------------------------------------------------------- */

proctype server(byte me) {
    int seen, seen_posted, old;
    byte event_seen, payload;
    bool swapped;
look:
    /* It looks whether its channels are there when its keeper has told it to. */
    atomic {
        if
        :: event[me] != event_seen && gone[me] -> goto dead
        :: else -> event_seen = event[me]
        fi
    };
    BEGIN_PROMPT
#ifdef MUTANT_POSTED_SEEN_FIRST
    seen_posted = LOOK(me, posted);
    seen = LOOK(me, state);
#else
    seen = LOOK(me, state);
    seen_posted = LOOK(me, posted);
#endif
    if
    :: atomic { seen_posted == 0 || seen == 0 || !IS_REQUEST(seen_posted, seen) -> seen = 0; seen_posted = 0; goto announce }
    :: atomic { seen_posted != 0 && seen != 0 && IS_REQUEST(seen_posted, seen) }
    fi;
    atomic {
        MAY_DIE(me, MORTAL(me));
#ifdef MUTANT_TAKEN_STORED
        swapped = true;
        STORE(me, state, STATE_WORD(SEQUENCE_OF(seen_posted), me, TAKEN));
#endif
#ifdef MUTANT_TAKEN_WITHOUT_SEQUENCE
        SWAP_IF(me, swapped, state, seen, STATE_WORD(SEQUENCE_OF(seen), me, TAKEN));
#endif
#if !defined(MUTANT_TAKEN_STORED) && !defined(MUTANT_TAKEN_WITHOUT_SEQUENCE)
        SWAP_IF(me, swapped, state, seen, STATE_WORD(SEQUENCE_OF(seen_posted), me, TAKEN));
#endif
        if
        :: !swapped -> seen = 0; seen_posted = 0; goto announce
        :: else -> swapped = false; taken_by = me; seen = 0
        fi
    };
    END_PROMPT
    goto taken;
announce:
    atomic {
        MAY_DIE(me, MORTAL(me));
#ifdef MUTANT_UNANNOUNCED
        old = LOOK(me, sleepers)
#else
        old = LOOK(me, sleepers) | SLEEPING;
        STORE(me, sleepers, old)
#endif
    };
#ifndef MUTANT_NO_SECOND_LOOK
    seen = LOOK(me, state);
    atomic {
        seen_posted = LOOK(me, posted);
        if
        :: seen_posted != 0 && seen != 0 && IS_REQUEST(seen_posted, seen) -> seen = 0; seen_posted = 0; old = 0; goto look
        :: else -> seen = 0
        fi
    };
#endif
    /* futex_waitv: compares and queues word by word. On a page that was lost the word may be what it announced there. */
    atomic {
        if
        :: gone[me] -> if :: woken[me] = true :: woken[me] = false fi
        :: else ->
#ifdef MUTANT_SLEPT_ON_POSTED
            woken[me] = (posted != seen_posted);
#else
            woken[me] = (sleepers != old);
#endif
            on_page[me] = !woken[me]
        fi;
        seen_posted = 0; old = 0
    };
    atomic {
        if
        :: !woken[me] && event[me] != event_seen -> woken[me] = true
        :: !woken[me] && event[me] == event_seen -> on_event[me] = true
        :: else
        fi
    };
end_asleep:
    if
    :: atomic { woken[me] -> woken[me] = false; on_page[me] = false; on_event[me] = false; goto look }
    :: atomic { MORTAL(me) && fates > 0 ->
            fates--; killed[me] = true; woken[me] = false; on_page[me] = false; on_event[me] = false; goto dead
        }
    fi;
taken:
    payload = LOOK(me, request_payload);
    atomic {
#ifndef MUTANT_REQUEST_UNCHECKED
        if
        :: LOOK(me, posted) == GONE -> goto dead /* the page may have gone before the copy was whole */
        :: else
        fi;
#endif
        assert(payload == open_call && !served && !withdrawn);
        served = true
    };
#ifdef MUTANT_DONE_FIRST
    atomic { EXCHANGE(me, old, done, DONE_WORD(SEQUENCE_OF(seen_posted))) };
#endif
    atomic { MAY_DIE(me, MORTAL(me)); STORE(me, reply_payload, payload); payload = 0 };
#ifdef MUTANT_DONE_STORED
    atomic { old = LOOK(me, done) };
    atomic { STORE(me, done, DONE_WORD(SEQUENCE_OF(seen_posted))) };
#endif
#if !defined(MUTANT_DONE_FIRST) && !defined(MUTANT_DONE_STORED)
    atomic { MAY_DIE(me, MORTAL(me)); EXCHANGE(me, old, done, DONE_WORD(SEQUENCE_OF(seen_posted))) };
#endif
    atomic {
        seen_posted = 0;
        if
        :: old & WAITER -> MAY_DIE(me, MORTAL(me)); wake_client(me); old = 0
        :: else -> old = 0
        fi;
        goto look
    };
dead:
    atomic { over[me] = true; seen = 0; seen_posted = 0; old = 0; event_seen = 0; payload = 0; swapped = false }
}

/* --- the kernel, and the keepers that obey it ------------------------------------------------------------ */

/* In the client's process. The same death may be told twice. */
proctype client_keeper() {
    byte number;
    int word, seen;
end:
    do
    :: receiver_died ? number ->
        /* DONE before STATE: what the dead one had taken then still stands, because nobody takes in its name. */
#ifdef MUTANT_STATE_BEFORE_DONE
        word = LOOK(CLIENT, state);
        seen = LOOK(CLIENT, done);
#else
        seen = LOOK(CLIENT, done);
        word = LOOK(CLIENT, state);
#endif
        atomic {
            if
#ifdef MUTANT_ANY_LISTENER
            :: STATE_OF(word) != TAKEN || seen == 0 -> goto obeyed
#else
            :: STATE_OF(word) != TAKEN || seen == 0 || LISTENER_OF(word) != number -> goto obeyed
#endif
            :: else
            fi;
            if
            :: SEQUENCE_OF(seen) == SEQUENCE_OF(word) ->
#ifdef MUTANT_ANSWERED_NOT_WOKEN
                goto obeyed
#else
                goto wake /* the dead one answered, and may not have got to its wake */
#endif
            :: else
            fi
        };
        atomic { STORE(CLIENT, reply_payload, REPLY_DIED) };
        atomic { STORE(CLIENT, done, DONE_WORD(SEQUENCE_OF(word))) };
wake:
        atomic { wake_client(CLIENT) };
obeyed:
        atomic { number = 0; word = 0; seen = 0 }
    od
}

inline tell_receiver_died(listener) {
    atomic {
        told[listener] = true;
        receiver_died ! listener;
        if
        :: TOLD_TWICE -> receiver_died ! listener /* as a kernel does that was restarted */
        :: true
        fi
    }
}

/* The thread listens no more, but its process lives: its keeper takes the page away before the client is told. */
inline end_listening(listener) {
#ifdef MUTANT_STOPPED_WITH_PAGE
    tell_receiver_died(listener);
    gone[listener] = true;
#else
    gone[listener] = true;
    tell_receiver_died(listener);
#endif
    atomic { wake_by_event(listener) }
}

inline sever() {
    severed = true;
    /* from one process sooner than from another */
    if
    :: gone[CLIENT] = true; gone[FIRST] = true; gone[SECOND] = true
    :: gone[SECOND] = true; gone[FIRST] = true; gone[CLIENT] = true
    fi;
    /* now nobody sees the page */
    atomic { gone[SUCCESSOR] = true; posted = 0; state = 0; done = 0; sleepers = 0; request_payload = 0; reply_payload = 0 };
    atomic {
#ifdef MUTANT_CLOSED_BY_FUTEX
        wake_client(CLIENT)
#else
        on_done = false; done_woken = true /* a signal, which ends a wait wherever it sleeps */
#endif
    };
#ifndef MUTANT_CLOSED_UNTOLD
    atomic { wake_by_event(FIRST) };
    atomic { wake_by_event(SECOND) };
    atomic { wake_by_event(SUCCESSOR) }
#endif
}

proctype kernel() {
end:
    do
    :: killed[FIRST] && !told[FIRST] -> tell_receiver_died(FIRST)
    :: killed[SECOND] && !told[SECOND] -> tell_receiver_died(SECOND)
    :: SUCCESSION && told[FIRST] && !succeeded && !severed -> atomic { succeeded = true; run server(SUCCESSOR) }
    :: killed[CLIENT] && !severed -> sever()
    /* What may befall the living, or may not. */
    :: atomic { fates > 0 && !killed[FIRST] && !stopped[FIRST] -> fates--; stopped[FIRST] = true }; end_listening(FIRST)
    :: atomic { RIVAL && SUCCESSION && fates > 0 && stopped[FIRST] && !killed[SECOND] && !stopped[SECOND] -> fates--; stopped[SECOND] = true };
        end_listening(SECOND)
    :: atomic { fates > 0 && !severed -> fates-- }; sever()
    :: fates > 0 -> fates = 0
    od
}

/* When nothing moves any more: each call has returned, and no server waits for a channel that is gone. */
proctype quiet() {
    timeout ->
    assert(over[CLIENT]);
    assert(!severed || (over[FIRST] && over[SECOND] && (!succeeded || over[SUCCESSOR])))
}

#ifdef LIVENESS
ltl returns { <> over[CLIENT] }
#endif

init {
    atomic {
        run client();
        run server(FIRST);
        if
        :: RIVAL -> run server(SECOND)
        :: else -> over[SECOND] = true
        fi;
        run client_keeper();
        run kernel();
        run quiet()
    }
}
