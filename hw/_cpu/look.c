/* Looking before sleeping: for as long as it has paid lately, and not where it cannot.
 *
 * It cannot where the peer runs on our own processor: then the processor is given away, a few times. It does not where
 * others want the processors: a look that was itself preempted says so, and the next waits sleep at once.
 */
#include "calls.h"

void spin_learn(int64_t *spin_ns, int64_t limit, int64_t took)
{
    if (took > limit)
        *spin_ns /= 2;
    else if (2 * took > *spin_ns)
        *spin_ns = 2 * took < limit ? 2 * took : limit;
}

/* 25 microseconds between processors on a virtual machine, 5 on one processor; a thread that must wait for its processor
 * says nothing about what waking costs. */
enum { LEAST_WAKE_NS = 5000, USUAL_WAKE_NS = 40000, MOST_WAKE_NS = 100000 };
static int64_t wake_cost_ns = USUAL_WAKE_NS;

int64_t look_limit_ns(void) { return __atomic_load_n(&wake_cost_ns, __ATOMIC_RELAXED); }

void look_measured(int64_t wake_ns)
{
    int64_t bounded = wake_ns < LEAST_WAKE_NS ? LEAST_WAKE_NS : wake_ns > MOST_WAKE_NS ? MOST_WAKE_NS : wake_ns;
    __atomic_store_n(&wake_cost_ns, (3 * look_limit_ns() + bounded) / 4, __ATOMIC_RELAXED);
}

void look_begin(struct look *look, struct cpu_thread *thread, int64_t *spin_ns, uint32_t peer_cpu)
{
    const int64_t limit = look_limit_ns();
    if (*spin_ns > limit)
        *spin_ns = limit;
    bool same = peer_cpu == current_cpu();
    int64_t length = *spin_ns;
    if (thread->crowded) {
        thread->crowded--;
        length = 0;
    }
    *look = (struct look){.looks = same ? 1 : LOOKS_A_CHECK, .yields = same ? YIELDS : -1};
    look->start = look->now = now_ns();
    look->end = look->start + length;
}

int looks_with_gil(uint32_t peer_cpu, const struct ease *ease)
{
    if (peer_cpu == current_cpu())
        return 0;
    for (unsigned i = ease ? ease->lingers : 0; i > 0; i--)
        linger();
    return LOOKS_WITH_GIL;
}

enum { MOST_EASE = 80, EASE_TRIAL = 4 };

void ease_learn(struct ease *ease, bool by_first_look)
{
    if (!by_first_look) {
        ease->lingers += ease->lingers < MOST_EASE;
        ease->found = 0;
    } else if (++ease->found >= EASE_TRIAL) {
        ease->lingers -= ease->lingers > 0;
        ease->found = 0;
    }
}

void look_pause(struct look *look)
{
    if (look->yields > 0) {
        look->yields--;
        sched_yield();
    } else {
        relax();
    }
}

bool look_goes_on(struct look *look, struct cpu_thread *thread, int64_t deadline)
{
    int64_t before = look->now;
    look->now = now_ns();
    if (look->now >= deadline)
        return false;
    if (look->yields >= 0)
        return look->yields > 0;
    if (look->now - before > PREEMPTED_NS) {
        thread->crowded = CROWDED_WAITS;
        return false;
    }
    return look->now < look->end;
}
