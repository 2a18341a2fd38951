/* A row, its check, and what all other parts are made with. A part of _tail.c. */

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
#include "../vendor/xxhash.h"

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

static void
replace(PyObject **place, PyObject *with)
{
    PyObject *before = *place;
    *place = Py_NewRef(with);
    Py_XDECREF(before);
}

/* Free an object that the garbage collector knows. */
static void
forget(PyObject *self, inquiry clear)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}
