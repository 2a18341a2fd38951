/* Cell: the tail a writer stores into at present. A part of _tail.c. */

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
    forget(self, cell_clear);
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
