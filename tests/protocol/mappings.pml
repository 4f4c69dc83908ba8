/* The order in which what the kernel tells of memory is done, where it comes by two sockets: hw/_cpu/awake.c, control.c
 * and fault.c, and the kernel's part, kerneld/host/map_mail.py and kerneld/_fastpath/hand.c.
 *
 * One step (atomic) is one access to shared memory or one call of the host, with what the process decides by it on its
 * own. Processes are named as what runs: the keeper, threads that touch pages, the kernel. A kernel's successor is the
 * same process with nothing left but what is kept. A -DMUTANT_… plants one bug, which Spin must find.
 */
#ifndef THREADS
#define THREADS 2
#endif
#ifndef PAGES
#define PAGES 2
#endif
#ifndef ACCESSES
#define ACCESSES 1 /* by each thread, of any page */
#endif
#ifndef UNMAPS
#define UNMAPS 1
#endif
#ifndef AHEAD
#define AHEAD 0 /* mappings that nobody waits for */
#endif
#ifndef DEATHS
#define DEATHS 1 /* threads that are stopped for good */
#endif
#ifndef RESTARTS
#define RESTARTS 1 /* of the kernel */
#endif
#ifndef ANSWERED_EVERY
#define ANSWERED_EVERY 2 /* mappings in a row */
#endif
#ifndef WAITS
#define WAITS 1 /* 1: what is told may have waited, and is owed no longer as soon as it is sent */
#endif
#ifndef MISSED_MOST
#define MISSED_MOST 1 /* mappings that come by the control socket before there is another one */
#endif

#define WINDOW (2 * ANSWERED_EVERY)
#define LIVES  (RESTARTS + 1)
#define MORE(number, than) ((number) > (than)) /* as numbers that come round: here they do not */

mtype = { MAP, UNMAP, START_OVER, AWAKE, LAST };
/* What is told: of which page, its number among all, which of all that any kernel sent it is (nobody decides by that), by
 * which kernel, whether it is answered if it works. */
chan control_fd = [WINDOW + LIVES + 1] of { mtype, byte, byte, byte, byte, bool };
chan socket[LIVES] = [WINDOW] of { byte, byte, byte }; /* each kernel's second one: page, number, which */

/* --- the process's memory, and what it knows of it (fault.c, awake.c) */
byte laid[PAGES];      /* by which MAP there is memory; 0: there is none */
byte obeyed[PAGES];    /* the last one about this page */
byte mappings_done, mappings_awaited;
bool queued[THREADS];  /* sleeps on mappings_done */
bool is_open, lock, has_next;
byte awake_fd;         /* whose socket is in its place */
byte next_page, next_number, next_which;

/* --- trap frames */
byte told[THREADS];    /* MAPPINGS_TOLD */
bool asking[THREADS];  /* FAULT is submitted and not completed */
byte wanted[THREADS];

/* --- the kernel: what is kept when it dies, and what is not */
bool mapped[PAGES];    /* the VSpace's table */
byte brought_by[PAGES];/* which MAP is the last one; nobody decides by it */
bool owed;             /* a tell is not carried out yet, or something waits to be sent */
byte life, which;
byte sent, answered, quiet, missed;
bool asked_awake, has_awake;
byte over;             /* threads */

/* --- the process ------------------------------------------------------------------------------------------- */

/* In order, once each, and nothing behind an UNMAP that was sent before it. */
inline do_one(page, by, is_map) {
    assert(by > obeyed[page]);
    obeyed[page] = by;
    laid[page] = (is_map -> by : 0)
}

inline mapping_done(number) {
#ifdef MUTANT_AWAITED_SEEN_FIRST
    atomic { somebody = (mappings_awaited > 0) };
#endif
    atomic {
        if
        :: MORE(number, mappings_done) -> mappings_done = number
        :: else
        fi
    };
#ifndef MUTANT_NOBODY_WOKEN
    atomic {
        if
#ifdef MUTANT_AWAITED_SEEN_FIRST
        :: somebody -> somebody = false; wake_all()
#else
        :: mappings_awaited > 0 -> wake_all()
#endif
        :: else
        fi
    }
#endif
}

inline wake_all() {
    queued[0] = false; queued[THREADS - 1] = false; queued[THREADS / 2] = false
}

inline enter() {
#ifndef MUTANT_UNLOCKED
    atomic { !lock -> lock = true }
#else
    skip
#endif
}

inline leave() {
#ifndef MUTANT_UNLOCKED
    lock = false
#else
    skip
#endif
}

inline forget_next() {
    has_next = false; next_page = 0; next_number = 0; next_which = 0
}

/* obey_up_to(). `obeys` is set if anything was to be done. To receive, and to look at what was, is one step: nobody else
 * does who has not the lock. */
inline obey_up_to(last) {
    do
    :: atomic { mappings_done == last -> break }
    :: mappings_done != last ->
        atomic {
            if
            :: !has_next && nempty(socket[awake_fd]) ->
                socket[awake_fd] ? next_page, next_number, next_which; has_next = true
            :: !has_next && empty(socket[awake_fd]) -> break
            :: has_next
            fi;
            if
#ifndef MUTANT_GAP_PASSED_OVER
            :: next_number > mappings_done + 1 -> not_due(); break
#endif
            :: next_number <= mappings_done + 1 && MORE(next_number, last) -> not_due(); break
            :: next_number <= mappings_done -> assert(next_which < obeyed[next_page]); forget_next()
            :: else
            fi
        };
        if
        :: has_next ->
#ifdef MUTANT_SAID_BEFORE_LAID
            mapping_done(next_number);
            atomic { do_one(next_page, next_which, true); obeys = true; forget_next() }
#else
            atomic { do_one(next_page, next_which, true) };
            mapping_done(next_number);
            atomic { obeys = true; forget_next() }
#endif
        :: !has_next
        fi
    od
}

/* It is kept until it is. */
inline not_due() {
#ifdef MUTANT_NOT_KEPT
    forget_next()
#else
    skip
#endif
}

proctype keeper() {
    mtype op;
    byte page, number, by, teller, i, last;
    bool loud, obeys, somebody;
end_serves:
    do
    :: atomic { control_fd ? op, page, number, by, teller, loud };
        if
        :: op == AWAKE -> /* awake_open() */
            enter();
            do
            :: is_open ->
                atomic { obeys = false; last = mappings_done + 1 };
                obey_up_to(last);
                last = 0;
                if
                :: obeys
                :: else -> break
                fi
            :: else -> break
            od;
            atomic { obeys = false; forget_next(); awake_fd = teller; is_open = true; leave() }
        :: else ->
#ifndef MUTANT_KEEPER_DOES_NOT_LOOK
            if /* awake_obey_before() */
            :: is_open -> enter(); obey_up_to(number - 1); atomic { obeys = false; leave() }
            :: else
            fi;
#endif
#ifdef MUTANT_SAID_BEFORE_LAID
            mapping_done(number);
#endif
            atomic {
                if
                :: op == START_OVER ->
                    do
                    :: i < PAGES -> do_one(i, by, false); i++
                    :: else -> i = 0; break
                    od
                :: op == LAST
                :: else -> do_one(page, by, op == MAP)
                fi
            };
#ifndef MUTANT_SAID_BEFORE_LAID
#ifdef MUTANT_UNMAPPING_NOT_COUNTED
            if
            :: op == UNMAP
            :: else -> mapping_done(number)
            fi
#else
            mapping_done(number)
#endif
#endif
        fi;
        atomic { /* DONE. To a kernel that has died it says nothing. */
            if
            :: loud && teller == life && op == AWAKE -> has_awake = true
            :: loud && teller == life && op != AWAKE -> answered = number
            :: else
            fi;
            op = 0; page = 0; number = 0; by = 0; teller = 0; loud = false
        }
    od
}

byte deaths = DEATHS;
#define DIES atomic { deaths > 0 -> deaths--; up_to = 0; done = 0; waited = false; goto stopped }

/* wait_for_keeper(): `waited` says whether there was anything to wait for. */
inline wait_for_keeper() {
    if
    :: DIES
    :: up_to = told[me]
    fi;
    do
    :: atomic {
            done = mappings_done;
            if
            :: !MORE(up_to, done) -> done = 0; break
            :: else -> waited = true
            fi
        };
        if
        :: atomic { is_open -> enter() }; may_die_inside(); obey_up_to(up_to); leave()
        :: !is_open
        fi;
        if
        :: obeys -> obeys = false
        :: atomic { !obeys -> mappings_awaited++ }; /* await_mappings() */
#ifdef MUTANT_DONE_READ_AGAIN
            done = mappings_done;
#endif
            atomic {
                if
                :: mappings_done == done -> queued[me] = true
                :: else
                fi;
                done = 0
            };
            atomic { !queued[me] -> mappings_awaited-- }
        fi
    od;
    up_to = 0
}


inline may_die_inside() {
#ifdef MUTANT_STOPPED_INSIDE
    if
    :: DIES
    :: true
    fi
#else
    skip
#endif
}

proctype thread(byte me) {
    byte page, left = ACCESSES, up_to, done;
    bool waited, obeys, somebody;
another:
    atomic {
        if
        :: left == 0 -> goto stopped
        :: else -> left--
        fi;
        if
        :: page = 0
        :: me > 0 && PAGES > 1 -> page = PAGES - 1 /* the same page as another's, or one beside it */
        fi
    };
touch:
    atomic {
        if
        :: laid[page] > 0 -> page = 0; goto another
        :: else
        fi
    };
    wait_for_keeper();
    if
    :: atomic { waited -> waited = false; goto touch }
    :: else
    fi;
    atomic { wanted[me] = page; asking[me] = true };
    if
    :: DIES
    :: atomic { !asking[me] -> wanted[me] = 0 }
    fi;
    wait_for_keeper();
    atomic { waited = false; goto touch };
stopped:
    over++
}

/* --- the kernel -------------------------------------------------------------------------------------------- */

byte restarts = RESTARTS;

#define CRASHES atomic { restarts > 0 -> restarts--; t = 0; goto died }

/* One message, and what is told of it. A thread's number is told once the message is there. */
inline send(op, page) {
#ifdef MUTANT_TOLD_BEFORE_SENT
    tell();
#endif
    if
    :: CRASHES
    :: atomic { sent - answered < WINDOW ->
            which++;
#ifdef MUTANT_NONE_ANSWERED
            is_loud = (op != MAP);
#else
            is_loud = (op != MAP || quiet + 1 >= ANSWERED_EVERY);
#endif
            quiet = (is_loud -> 0 : quiet + 1);
            if
            :: op == MAP -> brought_by[page] = which
            :: else
            fi;
            if
            :: has_awake && !is_loud -> /* somebody waits for it */
                assert(nfull(socket[life]));
                socket[life] ! page, sent + 1, which
            :: true ->
                assert(nfull(control_fd));
                control_fd ! op, page, sent + 1, which, life, is_loud;
                if
                :: missed < MISSED_MOST && op == MAP -> missed++
                :: else
                fi;
                if
                :: WAITS && op != START_OVER && !all_again -> owed = false /* it has waited until now, for room or for what moves */
                :: true
                fi
            fi;
            is_loud = false
        }
    fi;
#ifndef MUTANT_TOLD_BEFORE_SENT
    tell();
#endif
    atomic {
        sent++;
        owed = all_again
    }
}

inline tell() {
    do
    :: CRASHES
    :: atomic { t < THREADS -> told[t] = sent + 1; t++ }
    :: atomic { t == THREADS -> t = 0; break }
    od
}

/* start_over(), and all that the table has. Nothing else is sent before the process has said that nothing is mapped. */
inline start_over() {
#ifdef MUTANT_NUMBER_TWICE
    all_again = true;
#else
    /* The next number may be that of a mapping which was sent to a thread and never told. */
    atomic { all_again = true; sent++; answered = sent };
#endif
    send(START_OVER, 0);
#ifndef MUTANT_NOT_ALONE
    answered == sent;
#endif
    do
    :: p < PAGES ->
        if
        :: mapped[p] -> send(MAP, p)
        :: else
        fi;
        p++
    :: else -> p = 0; break
    od;
    atomic { all_again = false; owed = false }
}

proctype kernel() {
    byte t, p, unmaps = UNMAPS, ahead = AHEAD;
    bool is_loud, all_again;
    goto serve;
died:
    atomic {
        life++; quiet = 0; missed = 0; asked_awake = false; has_awake = false; all_again = false; is_loud = false; p = 0;
        sent = 0;
#ifndef MUTANT_NUMBERS_ANEW
        do /* go_on_from() */
        :: t < THREADS -> sent = (told[t] > sent -> told[t] : sent); t++
        :: else -> t = 0; break
        od;
#endif
        answered = sent
    };
#ifndef MUTANT_NOT_OVER_AGAIN
    if
    :: owed -> start_over()
    :: else
    fi;
#else
    owed = false;
#endif
serve:
    do
    :: atomic { over == THREADS -> break }
#ifdef MUTANT_SOCKET_AT_ONCE
    :: atomic { !asked_awake && nfull(control_fd) ->
#else
    :: atomic { !asked_awake && missed >= MISSED_MOST && nfull(control_fd) ->
#endif
            asked_awake = true;
            control_fd ! AWAKE, 0, 0, 0, life, true
        }
    :: atomic { asking[0] && mapped[wanted[0]] -> asking[0] = false }
    :: atomic { asking[THREADS - 1] && mapped[wanted[THREADS - 1]] -> asking[THREADS - 1] = false }
    :: atomic { asking[THREADS / 2] && mapped[wanted[THREADS / 2]] -> asking[THREADS / 2] = false }
    :: atomic { /* a pager maps */
            if
            :: asking[0] && !mapped[wanted[0]] -> p = wanted[0]
            :: asking[THREADS - 1] && !mapped[wanted[THREADS - 1]] -> p = wanted[THREADS - 1]
            :: asking[THREADS / 2] && !mapped[wanted[THREADS / 2]] -> p = wanted[THREADS / 2]
            :: ahead > 0 && !mapped[PAGES - ahead] -> p = PAGES - ahead; ahead--
            fi;
            mapped[p] = true; owed = true
        };
        send(MAP, p);
        p = 0
    :: atomic { /* a third party unmaps */
            if
            :: unmaps > 0 && mapped[0] -> p = 0
            :: unmaps > 0 && mapped[PAGES - 1] -> p = PAGES - 1
            fi;
            unmaps--; mapped[p] = false; owed = true
        };
        send(UNMAP, p);
        p = 0
    od;
    /* One more, about no page: the keeper does all that comes before it. The process then has what the table says. */
    sent - answered < WINDOW;
    atomic { restarts = 0; nfull(control_fd) -> control_fd ! LAST, 0, sent + 1, which + 1, life, true };
    answered == sent + 1;
    atomic {
        do
        :: p < PAGES -> assert(laid[p] == (mapped[p] -> brought_by[p] : 0)); p++
        :: else -> break
        od
    }
}

init {
    byte i;
    atomic {
        run keeper();
        run kernel();
        do
        :: i < THREADS -> run thread(i); i++
        :: else -> break
        od
    }
}

#ifdef LIVENESS
ltl ends { <> (over == THREADS) }
#endif
