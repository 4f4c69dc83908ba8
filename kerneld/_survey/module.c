/* kerneld._survey: what Python calls. */
#include "survey.h"

static const struct ram_api *ram_api;

#define NAME(name) #name,
static const char *const rule_names[] = {RULES(NAME)};
static const char *const kind_names[] = {KIND(NAME)};
#undef NAME
enum { RULE_COUNT = sizeof rule_names / sizeof *rule_names, KIND_COUNT = sizeof kind_names / sizeof *kind_names };
_Static_assert(sizeof(struct rules) == RULE_COUNT * 8, "the rules are a row of words");
_Static_assert(sizeof(struct kind) == KIND_COUNT * 8, "a kind is a row of words");

struct plan { /* what plan() makes: these, and then the references */
    struct rules rules;
    struct kind kinds[KINDS];
};

static int words_of(PyObject *numbers, const char *const *names, unsigned count, uint64_t *words)
{
    if (!PyDict_Check(numbers) || PyDict_Size(numbers) != (Py_ssize_t)count) {
        PyErr_Format(PyExc_ValueError, "there are %u numbers to name, %s first", count, names[0]);
        return -1;
    }
    for (unsigned i = 0; i < count; i++) {
        PyObject *value = PyDict_GetItemString(numbers, names[i]);
        if (!value)
            PyErr_Format(PyExc_KeyError, "%s is missing", names[i]);
        if (!value || !as_u64(value, &words[i]))
            return -1;
    }
    return 0;
}

/* plan(rules, kinds, references) -> bytes, as look() takes it. kinds: a dictionary for each of the 32 types. */
static PyObject *survey_plan(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *rules, *kinds, *references;
    struct plan plan;
    if (!PyArg_ParseTuple(args, "OO!S", &rules, &PyList_Type, &kinds, &references))
        return NULL;
    if (words_of(rules, rule_names, RULE_COUNT, (uint64_t *)&plan.rules) < 0)
        return NULL;
    if (PyList_Size(kinds) != KINDS) {
        PyErr_Format(PyExc_ValueError, "there are %d types", KINDS);
        return NULL;
    }
    for (unsigned i = 0; i < KINDS; i++)
        if (words_of(PyList_GetItem(kinds, i), kind_names, KIND_COUNT, (uint64_t *)&plan.kinds[i]) < 0)
            return NULL;
    PyObject *head = PyBytes_FromStringAndSize((const char *)&plan, sizeof plan);
    PyObject *whole = head ? PySequence_Concat(head, references) : NULL;
    Py_XDECREF(head);
    return whole;
}

static const struct check {
    const char *name;
    holds *holds;
    const char *also; /* what is shown with it */
} checks[] = {
    {"cap-type", holds_cap_type, NULL},
    {"cap-object", holds_cap_object, NULL},
    {"free-index", holds_free_index, NULL},
    {"bound", holds_bound, NULL},
    {"interrupts", holds_interrupts, NULL},
    {"io-ports", holds_io_ports, NULL},
    {"notice-target", holds_notice_target, NULL},
}, in_order[] = { /* each only where those before it hold */
    {"order-linked", holds_order_linked, NULL},
    {"order-acyclic", holds_order_acyclic, NULL},
    {"object-together", holds_object_together, NULL},
    {"inside-parent", holds_memory, "disjoint"},
};

static int append(PyObject *list, PyObject *item)
{
    int failed = item ? PyList_Append(list, item) : -1;
    Py_XDECREF(item);
    return failed;
}

static int run_checks(struct survey *survey, PyObject *held)
{
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (checks[i].holds(survey) && append(held, PyUnicode_FromString(checks[i].name)) < 0)
            return -1;
    for (size_t i = 0; i < sizeof in_order / sizeof *in_order; i++) {
        if (!in_order[i].holds(survey))
            break;
        if (append(held, PyUnicode_FromString(in_order[i].name)) < 0)
            return -1;
        if (in_order[i].also && append(held, PyUnicode_FromString(in_order[i].also)) < 0)
            return -1;
    }
    return survey->failed ? -1 : 0;
}

/* A tuple of so many words, in their order. */
static PyObject *row_of(const uint64_t *words, Py_ssize_t count)
{
    PyObject *row = PyTuple_New(count);
    for (Py_ssize_t i = 0; row && i < count; i++) {
        PyObject *word = PyLong_FromUnsignedLongLong(words[i]);
        if (!word || PyTuple_SetItem(row, i, word) < 0)
            Py_CLEAR(row);
    }
    return row;
}

_Static_assert(offsetof(struct held, owner) == 5 * sizeof(uint64_t), "a slot is a row of words, its owner the last");

static PyObject *plain_slots(const struct survey *survey)
{
    PyObject *list = PyList_New((Py_ssize_t)survey->slots.count);
    for (size_t i = 0; list && i < survey->slots.count; i++) {
        PyObject *row = row_of(&slot_number(survey, i)->at, 5);
        if (!row || PyList_SetItem(list, (Py_ssize_t)i, row) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *plain_owners(const struct survey *survey)
{
    PyObject *list = PyList_New((Py_ssize_t)survey->slots.count);
    for (size_t i = 0; list && i < survey->slots.count; i++) {
        PyObject *owner = PyLong_FromUnsignedLongLong(slot_number(survey, i)->owner);
        if (!owner || PyList_SetItem(list, (Py_ssize_t)i, owner) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *plain_objects(const struct survey *survey)
{
    PyObject *list = PyList_New((Py_ssize_t)survey->objects.count);
    const struct object *object = survey->objects.items;
    for (size_t i = 0; list && i < survey->objects.count; i++, object++) {
        PyObject *row = row_of(&object->kind, 4);
        if (!row || PyList_SetItem(list, (Py_ssize_t)i, row) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *plain_strays(const struct survey *survey)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < survey->strays.count; i++)
        if (append(list, PyLong_FromUnsignedLongLong(((uint64_t *)survey->strays.items)[i])) < 0)
            Py_CLEAR(list);
    return list;
}

static int read_starts(PyObject *starts, struct range *ranges)
{
    for (Py_ssize_t i = 0; i < PyList_Size(starts); i++) {
        unsigned long long at, count, owner;
        if (!PyArg_ParseTuple(PyList_GetItem(starts, i), "KKK", &at, &count, &owner))
            return -1;
        ranges[i] = (struct range){at, count, owner};
    }
    return 0;
}

static PyObject *looked(struct survey *survey, PyObject *starts)
{
    size_t count = (size_t)PyList_Size(starts);
    struct range *ranges = PyMem_Malloc((count + 1) * sizeof *ranges);
    PyObject *held = PyList_New(0);
    survey->damage = PyList_New(0);
    PyObject *result = NULL;
    if (!ranges)
        PyErr_NoMemory();
    else if (held && survey->damage && read_starts(starts, ranges) == 0 && survey_walk(survey, ranges, count) == 0 &&
             run_checks(survey, held) == 0)
        result = Py_BuildValue("(NNNNOO)", plain_slots(survey), plain_owners(survey), plain_objects(survey),
                               plain_strays(survey), survey->damage, held);
    PyMem_Free(ranges);
    Py_XDECREF(held);
    Py_XDECREF(survey->damage);
    return result;
}

/* look(ram, plan, starts) -> (slots, owners, objects, stray, damage, names of predicates that hold). */
static PyObject *survey_look(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *ram, *plan, *starts;
    char *data;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "O!SO!", ram_api->ram_type, &ram, &plan, &PyList_Type, &starts) ||
        PyBytes_AsStringAndSize(plan, &data, &size) < 0)
        return NULL;
    if (size < (Py_ssize_t)sizeof(struct plan) || (size - sizeof(struct plan)) % sizeof(struct reference)) {
        PyErr_SetString(PyExc_ValueError, "the plan is what plan() made");
        return NULL;
    }
    const struct plan *made = (const void *)data;
    struct survey survey = {
        .ram = (RamObject *)ram,
        .rules = &made->rules,
        .kinds = made->kinds,
        .references = (const void *)(data + sizeof *made),
        .reference_count = (size - sizeof *made) / sizeof(struct reference),
    };
    if (!ram_api->check(survey.ram, made->rules.irq_slots, made->rules.irqs * made->rules.slot_bytes) ||
        !ram_api->check(survey.ram, made->rules.irq_states, made->rules.irqs * 8) ||
        !ram_api->check(survey.ram, made->rules.io_port_bitmap, made->rules.io_ports / 8))
        return NULL;
    PyObject *result = looked(&survey, starts);
    void *const mine[] = {survey.slots.items,       survey.objects.items,     survey.pending.items,
                          survey.strays.items,      survey.slot_at.entries,   survey.object_at.entries,
                          survey.ranges.entries,    survey.order};
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++)
        PyMem_Free(mine[i]);
    return result;
}

static PyMethodDef methods[] = {
    {"plan", survey_plan, METH_VARARGS, "plan(rules, kinds, references) -> bytes."},
    {"look", survey_look, METH_VARARGS, "look(ram, plan, starts) -> (slots, owners, objects, stray, damage, held)."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_survey", "A look at all of RAM.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__survey(void)
{
    PyObject *ram = PyImport_ImportModule("hw._ram");
    if (!ram)
        return NULL;
    Py_DECREF(ram); /* it stays loaded */
    ram_api = PyCapsule_Import(RAM_API_NAME, 0);
    return ram_api ? PyModule_Create(&definition) : NULL;
}
