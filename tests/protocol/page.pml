/* The words of a channel's page. Names and numbers are those of libsel4py/abi.py (test_models.py compares them), and
 * a word is an int as it is in the page.
 */
#define GONE   0
#define IDLE   1
#define TAKEN  2

#define WAITER          1
#define VALID           2
#define LISTENER_SHIFT  4
#define SEQUENCE_SHIFT  16
#define SLEEPING        1

#define STATE_OF(word)     ((word) & 7)
#define LISTENER_OF(word)  (((word) >> LISTENER_SHIFT) & 4095)
#define SEQUENCE_OF(word)  ((word) >> SEQUENCE_SHIFT)

#define STATE_WORD(sequence, listener, what)  ((sequence) << SEQUENCE_SHIFT | (listener) << LISTENER_SHIFT | (what))
#define POSTED_WORD(sequence)                 ((sequence) << SEQUENCE_SHIFT | VALID)
#define DONE_WORD(sequence)                   ((sequence) << SEQUENCE_SHIFT | VALID)

/* A request waits for a server. Neither word is 0. */
#define IS_REQUEST(posted, state)  (SEQUENCE_OF(posted) != SEQUENCE_OF(state))
