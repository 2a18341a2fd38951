/* The tail of a rank log, compiled: the same bytes as MappedTail in braid_hpc/log/tail.py, in one call.
 *
 * Nine things are in here, each beside a slower twin in Python that decides what is right:
 *
 *   Table         stores rows into the mapping of a tail               braid_hpc/log/tail.py, MappedTail.append
 *   Cell          the tail a writer stores into at present             braid_hpc/log/writer.py, RankLog.append
 *   StreamBase    a row of a stream becomes a payload and a row        braid_hpc/run/streams.py, Stream.append
 *   Rows          what that returns                                    braid_hpc/run/handles.py, Rows
 *   Function      a decorated function; its calls become rows         braid_hpc/run/calls.py, recorded
 *   Call, Stack   one of them while it runs, and all of a context     braid_hpc/run/calls.py
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
 *
 * The parts are one translation unit, so that the compiler sees through them: storing a row is one function to it.
 */

#include "tail/row.h"
#include "tail/table.h"
#include "tail/cell.h"
#include "tail/places.h"
#include "tail/streams.h"
#include "tail/calls.h"
#include "tail/functions.h"
#include "tail/scans.h"

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
