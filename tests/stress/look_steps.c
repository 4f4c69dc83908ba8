/* hw/_cpu/look.c, by a clock of its own: how long a thread looks before it sleeps.
 *
 * Prints nothing; exit status 1 and a line if something went wrong. Argument: the name of the case.
 */
#define _GNU_SOURCE
#include "calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LEAST = 5000, USUAL = 40000, MOST = 100000 }; /* ns, of what waking is taken to cost */

static int64_t clock_ns = 1000000;

/* In place of the C library's. */
int clock_gettime(clockid_t clock, struct timespec *time)
{
    (void)clock;
    *time = (struct timespec){.tv_sec = clock_ns / 1000000000, .tv_nsec = clock_ns % 1000000000};
    return 0;
}

static void expect(bool holds, const char *what)
{
    if (!holds) {
        printf("not so: %s\n", what);
        exit(1);
    }
}

static uint32_t here(void) { return current_cpu(); }
static uint32_t elsewhere(void) { return current_cpu() + 1; }

/* How long a look lasts in which each round takes `step_ns`; -1 for more than a thousand rounds. */
static int64_t look_for(struct cpu_thread *thread, int64_t spin_ns, uint32_t peer, int64_t step_ns)
{
    struct look look;
    look_begin(&look, thread, &spin_ns, peer);
    for (int rounds = 0; rounds < 1000; rounds++) {
        look_pause(&look);
        clock_ns += step_ns;
        if (!look_goes_on(&look, thread, NO_DEADLINE))
            return clock_ns - look.start;
    }
    return -1;
}

static void peer_on_the_same_processor(void)
{
    struct cpu_thread thread = {0};
    expect(look_for(&thread, USUAL, here(), 100) == YIELDS * 100, "the processor is given away twice, and that is all");
    expect(looks_with_gil(here(), NULL) == 0, "there is no look with the GIL held");
    expect(looks_with_gil(elsewhere(), NULL) == LOOKS_WITH_GIL, "at a peer elsewhere there are some");
}

static void no_longer_than_waking_costs(void)
{
    struct cpu_thread thread = {0};
    expect(look_for(&thread, INT64_MAX, elsewhere(), 1000) == USUAL, "a look is as long as a wake-up is taken to cost");
    for (int i = 0; i < 100; i++)
        look_measured(9000);
    expect(look_limit_ns() >= 9000 && look_limit_ns() <= 9003, "what is measured is learned");
    const int64_t lasted = look_for(&thread, INT64_MAX, elsewhere(), 1000);
    expect(lasted >= 9000 && lasted <= 10000, "and a look is no longer than that");
    for (int i = 0; i < 100; i++)
        look_measured(1);
    expect(look_limit_ns() >= LEAST && look_limit_ns() <= LEAST + 3, "it has a least");
    for (int i = 0; i < 100; i++)
        look_measured(INT64_MAX);
    expect(look_limit_ns() >= MOST - 4 && look_limit_ns() <= MOST, "and a most");
}

static void none_where_others_want_the_processors(void)
{
    struct cpu_thread thread = {0};
    expect(look_for(&thread, USUAL, elsewhere(), PREEMPTED_NS + 1) == PREEMPTED_NS + 1, "a look that was preempted ends");
    for (int i = 0; i < CROWDED_WAITS; i++)
        expect(look_for(&thread, USUAL, elsewhere(), 1) == 1, "the next ones end at once");
    expect(look_for(&thread, USUAL, elsewhere(), 1000) == USUAL, "then it is tried again");
}

static void what_does_not_pay_is_given_up(void)
{
    int64_t spin_ns = USUAL;
    for (int i = 0; i < 20; i++)
        spin_learn(&spin_ns, USUAL, USUAL + 1);
    expect(spin_ns == 0, "answers that come too late leave no look");
    spin_learn(&spin_ns, USUAL, 3000);
    expect(spin_ns == 6000, "one that a look would have caught brings it back");
    spin_learn(&spin_ns, USUAL, USUAL);
    expect(spin_ns == USUAL, "for no longer than waking costs");
}

static void not_past_the_deadline(void)
{
    struct cpu_thread thread = {0};
    struct look look;
    int64_t spin_ns = USUAL;
    look_begin(&look, &thread, &spin_ns, elsewhere());
    clock_ns += 10;
    expect(look_goes_on(&look, &thread, clock_ns + 1), "before it");
    expect(!look_goes_on(&look, &thread, clock_ns), "at it");
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"peer_on_the_same_processor", peer_on_the_same_processor},
    {"no_longer_than_waking_costs", no_longer_than_waking_costs},
    {"none_where_others_want_the_processors", none_where_others_want_the_processors},
    {"what_does_not_pay_is_given_up", what_does_not_pay_is_given_up},
    {"not_past_the_deadline", not_past_the_deadline},
};

int main(int count, char **arguments)
{
    /* Where we run must not change on the way. */
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    expect(count == 2 && sched_setaffinity(0, sizeof one, &one) == 0, "one argument, and one processor");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (!strcmp(arguments[1], cases[i].name)) {
            cases[i].run();
            return 0;
        }
    printf("no case is called %s\n", arguments[1]);
    return 1;
}
