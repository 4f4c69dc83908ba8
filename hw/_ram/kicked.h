/* A device's back end of which the kernel's loop may have a turn without Python: handed out in a capsule of this name. */
#ifndef SEL4PY_RAM_KICKED_H
#define SEL4PY_RAM_KICKED_H

#include <stdbool.h>

#define KICKED_NAME "hw.kicked"

/* What a turn has come to. LEFT: there is something to do that is Python's. MORE: this turn was long enough. CHANGED, STARVED: other
 * things are to be waited for than before; STARVED: not for what comes. HIGH: the device's output is. */
enum turned { TURN_MOVED = 1, TURN_LEFT = 2, TURN_MORE = 4, TURN_STARVED = 8, TURN_CHANGED = 16, TURN_HIGH = 32 };

struct kicked {
    /* Bits, or -1 with an exception set and a transaction open. `reads`: something may have come. Outside of transactions. */
    int (*turn)(struct kicked *kicked, bool reads);
};

#endif
