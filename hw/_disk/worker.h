/* A thread that carries out requests to a file, one after the other, without the interpreter.
 *
 * Who submits owns a job's memory again once `worker_take` has given the job back. The thread knows no Python object and
 * never takes the interpreter's lock. One thread submits and takes.
 */
#ifndef SEL4PY_DISK_WORKER_H
#define SEL4PY_DISK_WORKER_H

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum job_kind { JOB_READ, JOB_WRITE, JOB_FLUSH, JOB_COMMIT };

enum { SECTOR_BYTES = 512 };

/* Of a commit: a write of so many sectors, or, without any, a flush. As the driver writes it (hw/devices/block.py, STEP). */
struct step {
    uint64_t sector, sectors;
};
static_assert(sizeof(struct step) == 16, "STEP");

enum { QUIET_BYTES = 1 << 18 }; /* moved at most before the bell tells of them */

struct job {
    struct job *next;
    enum job_kind kind;
    int error; /* errno, or 0 */
    bool hurries; /* those before it are to be told of before it begins: it may take long */
    off_t offset;
    size_t size;
    void *data;
    const struct step *steps; /* of a commit, in order; the writes' bytes lie in data, one behind the other */
    size_t count;
    uint32_t ended; /* steps that did, without an error */
};

struct job_list {
    struct job *first, **end;
};

struct worker {
    int descriptor; /* of the file */
    int witness;    /* another opening of it, which the first flush that ends well asks as well; or -1 */
    int bell;       /* an eventfd: something was finished; -1 once closed */
    uint64_t *attention; /* set to 1 then, for who does not look at the bell; or NULL */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t given;
    struct job_list waiting, finished;
    bool is_over;
};

/* Returns errno, or 0: then it is to be closed. */
int worker_start(struct worker *worker, int descriptor, int witness, uint64_t *attention);
/* The thread takes all that was submitted at once, and may leave it until `worker_kick`. */
void worker_submit(struct worker *worker, struct job *job);
void worker_kick(struct worker *worker);
/* The finished jobs, oldest first, or NULL. */
struct job *worker_take(struct worker *worker);
/* Waits until all is done that was submitted. Blocks: without the interpreter's lock. */
void worker_join(struct worker *worker);

#endif
