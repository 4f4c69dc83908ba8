/* Messages of the kernel's about this process, and who obeys them: what control.c and awake.c share. */
#ifndef SEL4PY_CONTROL_H
#define SEL4PY_CONTROL_H

#include "cpu.h"

enum { FD_LIMIT = 4, NUMBER_WORD = 4 /* of MAP and UNMAP: which of all of them it is */ };

struct received {
    struct sel4py_control request;
    int fds[FD_LIMIT];
    unsigned fd_count;
    bool whole; /* message and descriptors arrived as they were sent */
};

/* The next message; false with errno set if there is none, 0 where the socket has ended. */
bool control_receive(int fd, struct received *message);
/* Closes the descriptors that nobody has kept. */
void control_close(struct received *message);
/* The errno value of a message that is to be a MAP. `how`: flags of mmap() besides. */
int control_map(const struct received *message, int how);
void control_answer(const struct sel4py_control *request, int error, pid_t tid);

/* awake.c. The keeper's, as it begins: -1 with errno set. */
int awake_reserve(void);
/* The message AWAKE: an errno value. The descriptor stays the caller's. */
int awake_open(int fd);
/* Does what any thread may do and comes before the message of this number. */
void awake_obey_before(uint32_t number);

#endif
