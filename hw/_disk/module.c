/* hw._disk: the worker as Python has it. A job keeps its request and its memory until it is taken back. */
#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "worker.h"

#include <errno.h>
#include <string.h>

struct python_job {
    struct job job; /* first */
    PyObject *token;
    PyObject *bytes;  /* that are read into; or NULL */
    Py_buffer source; /* that is written; obj is NULL if there is none */
    struct step *steps; /* a commit's; or NULL */
};

typedef struct {
    PyObject_HEAD
    struct worker worker;
    Py_buffer attention;
} WorkerObject;

static void drop(struct python_job *job)
{
    Py_XDECREF(job->token);
    Py_XDECREF(job->bytes);
    if (job->source.obj)
        PyBuffer_Release(&job->source);
    PyMem_Free(job->steps);
    PyMem_Free(job);
}

static PyObject *worker_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    int descriptor, witness;
    Py_buffer attention;
    if (!PyArg_ParseTuple(args, "iw*i", &descriptor, &attention, &witness))
        return NULL;
    if ((size_t)attention.len < sizeof(uint64_t) || (uintptr_t)attention.buf % sizeof(uint64_t)) {
        PyBuffer_Release(&attention);
        PyErr_SetString(PyExc_ValueError, "attention is a word of 8 bytes");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    WorkerObject *self = (WorkerObject *)allocate(type, 0);
    if (!self) {
        PyBuffer_Release(&attention);
        return NULL;
    }
    self->attention = attention;
    self->worker.bell = -1;
    int error = worker_start(&self->worker, descriptor, witness, attention.buf);
    if (error) {
        Py_DECREF(self);
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return (PyObject *)self;
}

static PyObject *worker_close(WorkerObject *self, PyObject *Py_UNUSED(ignored))
{
    if (self->worker.bell >= 0) {
        Py_BEGIN_ALLOW_THREADS
        worker_join(&self->worker);
        Py_END_ALLOW_THREADS
        for (struct job *job = worker_take(&self->worker), *next; job; job = next) {
            next = job->next;
            drop((struct python_job *)job);
        }
    }
    Py_RETURN_NONE;
}

static void worker_dealloc(WorkerObject *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    Py_XDECREF(worker_close(self, NULL));
    PyBuffer_Release(&self->attention);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF((PyObject *)type);
}

static PyObject *submit(WorkerObject *self, struct python_job *job, PyObject *token)
{
    if (self->worker.bell < 0) {
        drop(job);
        PyErr_SetString(PyExc_ValueError, "the worker is closed");
        return NULL;
    }
    job->token = Py_NewRef(token);
    worker_submit(&self->worker, &job->job);
    Py_RETURN_NONE;
}

static struct python_job *new_job(enum job_kind kind, long long offset)
{
    struct python_job *job = PyMem_Calloc(1, sizeof *job);
    if (!job) {
        PyErr_NoMemory();
        return NULL;
    }
    job->job.kind = kind;
    job->job.offset = (off_t)offset;
    return job;
}

static PyObject *worker_read(WorkerObject *self, PyObject *args)
{
    PyObject *token;
    long long offset;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "OLn", &token, &offset, &size))
        return NULL;
    struct python_job *job = new_job(JOB_READ, offset);
    if (!job)
        return NULL;
    job->bytes = PyBytes_FromStringAndSize(NULL, size);
    if (!job->bytes) {
        drop(job);
        return NULL;
    }
    job->job.data = PyBytes_AsString(job->bytes);
    job->job.size = (size_t)size;
    return submit(self, job, token);
}

/* Keep a buffer until the job is taken back. Returns false, and the job is dropped, if it is none. */
static bool keep_source(struct python_job *job, PyObject *data)
{
    if (PyObject_GetBuffer(data, &job->source, PyBUF_SIMPLE) < 0) {
        job->source.obj = NULL;
        drop(job);
        return false;
    }
    job->job.data = job->source.buf;
    job->job.size = (size_t)job->source.len;
    return true;
}

static PyObject *worker_write(WorkerObject *self, PyObject *args)
{
    PyObject *token, *data;
    long long offset;
    if (!PyArg_ParseTuple(args, "OLO", &token, &offset, &data))
        return NULL;
    struct python_job *job = new_job(JOB_WRITE, offset);
    if (!job)
        return NULL;
    return keep_source(job, data) ? submit(self, job, token) : NULL;
}

/* Whether the writes have just as many bytes as there are. */
static bool fits(const struct job *job)
{
    size_t left = job->size / SECTOR_BYTES;
    for (size_t at = 0; at < job->count; at++) {
        if (job->steps[at].sectors > left)
            return false;
        left -= job->steps[at].sectors;
    }
    return !left && job->size % SECTOR_BYTES == 0;
}

static PyObject *worker_commit(WorkerObject *self, PyObject *args)
{
    PyObject *token, *data;
    Py_buffer table;
    if (!PyArg_ParseTuple(args, "Oy*O", &token, &table, &data))
        return NULL;
    struct python_job *job = new_job(JOB_COMMIT, 0);
    if (job)
        job->steps = PyMem_Malloc((size_t)table.len + 1);
    if (job && job->steps) {
        memcpy(job->steps, table.buf, (size_t)table.len);
        job->job.steps = job->steps;
        job->job.count = (size_t)table.len / sizeof *job->steps;
        job->job.hurries = true;
    }
    bool is_whole = table.len % (Py_ssize_t)sizeof(struct step) == 0;
    PyBuffer_Release(&table);
    if (!job)
        return NULL;
    if (!job->steps) {
        drop(job);
        return PyErr_NoMemory();
    }
    if (!keep_source(job, data))
        return NULL;
    if (!is_whole || !fits(&job->job)) {
        drop(job);
        PyErr_SetString(PyExc_ValueError, "steps are pairs of 8 bytes, whose sectors are those of the data");
        return NULL;
    }
    return submit(self, job, token);
}

static PyObject *worker_flush(WorkerObject *self, PyObject *args)
{
    PyObject *token;
    int hurries;
    if (!PyArg_ParseTuple(args, "Op", &token, &hurries))
        return NULL;
    struct python_job *job = new_job(JOB_FLUSH, 0);
    if (!job)
        return NULL;
    job->job.hurries = hurries;
    return submit(self, job, token);
}

static PyObject *worker_start_work(WorkerObject *self, PyObject *Py_UNUSED(ignored))
{
    worker_kick(&self->worker);
    Py_RETURN_NONE;
}

/* What a job gives back, beside its error: bytes that were read, or how many steps of a commit have ended. */
static PyObject *found(const struct python_job *job)
{
    if (job->job.kind == JOB_COMMIT)
        return PyBytes_FromStringAndSize((const char *)&job->job.ended, sizeof job->job.ended);
    return Py_NewRef(job->bytes ? job->bytes : Py_None);
}

/* All are given back, or none and an exception is set: then those that are not in the list are lost with it. */
static PyObject *worker_finished(WorkerObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(0);
    if (!list)
        return NULL;
    for (struct job *each = worker_take(&self->worker), *next; each; each = next) {
        next = each->next;
        struct python_job *job = (struct python_job *)each;
        PyObject *entry = list ? Py_BuildValue("(OiN)", job->token, each->error, found(job)) : NULL;
        if (list && (!entry || PyList_Append(list, entry) < 0))
            Py_CLEAR(list);
        Py_XDECREF(entry);
        drop(job);
    }
    return list;
}

static PyObject *worker_bell(WorkerObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(self->worker.bell);
}

static PyMethodDef methods[] = {
    {"read", (PyCFunction)worker_read, METH_VARARGS, "read(token, offset, size): submit it."},
    {"write", (PyCFunction)worker_write, METH_VARARGS, "write(token, offset, data): submit it; data is kept until it is done."},
    {"flush", (PyCFunction)worker_flush, METH_VARARGS, "flush(token, hurries): submit it; hurries: tell of those before it first."},
    {"commit", (PyCFunction)worker_commit, METH_VARARGS, "commit(token, steps, data): submit it; data is kept until it is done."},
    {"kick", (PyCFunction)worker_start_work, METH_NOARGS, "kick(): begin with what was submitted."},
    {"finished", (PyCFunction)worker_finished, METH_NOARGS, "finished() -> [(token, errno, bytes that were read, steps that ended, or None)]."},
    {"close", (PyCFunction)worker_close, METH_NOARGS, "close(): wait for all that was submitted, and end the thread."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef attributes[] = {
    {"bell", (getter)worker_bell, NULL, "An eventfd that rings after something was finished; -1 once closed.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, worker_new},
    {Py_tp_dealloc, worker_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {Py_tp_doc, "Worker(descriptor, attention, witness): a thread that carries out requests to a file, one after the other."},
    {0, NULL},
};

static PyType_Spec specification = {"hw._disk.Worker", sizeof(WorkerObject), 0, Py_TPFLAGS_DEFAULT, slots};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_disk", "The thread of a disk.", -1, NULL, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__disk(void)
{
    PyObject *module = PyModule_Create(&definition);
    PyObject *type = module ? PyType_FromSpec(&specification) : NULL;
    if (!type || PyModule_AddObject(module, "Worker", type) < 0) {
        Py_XDECREF(type);
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
