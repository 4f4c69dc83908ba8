/* hw/_cpu/channel_table.c: a thread that has looked at a place, and a keeper that meanwhile takes it back and fills it for
 * another thread. Exit status 1 and a line if something went wrong. Argument: the name of the case.
 */
#define _GNU_SOURCE
#include "cpu.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { FIRST = 1, SECOND = 2, NUMBER = 10 };

static struct cpu_thread threads[] = {{.id = FIRST}, {.id = SECOND}};

struct cpu_thread *thread_find(uint32_t id) { return &threads[id - FIRST]; }

void futex_wake_all(uint32_t *word) { (void)word; }

static int open_for(uint32_t thread, uint64_t role)
{
    const struct sel4py_control request = {.thread = thread, .words = {NUMBER, role}};
    const int page = memfd_create("channel", MFD_CLOEXEC);
    int error = ftruncate(page, SEL4PY_CHANNEL_BYTES);
    error = error ? error : channel_open(&request, page);
    close(page);
    return error;
}

static int close_for(uint32_t thread)
{
    const struct sel4py_control request = {.thread = thread, .words = {NUMBER}};
    return channel_close(&request);
}

/* The place is the second thread's alone. */
static int is_the_others(struct channel *place)
{
    uint32_t seen;
    return !channel_is_of(place, &threads[0], &seen) && channel_is_of(place, &threads[1], &seen) &&
           channel_use(place, seen) && !channel_use(place, seen) && channel_keep(place, seen + PLACE_USED - PLACE_HANDED);
}

static int filled_anew_before_it_is_received_by(void)
{
    struct channel *place = channel_place(0);
    uint32_t seen;
    if (open_for(FIRST, SEL4PY_CHANNELROLE_SERVER) || !channel_is_of(place, &threads[0], &seen))
        return 0;
    if (close_for(FIRST) || open_for(SECOND, SEL4PY_CHANNELROLE_SERVER) || place->thread != SECOND)
        return 0;
    return !channel_keep(place, seen) && is_the_others(place);
}

static int filled_anew_before_it_is_bound(void)
{
    uint32_t seen;
    if (open_for(FIRST, SEL4PY_CHANNELROLE_CLIENT))
        return 0;
    struct channel *place = channel_of_thread(&threads[0], NUMBER, &seen);
    if (!place || close_for(FIRST) || open_for(SECOND, SEL4PY_CHANNELROLE_CLIENT) || place->thread != SECOND)
        return 0;
    return !channel_use(place, seen) && is_the_others(place);
}

/* Who writes an answer that was put off writes it to the page that it was for, or to an empty one, and to no other's. */
static int given_back_while_it_is_answered(void)
{
    struct channel *place = channel_place(0), *next = channel_place(1);
    uint32_t seen;
    if (open_for(FIRST, SEL4PY_CHANNELROLE_SERVER) || !channel_is_of(place, &threads[0], &seen) || !channel_keep(place, seen))
        return 0;
    const uint32_t generation = channel_generation(place);
    if (channel_answer_begin(place, generation) || place->answering)
        return 0; /* none is owed */
    place->owed = 1;
    if (channel_answer_begin(place, generation + 1) || !channel_answer_begin(place, generation))
        return 0;
    channels_of_ended(&threads[0]);
    if (open_for(SECOND, SEL4PY_CHANNELROLE_SERVER) || channel_is_of(place, &threads[1], &seen) ||
        !channel_is_of(next, &threads[1], &seen))
        return 0;
    channel_answer_end(place);
    if (channel_answer_begin(place, generation) || close_for(SECOND) || open_for(SECOND, SEL4PY_CHANNELROLE_SERVER))
        return 0;
    place->owed = 1;
    return channel_is_of(place, &threads[1], &seen) && !channel_answer_begin(place, generation) && !place->answering;
}

/* And one that nobody has taken meanwhile is the thread's. */
static int left_alone(void)
{
    struct channel *place = channel_place(0);
    uint32_t seen;
    return !open_for(FIRST, SEL4PY_CHANNELROLE_SERVER) && channel_is_of(place, &threads[0], &seen) &&
           channel_keep(place, seen) && !close_for(FIRST) && channel_is_gone(place) &&
           channel_is_of(place, &threads[0], &seen) && channel_keep(place, seen);
}

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } cases[] = {{"filled_anew_before_it_is_received_by", filled_anew_before_it_is_received_by},
                 {"filled_anew_before_it_is_bound", filled_anew_before_it_is_bound},
                 {"given_back_while_it_is_answered", given_back_while_it_is_answered},
                 {"left_alone", left_alone}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (count == 2 && !strcmp(arguments[1], cases[i].name)) {
            const int right = cases[i].run();
            if (!right)
                printf("%s: place %#x of thread %u\n", cases[i].name, channel_place(0)->in_use, channel_place(0)->thread);
            return !right;
        }
    printf("no such case\n");
    return 2;
}
