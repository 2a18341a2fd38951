/* Whole tails: which rows carry their check, all of them as an Arrow batch, and their memory made ready. A part of _tail.c. */

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
