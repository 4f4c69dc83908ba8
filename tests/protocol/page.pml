/* The two words of a channel's page. Names and numbers are those of libsel4py/abi.py (test_models.py compares them), and
 * a word is an int as it is in the page.
 */
#define GONE     0
#define IDLE     1
#define REQUEST  2
#define TAKEN    3

#define WAITERS         8
#define LISTENER_SHIFT  4
#define SEQUENCE_SHIFT  16
#define DONE_WAITER     1
#define DONE_VALID      2

#define STATE_OF(word)     ((word) & 7)
#define LISTENER_OF(word)  (((word) >> LISTENER_SHIFT) & 4095)
#define SEQUENCE_OF(word)  ((word) >> SEQUENCE_SHIFT)

#define STATE_WORD(sequence, listener, what)  ((sequence) << SEQUENCE_SHIFT | (listener) << LISTENER_SHIFT | (what))
#define DONE_WORD(sequence)                   ((sequence) << SEQUENCE_SHIFT | DONE_VALID)

/* The models have the smallest range that works, because one request is open at a time: so they see the numbers wrap. */
#define SEQUENCES 2
