/* Function: a decorated function; its calls become rows. A part of _tail.c. */

typedef struct {
    PyObject_HEAD
    PyObject *function;
    PyObject *about;
    PyObject *name;
    PyObject *payload;
    PyObject *dict;
    PyObject *weak;
    uint64_t generation;
    uint32_t number;
} Function;

/* Number of the function's name in the log of the run that is open; 0 if there is none. */
__attribute__((noinline)) static void
bind(Function *self)
{
    uint64_t number = 0;
    PyObject *run = Py_NewRef(open_run), *intern = Py_NewRef(open_intern);
    uint64_t of = generation;
    PyObject *result = PyObject_CallFunctionObjArgs(intern, self->name, NULL);
    if (result == NULL || read_unsigned(result, UINT32_MAX, "name", &number) < 0) {
        PyErr_Clear();
        number = 0;
    }
    Py_XDECREF(result);
    Py_DECREF(intern);
    Py_DECREF(run);
    self->number = (uint32_t)number;
    self->generation = of;
}

/* Find the row that tells of the beginning of what a call stands in; -1 where only Python can. */
static inline int
outer_sequence(PyObject *outer, PyObject *writer, uint64_t *sequence)
{
    *sequence = 0;
    if (outer == Py_None) {
        return 0;
    }
    if (Py_TYPE(outer) == call_type) {
        Call *call = (Call *)outer;
        *sequence = call->sequence;
        return call->state == BEGUN && call->writer == writer && call->sequence != 0 ? 0 : -1;
    }
    int same = 0;
    PyObject *value = PyObject_GetAttrString(outer, "open");
    same = value == Py_True;
    Py_XDECREF(value);
    if (same) {
        value = PyObject_GetAttrString(outer, "writer");
        same = value == writer;
        Py_XDECREF(value);
    }
    if (same) {
        value = PyObject_GetAttrString(outer, "sequence");
        same = value != NULL && PyLong_Check(value) && read_unsigned(value, UINT64_MAX, "sequence", sequence) == 0;
        Py_XDECREF(value);
    }
    PyErr_Clear();
    return same && *sequence != 0 ? 0 : -1;
}

/* Record a call of which no row tells and of which there is nothing to say but that it was: 0 if that was done. */
static inline int
record_plain(Function *self, Call *call)
{
    char *payload;
    Py_ssize_t length;
    Short row;
    if (self->generation != generation || self->number == 0 || open_cell == NULL || open_cell->table == NULL
        || PyBytes_AsStringAndSize(self->payload, &payload, &length) < 0 || (size_t)length > SHORT_BYTES) {
        PyErr_Clear();
        return -1;
    }
    if (outer_sequence(call->outer, open_cell->table->writer, &row.body.subject) < 0) {
        return -1;
    }
    Table *table = open_cell->table;
    if (call->state != PENDING || table == NULL || !has_room(table, (uint64_t)length)) {
        return -1;
    }
    row.body.name = self->number;
    row.body.other = 0;
    row.body.code = CALL_CODE;
    row.body.flags = 0;
    place(table, &row.body, (uint64_t)length);
    row.body.object = (uint64_t)(row.body.time - call->began);
    memcpy(row.payload, payload, (size_t)length);
    memcpy(table->heap_at + table->free, payload, (size_t)length);
    publish(table, &row.body, XXH3_64bits(&row, BODY_BYTES + (size_t)length));
    settle(call, ENDED);
    return 0;
}

/* Have Python record the end; what passes through the call goes on unchanged. */
__attribute__((noinline)) static PyObject *
record_slowly(Call *call, PyObject *result)
{
    PyObject *kind = NULL, *error = NULL, *trace = NULL;
    if (result == NULL) {
        PyErr_Fetch(&kind, &error, &trace);
        PyErr_NormalizeException(&kind, &error, &trace);
        if (trace != NULL && error != NULL) {
            PyException_SetTraceback(error, trace);
        }
    }
    PyObject *done = PyObject_CallFunctionObjArgs(finish_call, (PyObject *)call, error != NULL ? error : Py_None,
                                                  result != NULL ? result : Py_None, NULL);
    settle(call, ENDED);
    if (done != NULL) {
        Py_DECREF(done);
    }
    else if (result != NULL) {
        /* Only where the user asked for exceptions. */
        Py_DECREF(result);
        return NULL;
    }
    else {
        PyErr_Clear();
    }
    if (result == NULL) {
        PyErr_Restore(kind, error, trace);
    }
    return result;
}

static PyObject *
function_call(PyObject *object, PyObject *args, PyObject *kwargs)
{
    Function *self = (Function *)object;
    if (open_run == NULL) {
        return PyObject_Call(self->function, args, kwargs);
    }
    if (self->generation != generation) {
        bind(self);
        if (open_run == NULL) {
            return PyObject_Call(self->function, args, kwargs);
        }
    }
    Stack *stack = present_stack();
    PyObject *entry = stack != NULL ? PyObject_CallFunctionObjArgs(context_get, NULL) : NULL;
    Call *call = entry != NULL ? make_call(self->about, entry, stack, args, kwargs) : NULL;
    if (call == NULL) {
        Py_XDECREF(entry);
        Py_XDECREF((PyObject *)stack);
        return NULL;
    }
    if (open_cell != NULL && open_cell->table != NULL) {
        call->mark = open_cell->table->first + open_cell->table->next - 1;
    }
    else {
        PyObject *held = PyObject_CallFunctionObjArgs(open_held, NULL);
        if (held == NULL || read_unsigned(held, UINT64_MAX, "held", &call->mark) < 0) {
            PyErr_Clear();
        }
        Py_XDECREF(held);
    }
    PyObject *result = PyObject_Call(self->function, args, kwargs);
    if (result != Py_None || call->state != PENDING || PyTuple_Size(args) != 0
        || (kwargs != NULL && PyDict_Size(kwargs) != 0) || record_plain(self, call) < 0) {
        result = record_slowly(call, result);
    }
    leave(stack, call);
    Py_DECREF((PyObject *)stack);
    /* Whoever holds on to the call does not hold on to these. */
    PyObject *given[] = {call->args, call->kwargs};
    call->args = call->kwargs = NULL;
    Py_DECREF(call);
    Py_XDECREF(given[0]);
    Py_XDECREF(given[1]);
    return result;
}

static PyObject *
function_bind(PyObject *self, PyObject *instance, PyObject *Py_UNUSED(type))
{
    if (instance == NULL || instance == Py_None) {
        return Py_NewRef(self);
    }
    return PyObject_CallFunctionObjArgs(method_type, self, instance, NULL);
}

static PyObject *
function_repr(PyObject *self)
{
    PyObject *name = PyObject_GetAttrString(self, "__qualname__");
    if (name == NULL) {
        PyErr_Clear();
        name = Py_NewRef(((Function *)self)->name);
    }
    PyObject *result = PyUnicode_FromFormat("<recorded function %S at %p>", name, self);
    Py_DECREF(name);
    return result;
}

/* By its name, as a function is. */
static PyObject *
function_reduce(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return PyObject_GetAttrString(self, "__qualname__");
}

static PyObject *
function_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"function", "about", "name", "payload", NULL};
    PyObject *function, *about, *name, *payload;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOUS:Function", names, &function, &about, &name, &payload)) {
        return NULL;
    }
    if (finish_call == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "set_up was not called");
        return NULL;
    }
    Function *self = (Function *)PyType_GenericAlloc(type, 0);
    if (self != NULL) {
        self->function = Py_NewRef(function);
        self->about = Py_NewRef(about);
        self->name = Py_NewRef(name);
        self->payload = Py_NewRef(payload);
    }
    return (PyObject *)self;
}

static int
function_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Function *)self)->function);
    Py_VISIT(((Function *)self)->about);
    Py_VISIT(((Function *)self)->dict);
    return 0;
}

static int
function_clear(PyObject *self)
{
    Function *function = (Function *)self;
    Py_CLEAR(function->about);
    Py_CLEAR(function->dict);
    return 0;
}

static void
function_dealloc(PyObject *self)
{
    Function *function = (Function *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (function->weak != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    function_clear(self);
    Py_CLEAR(function->function);
    Py_CLEAR(function->name);
    Py_CLEAR(function->payload);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef function_methods[] = {
    {"__reduce__", function_reduce, METH_NOARGS, NULL},
    {NULL},
};

static PyMemberDef function_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(Function, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Function, weak), READONLY, NULL},
    {NULL},
};

static PyGetSetDef function_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL},
};

static PyType_Slot function_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("A function whose calls are recorded.")},
    {Py_tp_new, function_new},
    {Py_tp_dealloc, function_dealloc},
    {Py_tp_traverse, function_traverse},
    {Py_tp_clear, function_clear},
    {Py_tp_call, function_call},
    {Py_tp_descr_get, function_bind},
    {Py_tp_repr, function_repr},
    {Py_tp_methods, function_methods},
    {Py_tp_members, function_members},
    {Py_tp_getset, function_getset},
    {0, NULL},
};

static PyType_Spec function_spec = {
    .name = "braid_hpc.kernels._tail.Function",
    .basicsize = sizeof(Function),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = function_slots,
};

static PyObject *
set_up(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *get, *get_stack, *set_stack, *finish;
    if (!PyArg_ParseTuple(args, "OOOO:set_up", &get, &get_stack, &set_stack, &finish)) {
        return NULL;
    }
    replace(&context_get, get);
    replace(&stack_get, get_stack);
    replace(&stack_set, set_stack);
    replace(&finish_call, finish);
    Py_RETURN_NONE;
}

static PyObject *
set_run(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *run = Py_None, *cell = Py_None, *intern = Py_None, *held = Py_None;
    if (!PyArg_ParseTuple(args, "|OOOO:set_run", &run, &cell, &intern, &held)) {
        return NULL;
    }
    if (cell != Py_None && Py_TYPE(cell) != cell_type) {
        PyErr_SetString(PyExc_TypeError, "a run's log has a Cell or None");
        return NULL;
    }
    PyObject *before[] = {open_run, (PyObject *)open_cell, open_intern, open_held};
    int none = run == Py_None;
    open_run = none ? NULL : Py_NewRef(run);
    open_cell = none || cell == Py_None ? NULL : (Cell *)Py_NewRef(cell);
    open_intern = none ? NULL : Py_NewRef(intern);
    open_held = none ? NULL : Py_NewRef(held);
    generation++;
    for (size_t index = 0; index < sizeof(before) / sizeof(before[0]); index++) {
        Py_XDECREF(before[index]);
    }
    Py_RETURN_NONE;
}

static PyObject *
get_run(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return Py_NewRef(open_run != NULL ? open_run : Py_None);
}

static PyObject *
pending_calls(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    Py_ssize_t count = 0, index = 0;
    for (Call *call = pending; call != NULL; call = call->behind) {
        count++;
    }
    /* A garbage collection could end calls, so that there are fewer than were counted, and never more. */
    PyObject *tuple = PyTuple_New(count), *result;
    if (tuple == NULL) {
        return NULL;
    }
    for (Call *call = pending; call != NULL && index < count; call = call->behind) {
        PyTuple_SetItem(tuple, index++, Py_NewRef((PyObject *)call));
    }
    result = PyTuple_GetSlice(tuple, 0, index);
    Py_DECREF(tuple);
    return result;
}

static PyObject *
forget_calls(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    while (pending != NULL) {
        settle(pending, ENDED);
    }
    Py_RETURN_NONE;
}
