/* A turn: what the driver has offered goes out, what has come goes in. Nothing blocks. */
#include "mover.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { HEADER_BYTES = 12, ETHERNET_BYTES = 14, RECEIVE = 0, TRANSMIT = 1 };
enum { USED_BYTES = sizeof(struct used_entry) };
/* LATER: the descriptor gives or takes nothing now. OTHER: it has failed, and will say so again to whoever asks it next. */
enum outcome { DONE, LATER, OTHER };

struct turn {
    struct mover *mover;
    struct batch batch;
    unsigned count, dropped; /* frames */
    uint64_t bytes;
    uint32_t written[ENTRIES_HIGH];
};

static void begin(struct turn *turn, struct mover *mover)
{
    turn->mover = mover;
    turn->batch.ram = mover->ram;
    turn->batch.page = mover->page;
    turn->batch.address = mover->address;
    turn->batch.table = mover->table;
    turn->count = turn->dropped = 0;
    turn->bytes = 0;
}

static enum outcome send_all(struct turn *turn)
{
    const struct batch *batch = &turn->batch;
    for (; turn->count < batch->count && turn->bytes < turn->mover->budget; turn->count++) {
        const struct chain *chain = &batch->chains[turn->count];
        const uint32_t size = chain->length - HEADER_BYTES;
        if (write(turn->mover->descriptor, chain->place + HEADER_BYTES, size) < 0)
            return errno == EAGAIN ? LATER : OTHER;
        turn->written[turn->count] = 0;
        turn->bytes += size;
    }
    return DONE;
}

/* What was moved is in the record, then in the rings. False with an exception set. */
static bool record(struct turn *turn, uint64_t *frames, uint64_t *bytes)
{
    struct batch *batch = &turn->batch;
    if (!turn->count && !turn->dropped)
        return true;
    batch_begin(batch);
    if ((turn->dropped && !batch_add(batch, &batch->page->dropped, turn->dropped)) ||
        (turn->count && !(batch_give_back(batch, turn->written, turn->count) && batch_add(batch, frames, turn->count) &&
                          batch_add(batch, bytes, turn->bytes))))
        return false;
    batch_commit(batch);
    return !turn->count || batch_publish(batch);
}

static int transmit(struct mover *mover)
{
    struct turn turn;
    begin(&turn, mover);
    struct batch *batch = &turn.batch;
    bool usual = batch_look(batch, TRANSMIT, mover->most, SPAN_READS);
    for (unsigned i = 0; usual && i < batch->count; i++)
        usual = batch->chains[i].length >= HEADER_BYTES + ETHERNET_BYTES &&
                batch->chains[i].length - HEADER_BYTES <= mover->longest;
    if (!usual)
        return TURN_LEFT;
    const enum outcome outcome = send_all(&turn);
    if (!record(&turn, &mover->page->sent, &mover->page->sent_bytes))
        return -1;
    mover->counts->reads += turn.count;
    mover->counts->read_bytes += turn.bytes + HEADER_BYTES * turn.count;
    mover->counts->writes += turn.count;
    mover->counts->written_bytes += USED_BYTES * turn.count;
    const int moved = turn.count ? TURN_MOVED : 0;
    if (outcome == OTHER)
        return moved | TURN_LEFT;
    if (outcome == LATER) {
        mover->desk->blocked = 1;
        return moved | TURN_CHANGED;
    }
    return moved | (batch_has_more(batch) ? TURN_MORE : 0);
}

/* Nothing to do about checksums or segments, and the frame lies in one buffer: num_buffers is 1. */
static const uint8_t RECEIVED[HEADER_BYTES] = {[10] = 1};

static enum outcome receive_all(struct turn *turn)
{
    const struct batch *batch = &turn->batch;
    const struct mover *mover = turn->mover;
    uint64_t moved = 0; /* with what was dropped */
    for (unsigned frames = 0; frames < mover->most && turn->count < batch->count && moved < mover->budget; frames++) {
        const struct chain *chain = &batch->chains[turn->count];
        const uint64_t size = chain->length - HEADER_BYTES, room = size < mover->longest ? size : mover->longest;
        uint8_t more; /* of a frame that is too long */
        struct iovec parts[2] = {{chain->place + HEADER_BYTES, room}, {&more, 1}};
        const ssize_t found = readv(mover->descriptor, parts, 2);
        if (found <= 0)
            return found < 0 && errno == EAGAIN ? LATER : OTHER;
        moved += (uint64_t)found;
        if ((uint64_t)found > room) {
            turn->dropped++;
            continue;
        }
        memcpy(chain->place, RECEIVED, sizeof RECEIVED);
        turn->written[turn->count++] = HEADER_BYTES + (uint32_t)found;
        turn->bytes += (uint64_t)found;
    }
    return DONE;
}

/* Of a frame that is dropped the buffer may hold a part, and is used for the next. */
static int receive(struct mover *mover)
{
    struct turn turn;
    begin(&turn, mover);
    struct batch *batch = &turn.batch;
    bool usual = batch_look(batch, RECEIVE, mover->most, SPAN_WRITES);
    for (unsigned i = 0; usual && i < batch->count; i++)
        usual = batch->chains[i].length >= HEADER_BYTES;
    if (!usual)
        return TURN_LEFT;
    const enum outcome outcome = receive_all(&turn);
    if (!record(&turn, &mover->page->received, &mover->page->received_bytes))
        return -1;
    mover->counts->writes += 2 * turn.count;
    mover->counts->written_bytes += turn.bytes + (HEADER_BYTES + USED_BYTES) * (uint64_t)turn.count;
    return (turn.count ? TURN_MOVED : 0) | (outcome == OTHER ? TURN_LEFT : 0);
}

/* Whether there is a buffer for the next frame; if not, the driver notifies the device of one. */
static int look_at_buffers(struct mover *mover)
{
    struct turn turn;
    begin(&turn, mover);
    struct batch *batch = &turn.batch;
    if (!batch_look(batch, RECEIVE, 0, SPAN_WRITES))
        return TURN_LEFT;
    const bool was_quiet = mover->desk->quiet;
    if (batch_has_more(batch)) {
        if (!was_quiet)
            batch_want_kicks(batch, false);
        mover->desk->quiet = 1;
        return was_quiet ? 0 : TURN_CHANGED;
    }
    batch_want_kicks(batch, true);
    mover->desk->quiet = 0;
    return (was_quiet ? TURN_CHANGED : 0) | (batch_has_more(batch) ? 0 : TURN_STARVED);
}

static bool is_usual(const struct mover *mover)
{
    const struct page *page = mover->page;
    return !mover->desk->held && mover->desk->resets == page->resets && !page->is_down &&
           (page->status & LIVE_MASK) == LIVE && !mover->ram->open && !mover->ram->log->length;
}

int mover_turn(struct kicked *kicked, bool reads)
{
    struct mover *mover = (struct mover *)kicked;
    if (!is_usual(mover))
        return TURN_LEFT;
    int bits = mover->desk->blocked ? 0 : transmit(mover);
    for (unsigned step = 0; step < 2 && bits >= 0 && !(bits & TURN_LEFT); step++) {
        const int more = step ? look_at_buffers(mover) : reads ? receive(mover) : 0;
        bits = more < 0 ? -1 : bits | more;
    }
    return bits < 0 ? -1 : bits | (mover->page->interrupt ? TURN_HIGH : 0);
}
