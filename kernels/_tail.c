/* The tail of a rank log, compiled: the same bytes as MappedTail in braid_hpc/log/tail.py, in one call.
 *
 * Eight things are in here, each beside a slower twin in Python that decides what is right:
 *
 *   Table         stores rows into the mapping of a tail               braid_hpc/log/tail.py, MappedTail.append
 *   Cell          the tail a writer stores into at present             braid_hpc/log/writer.py, RankLog.append
 *   StreamBase    a row of a stream becomes a payload and a row        braid_hpc/run/streams.py, Stream.append
 *   Rows          what that returns                                    braid_hpc/run/handles.py, Rows
 *   Function      a decorated function; its calls become rows         braid_hpc/run/calls.py, recorded
 *   Call          one of them, while it runs                          braid_hpc/run/calls.py, Call
 *   verify_rows   which rows of a tail carry their check               braid_hpc/reading/tails.py
 *   encode_rows   a full tail as an Arrow batch                        braid_hpc/log/seal.py, encode_tail
 *
 * A call reserves its place, stores and publishes without running any Python code in between, and holds the
 * interpreter lock all the while: neither another thread nor a signal handler written in Python can see or interrupt
 * it half-way, and there is no lock of its own that they could meet. Whatever could run Python code (the conversion
 * of an argument) or fail is done before a place is reserved, so a refused call leaves no hole.
 *
 * Where an argument is not of the plain kind, Cell, StreamBase and Function hand the whole call to their Python twin instead
 * of deciding themselves: only what is certain is done here.
 *
 * A file that is cut short while it is mapped ends the process with SIGBUS, here as in Python.
 */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* Since Linux 5.14. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

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
/* Code.CALL in braid_hpc/vocabulary/codes.py. */
#define CALL_CODE 25

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
static PyTypeObject *table_type, *cell_type, *rows_type, *call_type;

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

/* ------------------------------------------------------------------ Call */

/* The states of a call. Only one thread takes a call from PENDING to another state. */
enum { PENDING = 0, BEGUN = 1, ENDED = 2 };

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
    if (read_unsigned(state, ENDED, "state", &number) < 0) {
        return NULL;
    }
    if (call->state != PENDING) {
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

/* ------------------------------------------------------------------ Stack */

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

/* ------------------------------------------------------------------ Function */

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

static inline uint64_t
word_of(const uint8_t *row)
{
    return __atomic_load_n((const uint64_t *)(const void *)(row + BODY_BYTES), __ATOMIC_ACQUIRE);
}

/* The columns of a batch and their bytes for one row, in their order; offsets of payloads and payloads follow. */
enum { SEQUENCE, TIME, SUBJECT, OBJECT, NAME, OTHER, CODE, FLAGS, THREAD, WORD, COLUMN_COUNT };
static const uint8_t WIDTHS[COLUMN_COUNT] = {8, 8, 8, 8, 4, 4, 2, 2, 4, 8};
#define BUFFERS (2 * COLUMN_COUNT + 3)

static inline uint64_t
padded(uint64_t length)
{
    return (length + 7) & ~(uint64_t)7;
}

static inline void
put64(uint8_t *at, uint64_t number)
{
    memcpy(at, &number, 8);
}

typedef struct {
    const uint8_t *data;
    uint64_t size;
    uint64_t first;
    uint64_t rows;
    uint64_t heap_offset;
} Source;

/* Count the published rows and the bytes of their payloads, and say whether these follow each other without a gap;
   -1 if one does not lie in the heap. */
static int
survey(const Source *source, uint64_t *used, uint64_t *length, int *whole)
{
    const uint8_t *row = source->data + PAGE;
    uint64_t most = source->size - source->heap_offset;
    *used = *length = 0;
    *whole = 1;
    for (uint64_t slot = 0; slot < source->rows; slot++, row += ROW_BYTES) {
        Body body;
        if (word_of(row) == 0) {
            continue;
        }
        memcpy(&body, row, BODY_BYTES);
        if (body.length > most || body.heap > most - body.length) {
            return -1;
        }
        *whole = *whole && body.heap == *length;
        *length += body.length;
        *used += 1;
    }
    return 0;
}

/* Write the columns of `used` rows from `out` on; 0 if there are other rows by now. */
static int
cut(const Source *source, uint64_t used, uint64_t length, int whole, uint8_t *out)
{
    uint8_t *at[COLUMN_COUNT + 2];
    uint64_t sizes[COLUMN_COUNT + 2];
    for (int column = 0; column < COLUMN_COUNT; column++) {
        sizes[column] = WIDTHS[column] * used;
    }
    sizes[COLUMN_COUNT] = 4 * (used + 1);
    sizes[COLUMN_COUNT + 1] = length;
    for (int column = 0; column < COLUMN_COUNT + 2; column++) {
        at[column] = out;
        out += padded(sizes[column]);
        /* What is behind its last value is zero. */
        if (padded(sizes[column]) != 0) {
            memset(out - 8, 0, 8);
        }
    }
    const uint8_t *row = source->data + PAGE, *heap = source->data + source->heap_offset;
    uint8_t *offsets = at[COLUMN_COUNT], *payloads = at[COLUMN_COUNT + 1];
    uint64_t index = 0, end = 0;
    for (uint64_t slot = 0; slot < source->rows; slot++, row += ROW_BYTES) {
        Body body;
        uint64_t word = word_of(row), sequence = source->first + slot;
        if (word == 0) {
            continue;
        }
        memcpy(&body, row, BODY_BYTES);
        if (index == used || body.length > length - end) {
            return 0;
        }
        memcpy(at[SEQUENCE] + 8 * index, &sequence, 8);
        memcpy(at[TIME] + 8 * index, &body.time, 8);
        memcpy(at[SUBJECT] + 8 * index, &body.subject, 8);
        memcpy(at[OBJECT] + 8 * index, &body.object, 8);
        memcpy(at[NAME] + 4 * index, &body.name, 4);
        memcpy(at[OTHER] + 4 * index, &body.other, 4);
        memcpy(at[CODE] + 2 * index, &body.code, 2);
        memcpy(at[FLAGS] + 2 * index, &body.flags, 2);
        memcpy(at[THREAD] + 4 * index, &body.thread, 4);
        memcpy(at[WORD] + 8 * index, &word, 8);
        memcpy(offsets + 4 * index, &end, 4);
        if (!whole) {
            memcpy(payloads + end, heap + body.heap, body.length);
        }
        end += body.length;
        index++;
    }
    memcpy(offsets + 4 * index, &end, 4);
    if (whole) {
        memcpy(payloads, heap, length);
    }
    return index == used && end == length;
}

/* Fill in the numbers of a head, which braid_hpc/log/framing.py tells the places of. */
static void
fill_head(uint8_t *head, const unsigned long long *places, uint64_t used, uint64_t length)
{
    uint64_t end = 0;
    uint8_t *buffer = head + places[3];
    for (int column = 0; column <= COLUMN_COUNT; column++) {
        uint64_t parts[2] = {column < COLUMN_COUNT ? WIDTHS[column] * used : 4 * (used + 1), length};
        put64(head + places[2] + 16 * column, used);
        put64(head + places[2] + 16 * column + 8, 0);
        put64(buffer, end);
        put64(buffer + 8, 0);
        buffer += 16;
        for (int part = 0; part < (column < COLUMN_COUNT ? 1 : 2); part++) {
            put64(buffer, end);
            put64(buffer + 8, parts[part]);
            buffer += 16;
            end += padded(parts[part]);
        }
    }
    put64(head + places[0], used);
    put64(head + places[1], end);
}

static PyObject *
encode_rows(PyObject *Py_UNUSED(module), PyObject *args)
{
    Source source;
    Py_buffer data, head, out;
    unsigned long long first, rows, heap_offset, places[4];
    if (!PyArg_ParseTuple(args, "y*KKKy*(KKKK)w*:encode_rows", &data, &first, &rows, &heap_offset, &head, &places[0],
                          &places[1], &places[2], &places[3], &out)) {
        return NULL;
    }
    source = (Source){data.buf, (uint64_t)data.len, first, rows, heap_offset};
    uint64_t used = 0, length = 0, body = 0, before = (uint64_t)head.len;
    const char *refused = NULL;
    int whole;
    static const uint64_t needed[4] = {8, 8, 16 * (COLUMN_COUNT + 1), 16 * BUFFERS};
    for (int index = 0; index < 4; index++) {
        if (needed[index] > before || places[index] > before - needed[index]) {
            refused = "the head of a batch is shorter than what stands in it";
        }
    }
    if (source.size < PAGE || rows > (source.size - PAGE) / ROW_BYTES || heap_offset > source.size
        || (uintptr_t)data.buf % 8 != 0) {
        refused = "rows and heap do not lie in the buffer";
    }
    if (refused == NULL) {
        /* What is published does not change, and only this call has the memory: the interpreter is not needed. */
        Py_BEGIN_ALLOW_THREADS
        for (;;) {
            if (survey(&source, &used, &length, &whole) < 0) {
                refused = "a payload does not lie in the heap";
                break;
            }
            body = 4 * (used + 1);
            for (int column = 0; column < COLUMN_COUNT; column++) {
                body += padded(WIDTHS[column] * used);
            }
            body = padded(body) + padded(length);
            if (length > INT32_MAX) {
                refused = "the payloads are too long for one batch";
                break;
            }
            if (before > (uint64_t)out.len || body > (uint64_t)out.len - before) {
                refused = "the batch is longer than the memory for it";
                break;
            }
            /* Rows that were published meanwhile are cut as well. */
            if (cut(&source, used, length, whole, (uint8_t *)out.buf + before)) {
                memcpy(out.buf, head.buf, before);
                fill_head(out.buf, places, used, length);
                break;
            }
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&head);
    PyBuffer_Release(&out);
    if (refused != NULL) {
        PyErr_SetString(PyExc_ValueError, refused);
        return NULL;
    }
    return Py_BuildValue("KK", (unsigned long long)used, (unsigned long long)(before + body));
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
    if (madvise(view.buf, (size_t)view.len, MADV_POPULATE_WRITE) != 0) {
        /* An older kernel. */
        volatile uint8_t *bytes = view.buf;
        for (Py_ssize_t at = 0; at < view.len; at += PAGE) {
            bytes[at] = 0;
        }
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"encode_rows", encode_rows, METH_VARARGS,
     PyDoc_STR("encode_rows(data, first, rows, heap_offset, head, places, out, /)\n--\n\n"
               "Encode the published rows of a mapped tail as an Arrow batch into `out`, framed by `head`;\n"
               "return how many rows and bytes these are.")},
    {"forget_calls", forget_calls, METH_NOARGS,
     PyDoc_STR("forget_calls()\n--\n\nIn a forked child: the pending calls are those of threads that are not here.")},
    {"get_run", get_run, METH_NOARGS, PyDoc_STR("get_run()\n--\n\nReturn the run that calls are recorded in, or None.")},
    {"pending_calls", pending_calls, METH_NOARGS,
     PyDoc_STR("pending_calls()\n--\n\nReturn the calls that run and of which no row tells.")},
    {"prefault", prefault, METH_O,
     PyDoc_STR("prefault(buffer, /)\n--\n\nStore a zero into each page of a new mapping.")},
    {"set_run", set_run, METH_VARARGS,
     PyDoc_STR("set_run(run=None, cell=None, intern=None, held=None, /)\n--\n\n"
               "Record calls in another run from now on, or in none.")},
    {"set_up", set_up, METH_VARARGS,
     PyDoc_STR("set_up(get, get_stack, set_stack, finish, /)\n--\n\n"
               "Say how the activity of a context and its stack of calls are read, how the latter is set, and what\n"
               "records a call that is not plain.")},
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
    PyObject *types = PyImport_ImportModule("types");
    if (module == NULL || structs == NULL || types == NULL) {
        goto failed;
    }
    method_type = PyObject_GetAttrString(types, "MethodType");
    struct_error = PyObject_GetAttrString(structs, "error");
    if (struct_error == NULL) {
        goto failed;
    }
    table_type = add_type(module, "Table", &table_spec);
    cell_type = add_type(module, "Cell", &cell_spec);
    rows_type = add_type(module, "Rows", &rows_spec);
    call_type = add_type(module, "Call", &call_spec);
    stack_type = add_type(module, "Stack", &stack_spec_of_calls);
    if (table_type == NULL || cell_type == NULL || rows_type == NULL || call_type == NULL || stack_type == NULL || method_type == NULL
        || add_type(module, "Function", &function_spec) == NULL
        || add_type(module, "StreamBase", &stream_spec) == NULL) {
        goto failed;
    }
    Py_DECREF(structs);
    Py_DECREF(types);
    return module;
failed:
    Py_XDECREF(types);
    Py_XDECREF(structs);
    Py_XDECREF(module);
    return NULL;
}
