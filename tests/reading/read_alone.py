"""Reads a rank log with the standard library, xxhash, pyarrow and h5py alone.

It is written from ``docs/log-format.md`` and ``docs/array-format.md``, and imports nothing of braid_hpc: whoever has
those two pages and no copy of this package can do the same. Prints one JSON object.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import itertools
import json
import struct
import sys
from pathlib import Path

import h5py
import numpy
import pyarrow as pa
from xxhash import xxh3_64_hexdigest, xxh3_64_intdigest, xxh3_128_digest

# Importing it from here on is an error.
sys.modules["braid_hpc"] = None  # type: ignore[assignment]

HEADER = struct.Struct("<8sHHI16sQQIIQQII")
ROW = struct.Struct("<qQQIIHHIIIQQ")
SUM = struct.Struct("<QQQQQ16sQ")
PLACE = struct.Struct("<QQ16sI")
FIXED = {"bool": "?", "int8": "b", "int64": "q", "uint64": "Q", "float32": "f", "float64": "d", "timestamp": "q"}
NAME, DECLARE, ARRAY, STREAM, STREAM_ROW, BATCH, ROW_EDGES = 1, 10, 24, 30, 31, 32, 33


def unpack(data):
    """Decode MessagePack, as far as the log uses it."""
    value, rest = _item(memoryview(data))
    assert not rest
    return value


def _item(data):
    first, data = data[0], data[1:]
    if first < 0x80:
        return first, data
    if first < 0x90:
        return _map(data, first & 15)
    if first < 0xA0:
        return _list(data, first & 15)
    if first < 0xC0:
        return bytes(data[: first & 31]).decode(), data[first & 31 :]
    if first >= 0xE0:
        return first - 256, data
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], data
    numbers = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}
    numbers |= {0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
    if first in numbers:
        size = struct.calcsize(numbers[first])
        return struct.unpack(numbers[first], data[:size])[0], data[size:]
    extensions = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
    if first in extensions or first in (0xC7, 0xC8, 0xC9):
        width = 0 if first in extensions else 1 << (first - 0xC7)
        size = extensions.get(first) or int.from_bytes(data[:width], "big")
        assert data[width] == 1, "the one extension type is that of wide integers"
        return int.from_bytes(data[width + 1 : width + 1 + size], "little", signed=True), data[width + 1 + size :]
    kinds = {0xC4: "bytes", 0xD9: "text", 0xDC: "list", 0xDE: "map"}
    base = max(code for code in (0xC4, 0xD9, 0xDC, 0xDE) if code <= first)
    kind, width = kinds[base], (1 if base in (0xC4, 0xD9) else 2) << (first - base)
    size, data = int.from_bytes(data[:width], "big"), data[width:]
    if kind == "map":
        return _map(data, size)
    if kind == "list":
        return _list(data, size)
    value = bytes(data[:size])
    return value.decode() if kind == "text" else value, data[size:]


def _list(data, count):
    found = []
    for _ in range(count):
        value, data = _item(data)
        found.append(value)
    return found, data


def _map(data, count):
    found = {}
    for _ in range(count):
        key, data = _item(data)
        found[key], data = _item(data)
    return found, data


def read_header(path):
    """Give ``header.json``, whose last member is the check of all before it."""
    data = path.read_bytes()
    body, _, check = data.rpartition(b',\n "check": "')
    assert check == xxh3_64_hexdigest(body).encode() + b'"\n}\n'
    header = json.loads(data)
    assert (header["format"], header["major"]) == ("braid rank log", 1)
    return header


def read_sums(path):
    """Give offset, length, first, after, rows and digest of each batch."""
    data = path.read_bytes()
    assert len(data) % 64 == 0
    for at in range(0, len(data), 64):
        record = data[at : at + 64]
        *fields, check = SUM.unpack(record)
        assert check == xxh3_64_intdigest(record[:56])
        yield fields


def read_batches(path):
    """Give each batch of an Arrow file that its sum vouches for, as a table."""
    data = path.read_bytes()
    schema = data[: 8 + int.from_bytes(data[4:8], "little")]
    whole = pa.ipc.open_stream(data).read_all()
    rows = 0
    for offset, length, first, after, count, digest in read_sums(path.with_suffix(".sums")):
        batch = data[offset : offset + length]
        assert xxh3_128_digest(schema + batch) == digest
        table = pa.ipc.open_stream(schema + batch).read_all()
        assert table.num_rows == count
        # Any Arrow reader reads the whole file, and finds the same.
        assert table.equals(whole.slice(rows, count).combine_chunks())
        rows += count
        yield first, after, table
    assert rows == whole.num_rows


def read_events(directory):
    """Give sequence, code, name, other, subject, object, flags and payload of every event, by sequence."""
    found, spans = {}, []
    if (directory / "events.arrows").exists():
        for first, after, table in read_batches(directory / "events.arrows"):
            spans.append((first, after))
            for row in table.to_pylist():
                found[row["sequence"]] = row
    for path in directory.glob("tail-*"):
        data = path.read_bytes()
        magic, major, _, page, writer, _, first, rows, size, heap, _, kind, _ = HEADER.unpack(data[:80])
        assert (magic, major, size, kind) == (b"BRAIDTL\x01", 1, 64, 0)
        assert xxh3_64_intdigest(data[:80]) == int.from_bytes(data[80:88], "little")
        assert writer.hex() == directory.name
        spans.append((first, first + rows))
        for slot in range(rows):
            row = data[page + 64 * slot : page + 64 * slot + 64]
            time, subject, object, name, other, code, flags, thread, start, length, _, word = ROW.unpack(row)
            if not word:
                continue
            payload = data[heap + start : heap + start + length]
            high = xxh3_64_intdigest(row[:56] + payload) >> 32 or 1
            assert word == high << 32 | (first + slot) & 0xFFFFFFFF
            fields = {"time": time, "subject": subject, "object": object, "name": name, "other": other, "code": code}
            fields |= {"flags": flags, "thread": thread, "word": word, "payload": payload, "sequence": first + slot}
            assert found.setdefault(first + slot, fields) == fields
    spans.sort()
    assert [first for first, _ in spans] == [1, *(after for _, after in spans[:-1])], "a segment is missing"
    return [found[sequence] for sequence in sorted(found)]


def read_row(columns, payload, flags):
    """Give the values of one row of a stream."""
    if flags == 1:
        return unpack(payload)
    layout = struct.Struct("<" + "".join(FIXED.get(kind, "I") for _, kind in columns))
    values, at = list(layout.unpack_from(payload)), layout.size
    for index, (_, kind) in enumerate(columns):
        if kind in ("text", "bytes"):
            part, at = payload[at : at + values[index]], at + values[index]
            values[index] = part.decode() if kind == "text" else part.hex()
    assert at == len(payload)
    return values


def read_batch(columns, payload, count):
    """Give the rows of a small batch, which stands in its event."""
    found, at = [], 0
    for _, kind in columns:
        if kind in FIXED:
            layout = struct.Struct(f"<{count}{FIXED[kind]}")
            found.append(list(layout.unpack_from(payload, at)))
            at += layout.size
        else:
            offsets = struct.unpack_from(f"<{count + 1}I", payload, at)
            at += 4 * (count + 1)
            parts = [payload[at + a : at + b] for a, b in itertools.pairwise(offsets)]
            found.append([part.decode() if kind == "text" else part.hex() for part in parts])
            at += offsets[-1]
    assert at == len(payload)
    return [list(row) for row in zip(*found, strict=True)]


def read_streams(directory, events, names):
    """Give the rows of every stream, by its name."""
    schemas = {row["other"]: (names[row["name"]], unpack(row["payload"])) for row in events if row["code"] == STREAM}
    found: dict[str, list[list[object]]] = {name: [] for name, _ in schemas.values()}
    for row in events:
        if row["code"] not in (STREAM_ROW, BATCH):
            continue
        name, schema = schemas[row["other"]]
        rows = found[name]
        assert row["subject"] == len(rows)
        if row["code"] == STREAM_ROW:
            rows.append(read_row(schema["columns"], row["payload"], row["flags"]))
        elif not row["flags"]:
            rows.extend(read_batch(schema["columns"], row["payload"], row["object"]))
        else:
            table = read_large(directory, row["other"], row["subject"], row["payload"])
            rows.extend(list(values.values()) for values in table.to_pylist())
    return found


def read_large(directory, number, first, place):
    """Give a batch that stands in a file of its own."""
    offset, length, digest, part = PLACE.unpack(place)
    later = f"-{part:06d}" if part > 1 else ""
    path = directory / f"stream-{number:04d}{later}.arrows"
    data = path.read_bytes()
    begin = data[: 8 + int.from_bytes(data[4:8], "little")]
    assert xxh3_128_digest(begin + data[offset : offset + length]) == digest
    ((_, _, table),) = [each for each in read_batches(path) if each[0] == first]
    return table


def read_row_edges(directory, events, names):
    """Give the pairs of each event, with the names of both streams and the reference, if one was given."""
    found = []
    for row in events:
        if row["code"] != ROW_EDGES:
            continue
        said, count = unpack(row["payload"]), row["object"]
        listed = said.get("listed", b"")
        if row["flags"] & 1:
            numbers = read_large(directory, 0, row["subject"], listed)["row"].to_pylist()
        else:
            numbers = list(struct.unpack(f"<{len(listed) // 8}q", listed))
        sides = []
        for side in (said["child"], said["parent"]):
            if len(side) == 2:
                sides.append([side[0] + k * side[1] for k in range(count)])
            else:
                sides.append([side[0] + number for number in numbers[:count]])
                del numbers[:count]
        assert not numbers
        found.append([names[row["name"]], names[row["other"]], said.get("said"), list(zip(*sides, strict=True))])
    return found


def read_arrays(directory, events, names):
    """Give dtype, shape and elements of every array, by the name it was first recorded for."""
    found = {}
    for row in events:
        if row["code"] != ARRAY:
            continue
        entry = unpack(row["payload"])
        if row["flags"] == 0:
            array = numpy.frombuffer(entry["data"], entry["dtype"])
        else:
            with h5py.File(directory / f"arrays-{entry['file']}.h5", "r") as file:
                assert file.attrs["format"] == "braid arrays 1"
                first = entry.get("offset", 0)
                array = file[entry["pool"]][first : first + entry["length"]]
        assert array.nbytes == entry["size"]
        array = array.view(entry["dtype"]).reshape(entry["shape"])
        found[names[row["name"]]] = [entry["dtype"], entry["shape"], array.ravel().tolist()]
    return found


def main(directory):
    """Print what the log in a directory says."""
    events = read_events(directory)
    names = {row["subject"]: row["payload"].decode() for row in events if row["code"] == NAME}
    declared = {}
    for row in events:
        if row["code"] == DECLARE:
            about = unpack(row["payload"])
            about["parents"] = [
                each if isinstance(each, (int, str)) else repr(each) for each in about.get("parents", ())
            ]
            declared[f"{names[row['other']]}:{names[row['name']]}"] = about
    answer = {
        "job": read_header(directory / "header.json")["job"],
        "sequences": [row["sequence"] for row in events],
        "declared": declared,
        "streams": read_streams(directory, events, names),
        "row_edges": read_row_edges(directory, events, names),
        "arrays": read_arrays(directory, events, names),
        "modules": sorted(
            name for name in sys.modules if name.partition(".")[0] in ("braid_hpc", "msgspec", "nanoarrow")
        ),
    }
    print(json.dumps(answer))


main(Path(sys.argv[1]))
