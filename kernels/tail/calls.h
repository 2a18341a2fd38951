/* Call and Stack: calls of decorated functions, while they run. A part of _tail.c. */

/* The states of a call. Only one thread takes a call from PENDING to another state. One that is WANTED gets a row of its
 * beginning before that of its end. */
enum { PENDING = 0, BEGUN = 1, ENDED = 2, WANTED = 3 };

/* A call of a decorated function, from its beginning to its end; of PENDING ones no row tells yet. */
typedef struct Call {
    PyObject_HEAD
    PyObject *run;
    PyObject *about;
    PyObject *outer;
    /* The activity of the context when it began, and the call below it on its stack. */
    PyObject *entry;
    struct Call *below;
    PyObject *args;
    PyObject *kwargs;
    /* The Activity, once its beginning is recorded; its sequence there and the id of the log are kept beside it. */
    PyObject *activity;
    PyObject *writer;
    uint64_t sequence;
    int64_t began;
    /* Sequence of the last row before the call. */
    uint64_t mark;
    int state;
    /* All pending calls of the process are one list, which the background thread looks through. */
    struct Call *before;
    struct Call *behind;
} Call;

/* The calls that run in a context, the innermost on top. A context that is copied to another thread gets another one. */
typedef struct {
    PyObject_HEAD
    Call *top;
    unsigned long thread;
} Stack;

static Call *pending, *spare_call;
/* How the activity of a context is read, its stack read and set, and what records the end of a call that is not plain. */
static PyObject *context_get, *stack_get, *stack_set, *finish_call, *method_type;
static PyTypeObject *stack_type;
/* The run that is open; a new number whenever it changes. */
static PyObject *open_run, *open_intern, *open_held;
static Cell *open_cell;
static uint64_t generation = 1;

static inline int64_t
monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void
settle(Call *call, int state)
{
    if (call->state == PENDING) {
        if (call->before != NULL) {
            call->before->behind = call->behind;
        }
        else if (pending == call) {
            pending = call->behind;
        }
        if (call->behind != NULL) {
            call->behind->before = call->before;
        }
        call->before = call->behind = NULL;
    }
    call->state = state;
}

/* Begin a call; the reference to `entry` is taken over. */
static inline Call *
make_call(PyObject *about, PyObject *entry, Stack *stack, PyObject *args, PyObject *kwargs)
{
    Call *call = spare_call;
    if (call != NULL) {
        spare_call = NULL;
        PyObject_Init((PyObject *)call, call_type);
    }
    else if ((call = PyObject_New(Call, call_type)) == NULL) {
        return NULL;
    }
    call->run = Py_NewRef(open_run);
    call->about = Py_NewRef(about);
    /* Nothing was entered since the call below began: that is what this one stands in. */
    Call *below = stack->top;
    call->outer = Py_NewRef(below != NULL && below->entry == entry ? (PyObject *)below : entry);
    call->entry = entry;
    call->below = below;
    stack->top = (Call *)Py_NewRef((PyObject *)call);
    call->args = Py_NewRef(args);
    call->kwargs = Py_XNewRef(kwargs);
    call->activity = call->writer = NULL;
    call->sequence = 0;
    call->began = monotonic();
    call->mark = 0;
    call->state = PENDING;
    call->before = NULL;
    call->behind = pending;
    if (pending != NULL) {
        pending->before = call;
    }
    pending = call;
    return call;
}

static void
call_dealloc(PyObject *self)
{
    Call *call = (Call *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject *held[] = {call->run,    call->about,    call->outer,  call->entry,
                        call->args,   call->kwargs,   call->activity, call->writer,
                        (PyObject *)call->below};
    settle(call, ENDED);
    if (spare_call == NULL) {
        spare_call = call;
    }
    else {
        PyObject_Free(self);
    }
    for (size_t index = 0; index < sizeof(held) / sizeof(held[0]); index++) {
        Py_XDECREF(held[index]);
    }
    Py_DECREF(type);
}

/* Take a call off its stack, wherever it is there: only calls of one thread of execution end in their order. */
static inline void
leave(Stack *stack, Call *call)
{
    Call **place = &stack->top;
    while (*place != NULL && *place != call) {
        place = &(*place)->below;
    }
    if (*place == call) {
        *place = call->below;
        call->below = NULL;
        Py_DECREF((PyObject *)call);
    }
}

static PyObject *
call_get(PyObject *self, void *offset)
{
    PyObject *value = *(PyObject **)(void *)((char *)self + (intptr_t)offset);
    return Py_NewRef(value != NULL ? value : Py_None);
}

static PyObject *
call_get_open(PyObject *self, void *Py_UNUSED(unused))
{
    return PyBool_FromLong(((Call *)self)->state != ENDED);
}

static PyObject *
call_get_began(PyObject *self, void *Py_UNUSED(unused))
{
    return PyLong_FromLongLong(((Call *)self)->began);
}

static PyObject *
call_get_mark(PyObject *self, void *Py_UNUSED(unused))
{
    return PyLong_FromUnsignedLongLong(((Call *)self)->mark);
}

static int
call_set_activity(PyObject *self, PyObject *value, void *Py_UNUSED(unused))
{
    Call *call = (Call *)self;
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "what was recorded cannot be taken back");
        return -1;
    }
    uint64_t sequence = 0;
    PyObject *number = PyObject_GetAttrString(value, "sequence"), *writer = PyObject_GetAttrString(value, "writer");
    int failed = number == NULL || writer == NULL || read_unsigned(number, UINT64_MAX, "sequence", &sequence) < 0;
    Py_XDECREF(number);
    if (failed) {
        Py_XDECREF(writer);
        return -1;
    }
    PyObject *before[] = {call->activity, call->writer};
    call->activity = Py_NewRef(value);
    call->writer = writer;
    call->sequence = sequence;
    Py_XDECREF(before[0]);
    Py_XDECREF(before[1]);
    return 0;
}

static PyObject *
call_claim(PyObject *self, PyObject *state)
{
    Call *call = (Call *)self;
    uint64_t number;
    if (read_unsigned(state, WANTED, "state", &number) < 0) {
        return NULL;
    }
    if (call->state != PENDING && (call->state != WANTED || number != BEGUN)) {
        Py_RETURN_FALSE;
    }
    settle(call, (int)number);
    Py_RETURN_TRUE;
}

static PyMethodDef call_methods[] = {
    {"claim", call_claim, METH_O,
     PyDoc_STR("claim(state, /)\n--\n\nTake a call of which no row tells to another state; return whether it was one.")},
    {NULL},
};

#define FIELD(name, member, doc) {name, call_get, NULL, PyDoc_STR(doc), (void *)offsetof(Call, member)}

static PyGetSetDef call_getset[] = {
    FIELD("run", run, "The run it is recorded in."),
    FIELD("about", about, "What is known of the function."),
    FIELD("_outer", outer, "What it was called in."),
    FIELD("_entry", entry, "The activity of the context when it began, or None."),
    FIELD("args", args, "Its arguments."),
    FIELD("kwargs", kwargs, "Its arguments by name, or None."),
    {"activity", call_get, call_set_activity, PyDoc_STR("Its activity, once the beginning is recorded."),
     (void *)offsetof(Call, activity)},
    {"open", call_get_open, NULL, PyDoc_STR("Whether it has not ended."), NULL},
    {"began", call_get_began, NULL, PyDoc_STR("Monotonic nanoseconds of its beginning."), NULL},
    {"mark", call_get_mark, NULL, PyDoc_STR("Sequence of the last row before it."), NULL},
    {NULL},
};

static PyType_Slot call_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("A call of a decorated function, while it runs.")},
    {Py_tp_dealloc, call_dealloc},
    {Py_tp_methods, call_methods},
    {Py_tp_getset, call_getset},
    {0, NULL},
};

static PyType_Spec call_spec = {
    .name = "braid_hpc.kernels._tail.Call",
    .basicsize = sizeof(Call),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = call_slots,
};

static PyObject *
stack_get_top(PyObject *self, void *Py_UNUSED(unused))
{
    Call *top = ((Stack *)self)->top;
    return Py_NewRef(top != NULL ? (PyObject *)top : Py_None);
}

static void
stack_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF((PyObject *)((Stack *)self)->top);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyGetSetDef stack_getset[] = {
    {"top", stack_get_top, NULL, PyDoc_STR("The innermost call, or None."), NULL},
    {NULL},
};

static PyType_Slot stack_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("The calls that run in a context.")},
    {Py_tp_dealloc, stack_dealloc},
    {Py_tp_getset, stack_getset},
    {0, NULL},
};

static PyType_Spec stack_spec_of_calls = {
    .name = "braid_hpc.kernels._tail.Stack",
    .basicsize = sizeof(Stack),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = stack_slots,
};

/* Return the stack of this context and thread; one is made for the first call in it. */
static inline Stack *
present_stack(void)
{
    PyObject *found = PyObject_CallFunctionObjArgs(stack_get, NULL);
    unsigned long thread = PyThread_get_thread_ident();
    if (found == NULL || (Py_TYPE(found) == stack_type && ((Stack *)found)->thread == thread)) {
        return (Stack *)found;
    }
    Stack *stack = PyObject_New(Stack, stack_type);
    if (stack == NULL) {
        Py_DECREF(found);
        return NULL;
    }
    /* The call that the context was copied in stays below, also when it has ended. */
    stack->top = Py_TYPE(found) == stack_type ? (Call *)Py_XNewRef((PyObject *)((Stack *)found)->top) : NULL;
    stack->thread = thread;
    Py_DECREF(found);
    PyObject *token = PyObject_CallFunctionObjArgs(stack_set, (PyObject *)stack, NULL);
    if (token == NULL) {
        Py_DECREF((PyObject *)stack);
        return NULL;
    }
    Py_DECREF(token);
    return stack;
}
