/* One system call, from Python's arguments to its completion: what trap.c has and forms.c uses. */
#ifndef SEL4PY_TRAP_H
#define SEL4PY_TRAP_H

#include "calls.h"

enum { EXTRA_CAPS = 3 << 7, ANY_CAPS = EXTRA_CAPS | 7 << 9 }; /* of the info word: of a sender's, of a receiver's */

struct call {
    struct sel4py_entry entry;
    uint64_t reply, dest; /* of its tail, if its flags say that it has one */
    int64_t timeout_ns;
};

/* Each false with an exception set. */
bool has_arguments(const char *signature, Py_ssize_t count, Py_ssize_t least, Py_ssize_t most);
/* An argument's word. Most arguments are the very object that stood there at the thread's last call, which is kept. */
bool parse_another(struct cpu_thread *thread, enum position at, PyObject *object, uint64_t *word);
static inline bool parse_word(struct cpu_thread *thread, enum position at, PyObject *object, uint64_t *word)
{
    uint64_t another = thread->known[at].word;
    if (thread->known[at].object != object && !parse_another(thread, at, object, &another))
        return false;
    *word = another; /* whose address is nobody's: what the compiler knows of a system call it may go on to know */
    return true;
}
bool parse_timeout(PyObject *object, int64_t *timeout_ns);
bool carry_out(struct cpu_thread *thread, const struct call *call, bool may_use_channel,
               struct sel4py_completion *completion);
/* The same, for who is IN_ONE with it. */
bool do_call(struct cpu_thread *thread, const struct call *call, bool may_use_channel,
             struct sel4py_completion *completion);

/* message.c: word 0 counts the bytes, which begin at word 1. */
enum { MOST_BYTES = (SEL4PY_MESSAGE_MAX_LENGTH - 1) * 8 };
static inline unsigned message_byte_words(uint64_t size) { return (unsigned)((size + 8 + 7) / 8); }
/* Stores the bytes, MOST_BYTES of them at most, in the message area and in `mr`; returns the number of words. */
unsigned message_place_bytes(uint8_t *frame, const uint8_t *data, size_t size, uint64_t *mr);
/* Whether a message of so many words can be one of bytes. */
bool message_has_bytes(unsigned length, const uint64_t *mr);
/* Whether nothing of it is lost if the bytes stand for the words: none of these is past the bytes' end, nor is one a
 * capability. */
bool message_fills(uint64_t info, const uint64_t *mr);
/* The bytes of such a message. */
PyObject *message_take_bytes(const uint8_t *frame, const uint64_t *mr);

/* forms.c */
/* An int, bytes, or a tuple of words as the entry's message. False with an exception set. */
bool parse_answer(struct cpu_thread *thread, PyObject *answer, struct sel4py_entry *entry);
/* As result_of(), with the bytes of a message of bytes that fill it. */
PyObject *request_of(struct cpu_thread *thread, struct sel4py_completion *completion);

#endif
