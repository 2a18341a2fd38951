/* Rows: where the rows of a stream stand, which is what append returns. A part of _tail.c. */

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
