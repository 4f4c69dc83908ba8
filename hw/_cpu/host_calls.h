/* The host's system calls by name, and what a task's filter answers to each (host_calls.c). */
#ifndef SEL4PY_HOST_CALLS_H
#define SEL4PY_HOST_CALLS_H

#include <stdint.h>

#if defined(__x86_64__)
#define LEGACY(...) __VA_ARGS__
#elif defined(__aarch64__)
#define LEGACY(...)
#else
#error "the filter knows x86_64 and aarch64"
#endif

enum { NEWEST_CALL = 462 }; /* mseal; later ones are unknown to these tables */

/* KILL is what is left: a call that stands in no table. */
enum verdict { KILL, PASS, DENY, UNKNOWN, ASK };

struct host_call {
    int number;
    const char *name;
};

struct host_calls {
    enum verdict verdict;
    unsigned count;
    const struct host_call *calls;
};

enum { HOST_CALL_TABLES = 4 };
extern const struct host_calls host_calls[HOST_CALL_TABLES];

enum test { IF_ANY_BIT, IF_NO_BIT, IF_OTHER, IF_NOT_PRIVATE, UNLESS_EQUAL, IF_EQUAL };
enum half { LOW, HIGH };
enum { ALL_BITS = 0 }; /* of a condition's mask */

/* Refused with EPERM if the argument is like that. A call that has UNLESS_EQUAL is refused for all other values. */
struct condition {
    int number;
    unsigned argument;
    enum half half;
    enum test test;
    uint32_t value;
    uint32_t mask;
};

enum { FILLED_IN, FILLED_IN_NEXT }; /* filter.c knows it when the filter is made */
extern const struct condition conditions[];
extern const unsigned condition_count;
enum { MOST_CONDITIONS = 128 };

const char *host_call_name(int number); /* NULL: not known by name */

#endif
