/* What all connections share: memory for packets, and TCP's segments.
 *
 * Rules. A connection takes what it wants while more than that is left for the others. Where little is left each still
 * has the least that a connection goes on with, so that whoever takes all he can get stops nobody: his own connections,
 * of which one may have nothing under way and so be told of nothing, wait for no one else's. */
#include "shim.h"

#include <malloc.h>
#include <sys/mman.h>

#include "lwip/stats.h"

enum {
    LEAST_BYTES = 16 << 10,
    LEAST_SEGMENTS = 3, /* and a fourth, for a connection's begin or its end */
    COMMON_SEGMENTS = MEMP_NUM_TCP_SEG - (LEAST_SEGMENTS + 1) * MEMP_NUM_TCP_PCB,
    MOST_BYTES_EARLY = 1 << 20,
    MOST_SEGMENTS_EARLY = 1024,
    MOST_MEMORY = 256 << 20,
    LEAST_MEMORY = 4 << 20,
};
_Static_assert(COMMON_SEGMENTS > MOST_SEGMENTS_EARLY, "few that have much, or many that have little");
static size_t used_bytes, common_bytes = LEAST_MEMORY;

static void *counted(void *memory)
{
    if (memory)
        used_bytes += malloc_usable_size(memory);
    return memory;
}

/* lwIP reads a header's first bytes, and an option's length, before it sees that they are not there (ip6_input): behind
 * each packet there are so many more. */
enum { BEHIND_BYTES = 8 };

void *shim_malloc(size_t size) { return counted(malloc(size + BEHIND_BYTES)); }

void *shim_calloc(size_t count, size_t size) { return counted(calloc(count, size)); }

void shim_free(void *memory)
{
    used_bytes -= malloc_usable_size(memory);
    free(memory);
}

/* Three quarters of what the process may still have, as powers of two go; the rest is for all that is no packet. */
void shares_begin(void)
{
    for (size_t size = MOST_MEMORY; size >= LEAST_MEMORY; size /= 2) {
        void *tried = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (tried == MAP_FAILED)
            continue;
        munmap(tried, size);
        common_bytes = size / 4 * 3;
        return;
    }
}

static size_t left_bytes(void) { return used_bytes < common_bytes ? common_bytes - used_bytes : 0; }

static size_t left_segments(void)
{
    const size_t used = lwip_stats.memp[MEMP_TCP_SEG]->used;
    return used < COMMON_SEGMENTS ? COMMON_SEGMENTS - used : 0;
}

bool share_holds(size_t bytes)
{
    const size_t left = left_bytes();
    return bytes <= (left > LEAST_BYTES ? left : LEAST_BYTES);
}

/* lwIP makes no segment that is longer than half of the widest window that the other side has told of. */
static size_t segment_bytes(const struct tcp_pcb *pcb)
{
    const size_t half = pcb->snd_wnd_max / 2;
    return half && half < pcb->mss ? half : pcb->mss;
}

size_t share_to_send(const struct tcp_pcb *pcb)
{
    const size_t bytes = left_bytes(), segments = left_segments();
    const size_t most_bytes = bytes > LEAST_BYTES ? bytes : LEAST_BYTES;
    const size_t most_segments = segments > LEAST_SEGMENTS ? segments : LEAST_SEGMENTS;
    const size_t queued = pcb->snd_lbb - pcb->lastack;
    if (queued >= most_bytes || pcb->snd_queuelen >= most_segments)
        return 0;
    const size_t in_segments = (most_segments - pcb->snd_queuelen) * segment_bytes(pcb);
    const size_t in_bytes = most_bytes - queued, free = tcp_sndbuf(pcb);
    const size_t less = in_bytes < in_segments ? in_bytes : in_segments;
    return less < free ? less : free;
}

bool share_has_pcb(void) { return lwip_stats.memp[MEMP_TCP_PCB]->used < MEMP_NUM_TCP_PCB; }

/* What comes ahead of its turn may be dropped: it is sent again. */
uint32_t shim_most_bytes_early(void)
{
    const size_t left = left_bytes();
    return left < MOST_BYTES_EARLY ? (uint32_t)left : MOST_BYTES_EARLY;
}

uint16_t shim_most_segments_early(void)
{
    const size_t left = left_segments();
    return left < MOST_SEGMENTS_EARLY ? (uint16_t)left : MOST_SEGMENTS_EARLY;
}
