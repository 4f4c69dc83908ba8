/* The thread's side, and the two lists between it and the kernel. */
#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void append(struct job_list *list, struct job *job)
{
    job->next = NULL;
    *list->end = job;
    list->end = &job->next;
}

static struct job *take_all(struct job_list *list)
{
    struct job *first = list->first;
    list->first = NULL;
    list->end = &list->first;
    return first;
}

/* All of these bytes, or an error. A file that has become shorter is one: an image never does. */
static int move_bytes(int descriptor, bool writes, char *at, size_t left, off_t offset)
{
    while (left) {
        ssize_t moved = writes ? pwrite(descriptor, at, left, offset) : pread(descriptor, at, left, offset);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved <= 0)
            return moved < 0 ? errno : EIO;
        at += moved;
        left -= (size_t)moved;
        offset += moved;
    }
    return 0;
}

/* The host tells each opening of a file once that it has lost what was written. */
static int flush(struct worker *worker)
{
    if (fdatasync(worker->descriptor))
        return errno;
    if (worker->witness < 0)
        return 0;
    int witness = worker->witness;
    worker->witness = -1;
    return fdatasync(witness) ? errno : 0;
}

/* One step after the other; none behind one that fails. */
static int commit(struct worker *worker, struct job *job)
{
    char *at = job->data;
    for (job->ended = 0; job->ended < job->count; job->ended++) {
        const struct step *step = &job->steps[job->ended];
        size_t size = step->sectors * SECTOR_BYTES;
        off_t offset = (off_t)(step->sector * SECTOR_BYTES);
        int error = size ? move_bytes(worker->descriptor, true, at, size, offset) : flush(worker);
        if (error)
            return error;
        at += size;
    }
    return 0;
}

static int carry_out(struct worker *worker, struct job *job)
{
    switch (job->kind) {
    case JOB_FLUSH:
        return flush(worker);
    case JOB_COMMIT:
        return commit(worker, job);
    default:
        return move_bytes(worker->descriptor, job->kind == JOB_WRITE, job->data, job->size, job->offset);
    }
}

/* The bell comes before the word: who sees the word finds the bell rung. */
static void ring(const struct worker *worker)
{
    const uint64_t one = 1;
    while (write(worker->bell, &one, sizeof one) < 0 && errno == EINTR)
        ;
    if (worker->attention)
        __atomic_store_n(worker->attention, 1, __ATOMIC_RELEASE);
}

/* Jobs that came at once: those that belong together are told of together. */
static void carry_out_all(struct worker *worker, struct job *job)
{
    size_t quiet = 0;
    while (job) {
        struct job *next = job->next;
        pthread_mutex_unlock(&worker->lock);
        job->error = carry_out(worker, job);
        pthread_mutex_lock(&worker->lock);
        append(&worker->finished, job);
        quiet += job->size;
        if (!next || next->hurries || quiet >= QUIET_BYTES) {
            ring(worker);
            quiet = 0;
        }
        job = next;
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    pthread_mutex_lock(&worker->lock);
    for (;;) {
        while (!worker->waiting.first && !worker->is_over)
            pthread_cond_wait(&worker->given, &worker->lock);
        if (!worker->waiting.first)
            break;
        carry_out_all(worker, take_all(&worker->waiting));
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

int worker_start(struct worker *worker, int descriptor, int witness, uint64_t *attention)
{
    worker->descriptor = descriptor;
    worker->witness = witness;
    worker->attention = attention;
    worker->waiting.end = &worker->waiting.first;
    worker->finished.end = &worker->finished.first;
    worker->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->bell < 0)
        return errno;
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->given, NULL);
    sigset_t all, before;
    sigfillset(&all); /* signals are the interpreter's thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&worker->thread, NULL, work, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        close(worker->bell);
        worker->bell = -1;
    } else {
        pthread_setname_np(worker->thread, "disk");
    }
    return error;
}

void worker_submit(struct worker *worker, struct job *job)
{
    pthread_mutex_lock(&worker->lock);
    append(&worker->waiting, job);
    pthread_mutex_unlock(&worker->lock);
}

void worker_kick(struct worker *worker)
{
    pthread_cond_signal(&worker->given);
}

struct job *worker_take(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    struct job *found = take_all(&worker->finished);
    pthread_mutex_unlock(&worker->lock);
    return found;
}

void worker_join(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    worker->is_over = true;
    pthread_mutex_unlock(&worker->lock);
    pthread_cond_signal(&worker->given);
    pthread_join(worker->thread, NULL);
    close(worker->bell);
    worker->bell = -1;
}
