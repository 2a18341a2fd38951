/* Table: the rows and the heap of a mapped tail. A part of _tail.c. */

typedef struct {
    PyObject_HEAD
    Py_buffer buffer;
    PyObject *writer;
    uint8_t *rows_at;
    uint8_t *heap_at;
    uint64_t first;
    uint64_t rows;
    uint64_t heap_bytes;
    uint64_t next;
    uint64_t free;
    /* 0 once a row was refused or the table was closed: then nothing is taken any more, however small, so that no
       later row of this tail overtakes the first row of the next one. */
    int open;
} Table;

static inline int
has_room(const Table *table, uint64_t length)
{
    return table->open && table->next < table->rows && length <= table->heap_bytes - table->free;
}

/* Complete `body` for the next slot; has_room() was true. */
static inline void
place(const Table *table, Body *body, uint64_t length)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    body->time = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    body->thread = (uint32_t)PyThread_get_thread_ident();
    body->heap = (uint32_t)table->free;
    body->length = (uint32_t)length;
    body->reserved = 0;
}

/* Store a row whose payload is in the heap already, and publish it by its last word. */
static inline uint64_t
publish(Table *table, const Body *body, uint64_t digest)
{
    uint64_t sequence = table->first + table->next;
    uint8_t *row = table->rows_at + table->next * ROW_BYTES;
    table->next += 1;
    table->free += body->length;
    memcpy(row, body, BODY_BYTES);
    __atomic_store_n((uint64_t *)(void *)(row + BODY_BYTES), check_word(sequence, digest), __ATOMIC_RELEASE);
    return sequence;
}

static inline uint64_t
store_short(Table *table, Short *row, size_t length)
{
    place(table, &row->body, length);
    uint64_t digest = XXH3_64bits(row, BODY_BYTES + length);
    memcpy(table->heap_at + table->free, row->payload, length);
    return publish(table, &row->body, digest);
}

/* Kept out of line, so that the state of the hash is on the stack only of calls that need it. */
__attribute__((noinline)) static uint64_t
store_parts(Table *table, Body *body, const Part *parts, int count, size_t length)
{
    XXH3_state_t state;
    uint8_t *heap = table->heap_at + table->free;
    place(table, body, length);
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, body, BODY_BYTES);
    for (int index = 0; index < count; index++) {
        XXH3_64bits_update(&state, parts[index].bytes, parts[index].length);
        memcpy(heap, parts[index].bytes, parts[index].length);
        heap += parts[index].length;
    }
    return publish(table, body, XXH3_64bits_digest(&state));
}

/* Read an unsigned integer of at most `most`; what struct.pack would refuse is refused with the same exception. */
static int
read_unsigned(PyObject *value, uint64_t most, const char *what, uint64_t *result)
{
    uint64_t number;
    if (PyLong_Check(value)) {
        number = PyLong_AsUnsignedLongLong(value);
    }
    else if (PyIndex_Check(value)) {
        PyObject *index = PyNumber_Index(value);
        if (index == NULL) {
            return -1;
        }
        number = PyLong_AsUnsignedLongLong(index);
        Py_DECREF(index);
    }
    else {
        PyErr_Format(struct_error, "%s is not an integer", what);
        return -1;
    }
    if (number == (uint64_t)-1 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
            PyErr_Clear();
            PyErr_Format(struct_error, "%s is out of its range, 0 to %llu", what, (unsigned long long)most);
        }
        return -1;
    }
    if (number > most) {
        PyErr_Format(struct_error, "%s is out of its range, 0 to %llu", what, (unsigned long long)most);
        return -1;
    }
    *result = number;
    return 0;
}

static const struct {
    const char *name;
    uint64_t most;
} FIELDS[6] = {
    {"code", UINT16_MAX}, {"name", UINT32_MAX},  {"subject", UINT64_MAX},
    {"object", UINT64_MAX}, {"other", UINT32_MAX}, {"flags", UINT16_MAX},
};

/* Read the first six arguments of append; NULL stands for one that was left out. */
static inline int
read_body(PyObject *const *values, Body *body)
{
    uint64_t numbers[6];
    for (int index = 0; index < 6; index++) {
        numbers[index] = 0;
        if (values[index] != NULL
            && read_unsigned(values[index], FIELDS[index].most, FIELDS[index].name, &numbers[index]) < 0) {
            return -1;
        }
    }
    body->code = (uint16_t)numbers[0];
    body->name = (uint32_t)numbers[1];
    body->subject = numbers[2];
    body->object = numbers[3];
    body->other = (uint32_t)numbers[4];
    body->flags = (uint16_t)numbers[5];
    return 0;
}

/* Store a row of checked numbers with a payload; 0 if there is no room. */
static inline uint64_t
store(Table *table, Short *row, const char *payload, size_t length)
{
    if (!has_room(table, length)) {
        return 0;
    }
    if (length <= SHORT_BYTES) {
        memcpy(row->payload, payload, length);
        return store_short(table, row, length);
    }
    Part part = {(const uint8_t *)payload, length};
    return store_parts(table, &row->body, &part, 1, length);
}

static PyObject *
table_append(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    Table *table = (Table *)self;
    Short row;
    if (nargs != 7) {
        PyErr_Format(PyExc_TypeError, "append takes 7 arguments, not %zd", nargs);
        return NULL;
    }
    PyObject *payload = args[6];
    if (PyBytes_Check(payload)) {
        Py_INCREF(payload);
    }
    else {
        /* A copy, because what can be written to could change between the check and the store. */
        Py_buffer view;
        if (PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE) < 0) {
            return NULL;
        }
        payload = PyBytes_FromStringAndSize(view.buf, view.len);
        PyBuffer_Release(&view);
        if (payload == NULL) {
            return NULL;
        }
    }
    char *bytes;
    Py_ssize_t length;
    uint64_t sequence;
    if (PyBytes_AsStringAndSize(payload, &bytes, &length) < 0 || read_body(args, &row.body) < 0) {
        Py_DECREF(payload);
        return NULL;
    }
    if ((uint64_t)length > UINT32_MAX) {
        Py_DECREF(payload);
        PyErr_SetString(struct_error, "the payload's length is out of its range, 0 to 4294967295");
        return NULL;
    }
    sequence = store(table, &row, bytes, (size_t)length);
    if (sequence == 0) {
        table->open = 0;
    }
    Py_DECREF(payload);
    return PyLong_FromUnsignedLongLong(sequence);
}

static PyObject *
table_close(PyObject *self, PyObject *Py_UNUSED(unused))
{
    Table *table = (Table *)self;
    table->open = 0;
    if (table->rows_at != NULL) {
        table->rows_at = table->heap_at = NULL;
        PyBuffer_Release(&table->buffer);
    }
    Py_RETURN_NONE;
}

static PyObject *
table_get_fill(PyObject *self, void *Py_UNUSED(unused))
{
    Table *table = (Table *)self;
    double rows = table->rows ? (double)table->next / (double)table->rows : 1.0;
    double heap = table->heap_bytes ? (double)table->free / (double)table->heap_bytes : 1.0;
    return PyFloat_FromDouble(!table->open ? 1.0 : rows > heap ? rows : heap);
}

static PyObject *
table_get_used(PyObject *self, void *Py_UNUSED(unused))
{
    return PyLong_FromUnsignedLongLong(((Table *)self)->next);
}

static PyObject *
table_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"buffer", "writer", "first", "rows", "heap_offset", "heap_bytes", NULL};
    PyObject *buffer, *writer, *given[4];
    uint64_t numbers[4];
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OSOOOO:Table", names, &buffer, &writer, &given[0], &given[1],
                                     &given[2], &given[3])) {
        return NULL;
    }
    for (int index = 0; index < 4; index++) {
        if (read_unsigned(given[index], UINT64_MAX, names[index + 2], &numbers[index]) < 0) {
            return NULL;
        }
    }
    uint64_t rows = numbers[1], heap_offset = numbers[2], heap_bytes = numbers[3];
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    uint64_t size = (uint64_t)view.len;
    /* Everything that is stored later lies within these bounds, so they are checked once, without overflow. */
    if (size < PAGE || rows > (size - PAGE) / ROW_BYTES || heap_offset < PAGE + rows * ROW_BYTES || heap_offset > size
        || heap_bytes > size - heap_offset || (uintptr_t)view.buf % 8 != 0) {
        PyBuffer_Release(&view);
        PyErr_SetString(PyExc_ValueError, "rows and heap do not lie one behind the other in the buffer");
        return NULL;
    }
    Table *table = (Table *)PyType_GenericAlloc(type, 0);
    if (table == NULL) {
        PyBuffer_Release(&view);
        return NULL;
    }
    table->buffer = view;
    table->writer = Py_NewRef(writer);
    table->rows_at = (uint8_t *)view.buf + PAGE;
    table->heap_at = (uint8_t *)view.buf + heap_offset;
    table->first = numbers[0];
    table->rows = rows;
    /* A row has 32 bits for where its payload begins, and as many for its length. */
    table->heap_bytes = heap_bytes > UINT32_MAX ? UINT32_MAX : heap_bytes;
    table->open = 1;
    return (PyObject *)table;
}

static void
table_dealloc(PyObject *self)
{
    Table *table = (Table *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (table->rows_at != NULL) {
        PyBuffer_Release(&table->buffer);
    }
    Py_XDECREF(table->writer);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef table_methods[] = {
    {"append", (PyCFunction)(void (*)(void))table_append, METH_FASTCALL,
     PyDoc_STR("append(code, name, subject, object, other, flags, payload, /)\n--\n\n"
               "Store one row; return its sequence number, or 0 if there is no room.")},
    {"close", table_close, METH_NOARGS,
     PyDoc_STR("close()\n--\n\nLet go of the buffer; later calls of append store nothing.")},
    {NULL},
};

static PyGetSetDef table_getset[] = {
    {"fill", table_get_fill, NULL, PyDoc_STR("How much is used, from 0 to 1."), NULL},
    {"used", table_get_used, NULL, PyDoc_STR("How many rows were stored."), NULL},
    {NULL},
};

static PyType_Slot table_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Table(buffer, writer, first, rows, heap_offset, heap_bytes)\n--\n\n"
                                  "The rows and the heap of a mapped tail.")},
    {Py_tp_new, table_new},
    {Py_tp_dealloc, table_dealloc},
    {Py_tp_methods, table_methods},
    {Py_tp_getset, table_getset},
    {0, NULL},
};

static PyType_Spec table_spec = {
    .name = "braid_hpc.kernels._tail.Table",
    .basicsize = sizeof(Table),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = table_slots,
};
