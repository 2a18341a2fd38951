/* StreamBase: a row of a stream becomes a payload and a row. A part of _tail.c. */

typedef struct {
    PyObject_HEAD
    Cell *cell;
    PyObject *name;
    /* The stream whose rows its own are numbered among; NULL for itself. */
    PyObject *counter;
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
    uint64_t first = (stream->counter == NULL ? stream : (Stream *)stream->counter)->next++;
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

static PyObject *
stream_get_counter(PyObject *self, void *Py_UNUSED(unused))
{
    PyObject *counter = ((Stream *)self)->counter;
    return Py_NewRef(counter == NULL ? self : counter);
}

static int
stream_set_counter(PyObject *self, PyObject *value, void *Py_UNUSED(unused))
{
    if (value == NULL || Py_TYPE(value) != Py_TYPE(self)) {
        PyErr_SetString(PyExc_TypeError, "rows are numbered among those of a stream of the same type");
        return -1;
    }
    PyObject *before = ((Stream *)self)->counter;
    ((Stream *)self)->counter = value == self ? NULL : Py_NewRef(value);
    Py_XDECREF(before);
    return 0;
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
    Py_VISIT(((Stream *)self)->counter);
    return 0;
}

static int
stream_clear(PyObject *self)
{
    Py_CLEAR(((Stream *)self)->cell);
    Py_CLEAR(((Stream *)self)->counter);
    Py_CLEAR(((Stream *)self)->name);
    return 0;
}

static void
stream_dealloc(PyObject *self)
{
    forget(self, stream_clear);
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
    {"_counter", stream_get_counter, stream_set_counter, PyDoc_STR("Stream whose rows its own are numbered among."),
     NULL},
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
