/* The tail of a rank log, compiled: the same bytes as MappedTail in braid_hpc/log/tail.py, in one call.
 *
 * Six things are in here, each beside a slower twin in Python that decides what is right:
 *
 *   Table         stores rows into the mapping of a tail               braid_hpc/log/tail.py, MappedTail.append
 *   Cell          the tail a writer stores into at present             braid_hpc/log/writer.py, RankLog.append
 *   StreamBase    a row of a stream becomes a payload and a row        braid_hpc/run/streams.py, Stream.append
 *   Rows          what that returns                                    braid_hpc/run/handles.py, Rows
 *   verify_rows   which rows of a tail carry their check               braid_hpc/reading/tails.py
 *   cut_rows      a full tail as columns, without the interpreter      braid_hpc/log/seal.py, event_buffers
 *
 * A call reserves its place, stores and publishes without running any Python code in between, and holds the
 * interpreter lock all the while: neither another thread nor a signal handler written in Python can see or interrupt
 * it half-way, and there is no lock of its own that they could meet. Whatever could run Python code (the conversion
 * of an argument) or fail is done before a place is reserved, so a refused call leaves no hole.
 *
 * Where an argument is not of the plain kind, Cell and StreamBase hand the whole call to their Python twin instead
 * of deciding themselves: only what is certain is done here.
 *
 * A file that is cut short while it is mapped ends the process with SIGBUS, here as in Python.
 */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define XXH_INLINE_ALL
#include "vendor/xxhash.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the log is little-endian, and this file stores numbers as they lie in memory"
#endif

#define PAGE 4096u
#define ROW_BYTES 64u
#define BODY_BYTES 56u
/* Payloads up to this length are hashed from one buffer on the stack: XXH3's streaming form costs more than a copy. */
#define SHORT_BYTES 1024u
#define MOST_COLUMNS 64
#define MOST_TEXTS 16

/* The first 56 bytes of a row, as in braid_hpc/log/layout.py; all of it is naturally aligned. */
typedef struct {
    int64_t time;
    uint64_t subject;
    uint64_t object;
    uint32_t name;
    uint32_t other;
    uint16_t code;
    uint16_t flags;
    uint32_t thread;
    uint32_t heap;
    uint32_t length;
    uint64_t reserved;
} Body;

_Static_assert(sizeof(Body) == BODY_BYTES, "a row's body is 56 bytes");

/* A row and its payload as one sequence of bytes, which is what the check is made of. */
typedef struct {
    Body body;
    uint8_t payload[SHORT_BYTES];
} Short;

_Static_assert(offsetof(Short, payload) == BODY_BYTES, "the payload follows the row");

typedef struct {
    const uint8_t *bytes;
    size_t length;
} Part;

static PyObject *struct_error;
static PyTypeObject *table_type, *cell_type, *rows_type;

static inline uint64_t
check_word(uint64_t sequence, uint64_t digest)
{
    uint64_t high = digest & 0xFFFFFFFF00000000u;
    return (high ? high : (uint64_t)1 << 32) | (sequence & 0xFFFFFFFFu);
}

/* ------------------------------------------------------------------ Table */

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

/* ------------------------------------------------------------------ Cell */

typedef struct {
    PyObject_HEAD
    Table *table;
    PyObject *slow;
} Cell;

/* Call the Python twin with the arguments as they came. */
__attribute__((noinline)) static PyObject *
call_slow(PyObject *slow, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyErr_Clear();
    if (slow == NULL) {
        PyErr_SetString(PyExc_ReferenceError, "its Python twin is gone");
        return NULL;
    }
    PyObject *result = NULL, *named = NULL, *values = PyTuple_New(nargs);
    if (values == NULL) {
        return NULL;
    }
    for (Py_ssize_t index = 0; index < nargs; index++) {
        PyTuple_SetItem(values, index, Py_NewRef(args[index]));
    }
    Py_ssize_t count = kwnames != NULL ? PyTuple_Size(kwnames) : 0;
    if (count > 0 && (named = PyDict_New()) == NULL) {
        goto done;
    }
    for (Py_ssize_t index = 0; index < count; index++) {
        if (PyDict_SetItem(named, PyTuple_GetItem(kwnames, index), args[nargs + index]) < 0) {
            goto done;
        }
    }
    /* The twin may drop the last reference to what holds it. */
    Py_INCREF(slow);
    result = PyObject_Call(slow, values, named);
    Py_DECREF(slow);
done:
    Py_DECREF(values);
    Py_XDECREF(named);
    return result;
}

static PyObject *
cell_append(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Cell *cell = (Cell *)self;
    PyObject *values[7] = {NULL};
    Short row;
    char *bytes = "";
    Py_ssize_t length = 0;
    if (nargs < 1 || nargs > 7) {
        goto slow;
    }
    for (Py_ssize_t index = 0; index < nargs; index++) {
        values[index] = args[index];
    }
    if (kwnames != NULL) {
        Py_ssize_t count = PyTuple_Size(kwnames);
        for (Py_ssize_t key = 0; key < count; key++) {
            PyObject *name = PyTuple_GetItem(kwnames, key);
            int index = 0;
            while (index < 7 && PyUnicode_CompareWithASCIIString(name, index < 6 ? FIELDS[index].name : "payload") != 0) {
                index++;
            }
            if (index == 7 || values[index] != NULL) {
                goto slow;
            }
            values[index] = args[nargs + key];
        }
    }
    if (values[6] != NULL
        && (!PyBytes_Check(values[6]) || PyBytes_AsStringAndSize(values[6], &bytes, &length) < 0)) {
        goto slow;
    }
    if (read_body(values, &row.body) < 0) {
        goto slow;
    }
    /* Only now, because reading a number may have run Python code that replaced the table. */
    if (cell->table != NULL) {
        uint64_t sequence = store(cell->table, &row, bytes, (size_t)length);
        if (sequence != 0) {
            return PyLong_FromUnsignedLongLong(sequence);
        }
    }
slow:
    return call_slow(cell->slow, args, nargs, kwnames);
}

static PyObject *
cell_point(PyObject *self, PyObject *table)
{
    Cell *cell = (Cell *)self;
    if (table != Py_None && Py_TYPE(table) != table_type) {
        PyErr_SetString(PyExc_TypeError, "a cell holds a Table or None");
        return NULL;
    }
    PyObject *before = (PyObject *)cell->table;
    cell->table = table == Py_None ? NULL : (Table *)Py_NewRef(table);
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

static PyObject *
cell_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"slow", NULL};
    PyObject *slow;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Cell", names, &slow)) {
        return NULL;
    }
    Cell *cell = (Cell *)PyType_GenericAlloc(type, 0);
    if (cell != NULL) {
        cell->slow = Py_NewRef(slow);
    }
    return (PyObject *)cell;
}

static int
cell_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Cell *)self)->slow);
    return 0;
}

static int
cell_clear(PyObject *self)
{
    Py_CLEAR(((Cell *)self)->slow);
    Py_CLEAR(((Cell *)self)->table);
    return 0;
}

static void
cell_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    cell_clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef cell_methods[] = {
    {"append", (PyCFunction)(void (*)(void))cell_append, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("append($self, code, name=0, subject=0, object=0, other=0, flags=0, payload=b'')\n--\n\n"
               "Store one row in the present tail; where that cannot be, return what the Python twin does.")},
    {"point", cell_point, METH_O, PyDoc_STR("point(table, /)\n--\n\nStore into another table from now on, or None.")},
    {NULL},
};

static PyType_Slot cell_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Cell(slow)\n--\n\nWhere a writer stores its rows at present.")},
    {Py_tp_new, cell_new},
    {Py_tp_dealloc, cell_dealloc},
    {Py_tp_traverse, cell_traverse},
    {Py_tp_clear, cell_clear},
    {Py_tp_methods, cell_methods},
    {0, NULL},
};

static PyType_Spec cell_spec = {
    .name = "braid_hpc.kernels._tail.Cell",
    .basicsize = sizeof(Cell),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = cell_slots,
};

/* ------------------------------------------------------------------ Rows */

/* The named tuple of braid_hpc/run/handles.py without its cost: a tuple subclass with its number takes 80 ns to make
 * and to forget, more than storing the row; this takes a tenth of that. It reads, compares, hashes and pickles alike. */
typedef struct {
    PyObject_HEAD
    PyObject *writer;
    PyObject *stream;
    uint64_t first;
    uint64_t count;
} Rows;

/* The memory of the last range that was forgotten: most callers forget the one before they get the next. */
static Rows *spare_rows;

static inline PyObject *
make_rows(PyObject *writer, PyObject *stream, uint64_t first, uint64_t count)
{
    Rows *rows = spare_rows;
    if (rows != NULL) {
        spare_rows = NULL;
        PyObject_Init((PyObject *)rows, rows_type);
    }
    else {
        rows = PyObject_New(Rows, rows_type);
        if (rows == NULL) {
            return NULL;
        }
    }
    rows->writer = Py_NewRef(writer);
    rows->stream = Py_NewRef(stream);
    rows->first = first;
    rows->count = count;
    return (PyObject *)rows;
}

static void
rows_dealloc(PyObject *self)
{
    Rows *rows = (Rows *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject *writer = rows->writer, *stream = rows->stream;
    if (spare_rows == NULL) {
        spare_rows = rows;
    }
    else {
        PyObject_Free(self);
    }
    Py_DECREF(writer);
    Py_DECREF(stream);
    Py_DECREF(type);
}

static PyObject *
rows_new(PyTypeObject *Py_UNUSED(type), PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"writer", "stream", "first", "count", NULL};
    PyObject *writer, *stream, *first, *count;
    uint64_t numbers[2];
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "SUOO:Rows", names, &writer, &stream, &first, &count)
        || read_unsigned(first, UINT64_MAX, "first", &numbers[0]) < 0
        || read_unsigned(count, UINT64_MAX, "count", &numbers[1]) < 0) {
        return NULL;
    }
    return make_rows(writer, stream, numbers[0], numbers[1]);
}

static PyObject *
rows_item(PyObject *self, Py_ssize_t index)
{
    Rows *rows = (Rows *)self;
    switch (index) {
    case 0:
        return Py_NewRef(rows->writer);
    case 1:
        return Py_NewRef(rows->stream);
    case 2:
        return PyLong_FromUnsignedLongLong(rows->first);
    case 3:
        return PyLong_FromUnsignedLongLong(rows->count);
    default:
        PyErr_SetString(PyExc_IndexError, "tuple index out of range");
        return NULL;
    }
}

static PyObject *
rows_get(PyObject *self, void *index)
{
    return rows_item(self, (Py_ssize_t)(intptr_t)index);
}

static Py_ssize_t
rows_length(PyObject *Py_UNUSED(self))
{
    return 4;
}

static PyObject *
rows_tuple(PyObject *self)
{
    Rows *rows = (Rows *)self;
    return Py_BuildValue("OOKK", rows->writer, rows->stream, (unsigned long long)rows->first,
                         (unsigned long long)rows->count);
}

static PyObject *
rows_subscript(PyObject *self, PyObject *key)
{
    PyObject *values = rows_tuple(self);
    PyObject *result = values != NULL ? PyObject_GetItem(values, key) : NULL;
    Py_XDECREF(values);
    return result;
}

static PyObject *
rows_compare(PyObject *self, PyObject *other, int operation)
{
    int same = Py_TYPE(other) == rows_type;
    if (!same && !PyTuple_Check(other)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    PyObject *result = NULL, *ours = rows_tuple(self), *theirs = same ? rows_tuple(other) : Py_NewRef(other);
    if (ours != NULL && theirs != NULL) {
        result = PyObject_RichCompare(ours, theirs, operation);
    }
    Py_XDECREF(ours);
    Py_XDECREF(theirs);
    return result;
}

static Py_hash_t
rows_hash(PyObject *self)
{
    PyObject *values = rows_tuple(self);
    Py_hash_t hash = values != NULL ? PyObject_Hash(values) : -1;
    Py_XDECREF(values);
    return hash;
}

static PyObject *
rows_repr(PyObject *self)
{
    Rows *rows = (Rows *)self;
    return PyUnicode_FromFormat("Rows(writer=%R, stream=%R, first=%llu, count=%llu)", rows->writer, rows->stream,
                                (unsigned long long)rows->first, (unsigned long long)rows->count);
}

static PyObject *
rows_reduce(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return Py_BuildValue("ON", rows_type, rows_tuple(self));
}

static PyMethodDef rows_methods[] = {
    {"__reduce__", rows_reduce, METH_NOARGS, NULL},
    {NULL},
};

static PyGetSetDef rows_getset[] = {
    {"writer", rows_get, NULL, PyDoc_STR("Id of the writer, 16 bytes."), (void *)0},
    {"stream", rows_get, NULL, PyDoc_STR("Name of the stream."), (void *)1},
    {"first", rows_get, NULL, PyDoc_STR("Number of the first row within this writer's part of the stream, from 0."),
     (void *)2},
    {"count", rows_get, NULL, PyDoc_STR("How many; 0 if the rows were refused."), (void *)3},
    {NULL},
};

static PyType_Slot rows_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Rows(writer, stream, first, count)\n--\n\nA range of rows of a stream.")},
    {Py_tp_new, rows_new},
    {Py_tp_dealloc, rows_dealloc},
    {Py_tp_methods, rows_methods},
    {Py_tp_getset, rows_getset},
    {Py_tp_repr, rows_repr},
    {Py_tp_hash, rows_hash},
    {Py_tp_richcompare, rows_compare},
    {Py_tp_iter, PySeqIter_New},
    {Py_sq_length, rows_length},
    {Py_sq_item, rows_item},
    {Py_mp_length, rows_length},
    {Py_mp_subscript, rows_subscript},
    {0, NULL},
};

static PyType_Spec rows_spec = {
    /* The name it is known by: what is pickled here is a named tuple where nothing is compiled. */
    .name = "braid_hpc.run.handles.Rows",
    .basicsize = sizeof(Rows),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = rows_slots,
};

/* ------------------------------------------------------------------ StreamBase */

typedef struct {
    PyObject_HEAD
    Cell *cell;
    PyObject *name;
    uint64_t next;
    uint32_t number;
    uint16_t code;
    int columns;
    int texts;
    size_t fixed_bytes;
    /* The struct code of each column, 't' for text and 'y' for bytes. */
    char kinds[MOST_COLUMNS];
} Stream;

static int
kind_bytes(char kind)
{
    switch (kind) {
    case '?':
    case 'b':
    case 'B':
        return 1;
    case 'h':
    case 'H':
        return 2;
    case 'i':
    case 'I':
    case 'f':
    case 't':
    case 'y':
        return 4;
    case 'q':
    case 'Q':
    case 'd':
        return 8;
    default:
        return 0;
    }
}

/* Read a signed integer as struct.pack does; -1 with or without an exception set if it is none or does not fit. */
static inline int
read_signed(PyObject *value, int64_t least, int64_t most, int64_t *result)
{
    long long number;
    if (PyLong_Check(value)) {
        number = PyLong_AsLongLong(value);
    }
    else if (PyIndex_Check(value)) {
        PyObject *index = PyNumber_Index(value);
        if (index == NULL) {
            return -1;
        }
        number = PyLong_AsLongLong(index);
        Py_DECREF(index);
    }
    else {
        return -1;
    }
    *result = number;
    return (number == -1 && PyErr_Occurred()) || number < least || number > most ? -1 : 0;
}

#define SIGNED(type, least, most)                                        \
    {                                                                    \
        int64_t number;                                                  \
        type small;                                                      \
        if (read_signed(value, least, most, &number) < 0) {              \
            return -1;                                                   \
        }                                                                \
        small = (type)number;                                            \
        memcpy(at, &small, sizeof(small));                               \
        at += sizeof(small);                                             \
        break;                                                           \
    }

#define UNSIGNED(type, most)                                             \
    {                                                                    \
        uint64_t number;                                                 \
        type small;                                                      \
        if (read_unsigned(value, most, "", &number) < 0) {               \
            return -1;                                                   \
        }                                                                \
        small = (type)number;                                            \
        memcpy(at, &small, sizeof(small));                               \
        at += sizeof(small);                                             \
        break;                                                           \
    }

/* Write the fixed part of a row to `at` and note its texts; -1 if the Python twin has to look at it. */
static int
encode_row(const Stream *stream, PyObject *const *values, uint8_t *at, Part *texts)
{
    for (int column = 0; column < stream->columns; column++) {
        PyObject *value = values[column];
        switch (stream->kinds[column]) {
        case '?':
            if (value != Py_True && value != Py_False) {
                return -1;
            }
            *at++ = value == Py_True;
            break;
        case 'b':
            SIGNED(int8_t, INT8_MIN, INT8_MAX)
        case 'h':
            SIGNED(int16_t, INT16_MIN, INT16_MAX)
        case 'i':
            SIGNED(int32_t, INT32_MIN, INT32_MAX)
        case 'q':
            SIGNED(int64_t, INT64_MIN, INT64_MAX)
        case 'B':
            UNSIGNED(uint8_t, UINT8_MAX)
        case 'H':
            UNSIGNED(uint16_t, UINT16_MAX)
        case 'I':
            UNSIGNED(uint32_t, UINT32_MAX)
        case 'Q':
            UNSIGNED(uint64_t, UINT64_MAX)
        case 'd': {
            double number = PyFloat_AsDouble(value);
            if (number == -1.0 && PyErr_Occurred()) {
                return -1;
            }
            memcpy(at, &number, 8);
            at += 8;
            break;
        }
        case 'f': {
            double number = PyFloat_AsDouble(value);
            float small = (float)number;
            if ((number == -1.0 && PyErr_Occurred()) || (isinf(small) && !isinf(number))) {
                return -1;
            }
            memcpy(at, &small, 4);
            at += 4;
            break;
        }
        default: {
            Py_ssize_t length;
            if (stream->kinds[column] == 't') {
                texts->bytes = PyUnicode_Check(value) ? (const uint8_t *)PyUnicode_AsUTF8AndSize(value, &length) : NULL;
            }
            else {
                char *bytes = NULL;
                texts->bytes = NULL;
                if (PyBytes_Check(value) && PyBytes_AsStringAndSize(value, &bytes, &length) == 0) {
                    texts->bytes = (const uint8_t *)bytes;
                }
            }
            if (texts->bytes == NULL || (uint64_t)length > UINT32_MAX) {
                return -1;
            }
            uint32_t small = (uint32_t)length;
            texts->length = (size_t)length;
            texts++;
            memcpy(at, &small, 4);
            at += 4;
        }
        }
    }
    return 0;
}

static PyObject *
stream_append(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Stream *stream = (Stream *)self;
    Part parts[MOST_TEXTS + 1];
    Short row;
    PyObject *slow, *result;
    if (stream->cell == NULL || kwnames != NULL || nargs != stream->columns) {
        goto slow;
    }
    if (encode_row(stream, args, row.payload, parts + 1) < 0) {
        goto slow;
    }
    size_t length = stream->fixed_bytes;
    for (int index = 1; index <= stream->texts; index++) {
        length += parts[index].length;
    }
    /* Only now, because reading a value may have run Python code that replaced the table or appended a row. */
    Table *table = stream->cell->table;
    if (table == NULL || !has_room(table, length)) {
        goto slow;
    }
    uint64_t first = stream->next++;
    row.body.subject = first;
    row.body.object = 1;
    row.body.name = 0;
    row.body.other = stream->number;
    row.body.code = stream->code;
    row.body.flags = 0;
    PyObject *writer = Py_NewRef(table->writer);
    if (length <= SHORT_BYTES) {
        uint8_t *at = row.payload + stream->fixed_bytes;
        for (int index = 1; index <= stream->texts; index++) {
            memcpy(at, parts[index].bytes, parts[index].length);
            at += parts[index].length;
        }
        store_short(table, &row, length);
    }
    else {
        parts[0] = (Part){row.payload, stream->fixed_bytes};
        store_parts(table, &row.body, parts, stream->texts + 1, length);
    }
    result = make_rows(writer, stream->name, first, 1);
    Py_DECREF(writer);
    return result;

slow:
    PyErr_Clear();
    slow = PyObject_GetAttrString(self, "_append_slowly");
    if (slow == NULL) {
        return NULL;
    }
    result = call_slow(slow, args, nargs, kwnames);
    Py_DECREF(slow);
    return result;
}

static PyObject *
stream_get_next(PyObject *self, void *Py_UNUSED(unused))
{
    return PyLong_FromUnsignedLongLong(((Stream *)self)->next);
}

static int
stream_set_next(PyObject *self, PyObject *value, void *Py_UNUSED(unused))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "it always has a next row");
        return -1;
    }
    return read_unsigned(value, UINT64_MAX, "_next", &((Stream *)self)->next);
}

static void
replace(PyObject **place, PyObject *with)
{
    PyObject *before = *place;
    *place = Py_NewRef(with);
    Py_XDECREF(before);
}

static PyObject *
stream_attach(PyObject *self, PyObject *args)
{
    Stream *stream = (Stream *)self;
    PyObject *cell, *name, *kinds;
    unsigned int code, number;
    char *letters;
    Py_ssize_t columns;
    if (!PyArg_ParseTuple(args, "OIIUS:_attach", &cell, &code, &number, &name, &kinds)
        || PyBytes_AsStringAndSize(kinds, &letters, &columns) < 0) {
        return NULL;
    }
    if (Py_TYPE(cell) != cell_type || code > UINT16_MAX) {
        PyErr_SetString(PyExc_TypeError, "a stream needs a cell and a code of 16 bits");
        return NULL;
    }
    size_t fixed = 0;
    int texts = 0;
    for (Py_ssize_t column = 0; column < columns; column++) {
        int size = kind_bytes(letters[column]);
        if (size == 0) {
            PyErr_SetString(PyExc_ValueError, "this type of column is not known");
            return NULL;
        }
        fixed += (size_t)size;
        texts += letters[column] == 't' || letters[column] == 'y';
    }
    if (columns == 0 || columns > MOST_COLUMNS || texts > MOST_TEXTS) {
        /* Left to the Python twin: such rows are rare, and room for them would be taken on the stack of each call. */
        Py_RETURN_FALSE;
    }
    stream->code = (uint16_t)code;
    stream->number = number;
    stream->columns = (int)columns;
    stream->texts = texts;
    stream->fixed_bytes = fixed;
    memcpy(stream->kinds, letters, (size_t)columns);
    replace(&stream->name, name);
    replace((PyObject **)&stream->cell, cell);
    Py_RETURN_TRUE;
}

static int
stream_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Stream *)self)->cell);
    return 0;
}

static int
stream_clear(PyObject *self)
{
    Py_CLEAR(((Stream *)self)->cell);
    Py_CLEAR(((Stream *)self)->name);
    return 0;
}

static void
stream_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    stream_clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef stream_methods[] = {
    {"append", (PyCFunction)(void (*)(void))stream_append, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("append($self, *values, **named)\n--\n\n"
               "Append one row: one value for each column, in order or by name; None where there is none.")},
    {"_attach", stream_attach, METH_VARARGS,
     PyDoc_STR("_attach($self, cell, code, number, name, kinds, /)\n--\n\n"
               "Say where rows go and how they are packed; return whether append can do that.")},
    {NULL},
};

/* One counter for both ways of a row; reading and setting it hands the interpreter to nobody. */
static PyGetSetDef stream_getset[] = {
    {"_next", stream_get_next, stream_set_next, PyDoc_STR("Number of the next row."), NULL},
    {NULL},
};

static PyType_Slot stream_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("What a compiled stream inherits from, before the Python one.")},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, stream_dealloc},
    {Py_tp_traverse, stream_traverse},
    {Py_tp_clear, stream_clear},
    {Py_tp_methods, stream_methods},
    {Py_tp_getset, stream_getset},
    {0, NULL},
};

static PyType_Spec stream_spec = {
    .name = "braid_hpc.kernels._tail.StreamBase",
    .basicsize = sizeof(Stream),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = stream_slots,
};

/* ------------------------------------------------------------------ reading */

enum { UNPUBLISHED = 0, VERIFIES = 1, FAILS = 2 };

static uint8_t
row_status(const uint8_t *data, uint64_t size, uint64_t slot, uint64_t sequence, uint64_t heap_offset)
{
    Short row;
    uint64_t word, digest;
    memcpy(&row.body, data + PAGE + slot * ROW_BYTES, BODY_BYTES);
    memcpy(&word, data + PAGE + slot * ROW_BYTES + BODY_BYTES, 8);
    if (word == 0) {
        return UNPUBLISHED;
    }
    uint64_t start = heap_offset + row.body.heap, length = row.body.length;
    if (length > 0 && (heap_offset > size || start > size || length > size - start)) {
        return FAILS;
    }
    if (length <= SHORT_BYTES) {
        memcpy(row.payload, data + (length ? start : 0), length);
        digest = XXH3_64bits(&row, BODY_BYTES + length);
    }
    else {
        XXH3_state_t state;
        XXH3_64bits_reset(&state);
        XXH3_64bits_update(&state, &row, BODY_BYTES);
        XXH3_64bits_update(&state, data + start, length);
        digest = XXH3_64bits_digest(&state);
    }
    return word == check_word(sequence, digest) ? VERIFIES : FAILS;
}

static PyObject *
verify_rows(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    uint64_t first, rows, heap_offset;
    Py_buffer view;
    if (nargs != 4) {
        PyErr_Format(PyExc_TypeError, "verify_rows takes 4 arguments, not %zd", nargs);
        return NULL;
    }
    if (read_unsigned(args[1], UINT64_MAX, "first", &first) < 0 || read_unsigned(args[2], UINT64_MAX, "rows", &rows) < 0
        || read_unsigned(args[3], UINT64_MAX, "heap_offset", &heap_offset) < 0
        || PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    uint64_t size = (uint64_t)view.len;
    uint64_t whole = size < PAGE ? 0 : (size - PAGE) / ROW_BYTES;
    if (rows > whole) {
        rows = whole;
    }
    PyObject *result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)rows);
    char *statuses;
    Py_ssize_t length;
    if (result != NULL && PyBytes_AsStringAndSize(result, &statuses, &length) == 0) {
        const uint8_t *data = view.buf;
        Py_BEGIN_ALLOW_THREADS
        for (uint64_t slot = 0; slot < rows; slot++) {
            statuses[slot] = (char)row_status(data, size, slot, first + slot, heap_offset);
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&view);
    return result;
}

/* ------------------------------------------------------------------ sealing */

/* Size and place of each column within a row, in the order of EVENT_COLUMNS in braid_hpc/log/seal.py. */
static const struct {
    uint8_t size;
    uint8_t at;
} COLUMNS[] = {
    {8, offsetof(Body, time)},  {8, offsetof(Body, subject)}, {8, offsetof(Body, object)}, {4, offsetof(Body, name)},
    {4, offsetof(Body, other)}, {2, offsetof(Body, code)},    {2, offsetof(Body, flags)},  {4, offsetof(Body, thread)},
    {8, BODY_BYTES},
};

#define COLUMN_COUNT ((int)(sizeof(COLUMNS) / sizeof(COLUMNS[0])))

static inline uint64_t
word_of(const uint8_t *row)
{
    return __atomic_load_n((const uint64_t *)(const void *)(row + BODY_BYTES), __ATOMIC_ACQUIRE);
}

static void
cut_column(const uint8_t *table, const uint32_t *slots, uint64_t used, int size, int at, uint8_t *out)
{
    /* A size that the compiler knows turns each copy into one move. */
#define CUT(bytes)                                                                          \
    for (uint64_t index = 0; index < used; index++) {                                       \
        memcpy(out + index * bytes, table + (uint64_t)slots[index] * ROW_BYTES + at, bytes); \
    }
    if (size == 8) {
        CUT(8)
    }
    else if (size == 4) {
        CUT(4)
    }
    else {
        CUT(2)
    }
#undef CUT
}

static PyObject *
cut_rows(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    uint64_t first, rows, heap_offset;
    Py_buffer view;
    if (nargs != 4) {
        PyErr_Format(PyExc_TypeError, "cut_rows takes 4 arguments, not %zd", nargs);
        return NULL;
    }
    if (read_unsigned(args[1], UINT64_MAX, "first", &first) < 0 || read_unsigned(args[2], UINT64_MAX, "rows", &rows) < 0
        || read_unsigned(args[3], UINT64_MAX, "heap_offset", &heap_offset) < 0
        || PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    const uint8_t *data = view.buf, *table = data + PAGE;
    uint64_t size = (uint64_t)view.len, used = 0, length = 0;
    int whole = 1;
    uint32_t *slots = NULL;
    PyObject *columns = NULL, *offsets = NULL, *payloads = NULL, *result = NULL;
    if (size < PAGE || rows > (size - PAGE) / ROW_BYTES || heap_offset > size || rows > UINT32_MAX
        || (uintptr_t)data % 8 != 0) {
        PyErr_SetString(PyExc_ValueError, "rows and heap do not lie in the buffer");
        goto done;
    }
    /* Which rows there are is settled here, while nobody can append: what comes later is in no column. */
    slots = PyMem_Malloc(4 * (rows + 1));
    if (slots == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (uint64_t slot = 0; slot < rows; slot++) {
        Body body;
        if (word_of(table + slot * ROW_BYTES) == 0) {
            continue;
        }
        memcpy(&body, table + slot * ROW_BYTES, BODY_BYTES);
        if (body.length > size - heap_offset || body.heap > size - heap_offset - body.length) {
            PyErr_SetString(PyExc_ValueError, "a payload does not lie in the heap");
            goto done;
        }
        whole = whole && body.heap == length;
        length += body.length;
        slots[used++] = (uint32_t)slot;
    }
    if (length > INT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "the payloads are too long for one batch");
        goto done;
    }
    columns = PyTuple_New(COLUMN_COUNT + 1);
    offsets = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(4 * (used + 1)));
    payloads = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
    if (columns == NULL || offsets == NULL || payloads == NULL) {
        goto done;
    }
    uint8_t *into[COLUMN_COUNT + 1], *offset_at = (uint8_t *)PyBytes_AsString(offsets);
    uint8_t *payload_at = (uint8_t *)PyBytes_AsString(payloads);
    for (int index = 0; index <= COLUMN_COUNT; index++) {
        uint64_t bytes = index < COLUMN_COUNT ? COLUMNS[index].size : 8;
        PyObject *column = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(bytes * used));
        if (column == NULL || PyTuple_SetItem(columns, index, column) < 0) {
            goto done;
        }
        into[index] = (uint8_t *)PyBytes_AsString(column);
    }
    /* Nobody else has these objects yet, and what is published does not change: the interpreter is not needed. */
    Py_BEGIN_ALLOW_THREADS
    for (int index = 0; index < COLUMN_COUNT; index++) {
        cut_column(table, slots, used, COLUMNS[index].size, COLUMNS[index].at, into[index]);
    }
    uint32_t end = 0;
    for (uint64_t index = 0; index < used; index++) {
        Body body;
        uint64_t sequence = first + slots[index];
        memcpy(&body, table + (uint64_t)slots[index] * ROW_BYTES, BODY_BYTES);
        memcpy(into[COLUMN_COUNT] + 8 * index, &sequence, 8);
        memcpy(offset_at + 4 * index, &end, 4);
        if (!whole) {
            memcpy(payload_at + end, data + heap_offset + body.heap, body.length);
        }
        end += body.length;
    }
    memcpy(offset_at + 4 * used, &end, 4);
    if (whole) {
        memcpy(payload_at, data + heap_offset, length);
    }
    Py_END_ALLOW_THREADS
    result = Py_BuildValue("OOOK", columns, offsets, payloads, (unsigned long long)used);
done:
    PyMem_Free(slots);
    PyBuffer_Release(&view);
    Py_XDECREF(columns);
    Py_XDECREF(offsets);
    Py_XDECREF(payloads);
    return result;
}

/* Enter the kernel for the first store into each page of a new mapping here, without holding up the interpreter. */
static PyObject *
prefault(PyObject *Py_UNUSED(module), PyObject *buffer)
{
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    volatile uint8_t *bytes = view.buf;
    for (Py_ssize_t at = 0; at < view.len; at += PAGE) {
        bytes[at] = 0;
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"cut_rows", (PyCFunction)(void (*)(void))cut_rows, METH_FASTCALL,
     PyDoc_STR("cut_rows(data, first, rows, heap_offset, /)\n--\n\n"
               "Cut the published rows of a mapped tail into columns: the nine of EVENT_COLUMNS and\n"
               "the sequences, offsets, payloads, count.")},
    {"prefault", prefault, METH_O,
     PyDoc_STR("prefault(buffer, /)\n--\n\nStore a zero into each page of a new mapping.")},
    {"verify_rows", (PyCFunction)(void (*)(void))verify_rows, METH_FASTCALL,
     PyDoc_STR("verify_rows(data, first, rows, heap_offset, /)\n--\n\n"
               "Look at each row of a mapped tail that lies in `data`: 0 unpublished, 1 verifies, 2 does not.")},
    {NULL},
};

/* One phase: an interpreter with a lock of its own cannot import this, and takes the Python twin. */
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "braid_hpc.kernels._tail",
    .m_doc = PyDoc_STR("The compiled tail; see braid_hpc.log.compiled."),
    .m_size = -1,
    .m_methods = functions,
};

static PyTypeObject *
add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);
    if (type == NULL || PyModule_AddObjectRef(module, name, type) < 0) {
        Py_XDECREF(type);
        return NULL;
    }
    return (PyTypeObject *)type;
}

PyMODINIT_FUNC
PyInit__tail(void)
{
    PyObject *module = PyModule_Create(&definition), *structs = PyImport_ImportModule("struct");
    if (module == NULL || structs == NULL) {
        goto failed;
    }
    struct_error = PyObject_GetAttrString(structs, "error");
    if (struct_error == NULL) {
        goto failed;
    }
    table_type = add_type(module, "Table", &table_spec);
    cell_type = add_type(module, "Cell", &cell_spec);
    rows_type = add_type(module, "Rows", &rows_spec);
    if (table_type == NULL || cell_type == NULL || rows_type == NULL
        || add_type(module, "StreamBase", &stream_spec) == NULL) {
        goto failed;
    }
    Py_DECREF(structs);
    return module;
failed:
    Py_XDECREF(structs);
    Py_XDECREF(module);
    return NULL;
}
