"""A decoder of every frame, written from docs/protocol.md alone: Python 3.11, standard library only.

Reads one JSON object a line: {"frame": hex, "columns": [[type..] per view], "keys": [[type..] per view]},
the types only where a frame does not carry them itself. Prints the frame decoded, as JSON, one a line.
"""

import json
import sys

from values import Bad, Cursor, key, row, value, width
from xxh3 import xxh3_64

HEADER = 24
ROW_STATUS = ["NOT_FOUND", "PRESENT", "OUTSIDE_MAX_AGE", "ERROR"]
LEVELS = {1: "logged", 2: "durable", 3: "replicated"}


def split(data):
    """The header's fields and the payload of one whole frame."""
    head = Cursor(data)
    frame_bytes, kind = head.u32(), head.u8()
    head.reserved(1)
    head.reserved(2)
    request_id, checksum = head.u64(), head.u32()
    head.reserved(4)
    if frame_bytes != len(data):
        raise Bad(f"the frame says {frame_bytes} bytes and has {len(data)}")
    if xxh3_64(data[HEADER:], xxh3_64(data[:16])) & 0xFFFFFFFF != checksum:
        raise Bad("the checksum does not hold")
    return kind, request_id, Cursor(data[HEADER:])


def magic(payload):
    if payload.take(8) != b"THERMAEW":
        raise Bad("no magic")


def hello(payload, _):
    magic(payload)
    return {
        "version_min": payload.u16(),
        "version_max": payload.u16(),
        "max_frame_bytes": payload.u32(),
        "credentials": payload.bytes16().hex(),
        "client_name": payload.text(),
    }


def hello_reply(payload, _):
    magic(payload)
    fields = {"version": payload.u16(), "partitions": payload.u16()}
    for name in ("max_frame_bytes", "max_batch_keys", "in_flight_max", "max_rows_per_write"):
        fields[name] = payload.u32()
    payload.reserved(4)
    fields["store_id"] = payload.take(16).hex()
    fields["hash_seed"] = payload.u64()
    fields["epoch"] = payload.u64()
    fields["server_time_us"] = payload.i64()
    fields["server_name"] = payload.text()
    return fields


def prepare(payload, _):
    views = []
    for _ in range(payload.u16()):
        view = {"project": payload.text(), "view": payload.text(), "version": payload.u32()}
        view["features"] = [payload.text() for _ in range(payload.u16())]
        views.append(view)
    return {"views": views}


def plan(payload, _):
    fields = {"plan_id": payload.u32(), "views": []}
    for _ in range(payload.u16()):
        view = {"view_id": payload.u32(), "schema_id": payload.u16(), "version": payload.u32()}
        view["ttl_us"] = payload.i64()
        keys, columns = payload.u16(), payload.u16()
        view["join_keys"] = [[payload.text(), payload.text()] for _ in range(keys)]
        view["columns"] = [[payload.text(), payload.text()] for _ in range(columns)]
        fields["views"].append(view)
    return fields


def flags_of(bits):
    if bits > 3:
        raise Bad("unknown flags")
    return {"matrix": bool(bits & 1), "event_times": bool(bits & 2)}


def token(word):
    return [word & 0xFFFF, word >> 16]


def read(payload, given):
    fields = {"plan_id": payload.u32(), "flags": flags_of(payload.u8())}
    payload.reserved(1)
    views = payload.u16()
    fields["read_time"], fields["deadline_us"] = payload.i64(), payload.u32()
    fields["tokens"] = [token(payload.u64()) for _ in range(payload.u32())]
    fields["keys"] = []
    for view in range(views):
        count = payload.u32()
        packed = Cursor(payload.take(payload.u32()))
        fields["keys"].append([key(given["keys"][view], packed) for _ in range(count)])
        packed.finish()
    return fields


def compute(payload, _):
    bits = payload.u8()
    if bits & ~2:
        raise Bad(f"flags {bits}")
    payload.reserved(1)
    count = payload.u16()
    fields = {"event_times": bool(bits & 2), "deadline_us": payload.u32(), "read_time": payload.i64()}
    fields["registry_version"] = payload.u64()
    rows, ask = payload.u32(), payload.u32()
    fields["ask"] = payload.take(ask).decode("utf-8")
    fields["columns"] = [[payload.text(), payload.text()] for _ in range(count)]
    types = [type_name for _, type_name in fields["columns"]]
    fields["rows"] = []
    for _ in range(rows):
        bits = payload.u8()
        if bits & ~2:
            raise Bad(f"row flags {bits}")
        payload.reserved(3)
        fields["rows"].append(row(types, payload.take(payload.u32()), bool(bits & 2)))
    return fields


def columns(payload, given):
    frame = bytes(HEADER) + payload.data  # so that offsets count from the start of the frame

    def buffer(at, size):
        if at % 64 or at + size > len(frame):
            raise Bad(f"a buffer of {size} bytes at {at}")
        buffer.end = max(buffer.end, at + size)
        return frame[at : at + size]

    flags = flags_of(payload.u8())
    payload.reserved(1)
    count = payload.u16()
    payload.reserved(4)
    fields = {"flags": flags, "read_time": payload.i64(), "views": []}
    buffer.end = 0
    for index in range(count):
        rows, width_of_view, status, times, validity, matrix = (payload.u32() for _ in range(6))
        view = {"status": [ROW_STATUS[code] for code in buffer(status, rows)]}
        if flags["event_times"]:
            at = Cursor(buffer(times, 8 * rows))
            view["event_times"] = [at.i64() for _ in range(rows)]
        if flags["matrix"]:
            block = Cursor(buffer(matrix, 4 * rows * width_of_view))
            view["matrix"] = [[block.u32() for _ in range(width_of_view)] for _ in range(rows)]
        else:
            stride = (rows + 63) // 64 * 8
            bitmaps = buffer(validity, stride * width_of_view)
            view["columns"] = []
            for column in range(width_of_view):
                bits = bitmaps[stride * column : stride * (column + 1)]
                type_name = given["columns"][index][column]
                view["columns"].append(one_column(payload, buffer, rows, bits, type_name))
        fields["views"].append(view)
    if max(buffer.end, HEADER + payload.at) != len(frame):
        raise Bad("bytes behind the last buffer")
    payload.at = len(payload.data)
    return fields


def one_column(payload, buffer, rows, bits, type_name):
    size, values_at, data_at, data_size = (payload.u32() for _ in range(4))
    if size != width(type_name):
        raise Bad(f"a column of {type_name} of width {size}")
    if size:
        values = buffer(values_at, size * rows)
        cells = [values[size * i : size * (i + 1)] for i in range(rows)]
    else:
        at = Cursor(buffer(values_at, 4 * (rows + 1)))
        ends = [at.u32() for _ in range(rows + 1)]
        data = buffer(data_at, data_size)
        cells = [data[ends[i] : ends[i + 1]] for i in range(rows)]
    valid = [bits[i // 8] >> (i % 8) & 1 for i in range(rows)]
    return [value(type_name, cell) if ok else None for cell, ok in zip(cells, valid)]


def write(payload, given, kind):
    fields = {"view_id": payload.u32(), "schema_id": payload.u16(), "ack": LEVELS[payload.u8()]}
    explicit = payload.u8()
    fields["producer_id"], first = payload.u64(), payload.u64()
    count = payload.u32()
    types = given["columns"][0]
    if kind == "PUT_PARTIAL":
        fields["features"] = [payload.u16() for _ in range(payload.u16())]
        types = [types[index] for index in fields["features"]]
    fields["rows"] = []
    for index in range(count):
        bits = payload.u8()
        payload.reserved(1)
        key_bytes, value_bytes = payload.u16(), payload.u32()
        bare = kind in ("DELETE", "ERASE")
        if (bits & 1) != bare or bits > 7 or (bare and bits & 2):
            raise Bad(f"row flags {bits}")
        one = {"event_time": payload.i64(), "created_time": payload.i64()}
        if kind == "ERASE" and (bits & 4 or set(one.values()) != {-(2**63)}):
            raise Bad("an erase with a time")
        one["sequence"] = payload.u64() if explicit else first + index
        one["expire_at"] = payload.i64() if bits & 4 else None
        packed = Cursor(payload.take(key_bytes))
        one["key"] = key(given["keys"][0], packed)
        packed.finish()
        data = payload.take(value_bytes)
        one["values"] = None if bare else row(types, data, bool(bits & 2))
        fields["rows"].append(one)
    return fields


def erase_status(payload, given):
    fields = {"view_id": payload.u32()}
    tokens, keys = payload.u32(), payload.u32()
    fields["tokens"] = [token(payload.u64()) for _ in range(tokens)]
    fields["keys"] = []
    for _ in range(keys):
        packed = Cursor(payload.bytes16())
        fields["keys"].append(key(given["keys"][0], packed))
        packed.finish()
    return fields


# Of these the word is no token: the milliseconds after which to repeat an overloaded row (35), the number of the check
# that a row fails (37, 38).
WITH_NUMBER = {35, 37, 38}


def written(payload, _):
    fields = {"level": LEVELS[payload.u8()]}
    form = payload.u8()
    payload.reserved(2)
    rows = payload.u32()
    words = [payload.u64() for _ in range(rows)]
    codes = list(payload.take(rows)) if form else [0] * rows
    fields["outcomes"] = [
        [code, word if code in WITH_NUMBER else token(word)] for code, word in zip(codes, words)
    ]
    fields["message"] = payload.text()
    return fields


def scan(payload, given):
    fields = {"plan_id": payload.u32()}
    bits = payload.u8()
    payload.reserved(3)
    if bits > 3:
        raise Bad(f"scan flags {bits}")
    fields["tombstones"], fields["page_bytes"] = bool(bits & 1), payload.u32()
    fields["event_times"] = [payload.i64(), payload.i64()]
    fields["hashes"] = [payload.u64(), payload.u64()]
    packed = Cursor(payload.bytes16())
    fields["key"] = key(given["keys"][0], packed) if bits & 2 else None
    packed.finish()
    fields["place"] = payload.bytes16().hex()
    return fields


def scanned(payload, given):
    more = payload.u8()
    payload.reserved(3)
    count = payload.u32()
    fields = {"place": payload.bytes16().hex(), "rows": []}
    if more > 1 or bool(more) != bool(fields["place"]):
        raise Bad(f"scan flags {more}")
    for _ in range(count):
        bits = payload.u8()
        payload.reserved(1)
        key_bytes, value_bytes = payload.u16(), payload.u32()
        if bits > 7 or (bits & 1 and (bits & 2 or value_bytes)):
            raise Bad(f"row flags {bits}")
        one = {"event_time": payload.i64(), "created_time": payload.i64()}
        one["sequence"] = payload.u64()
        one["expire_at"] = payload.i64() if bits & 4 else None
        packed = Cursor(payload.take(key_bytes))
        one["key"] = key(given["keys"][0], packed)
        packed.finish()
        data = payload.take(value_bytes)
        one["values"] = None if bits & 1 else row(given["columns"][0], data, bool(bits & 2))
        fields["rows"].append(one)
    return fields


def history(payload, _):
    bits = payload.u8()
    payload.reserved(1)
    if bits > 3:
        raise Bad(f"history flags {bits}")
    fields = {"as_of_known": bool(bits & 1), "full_names": bool(bits & 2)}
    views = payload.u16()
    fields["threads"], fields["budget_bytes"] = payload.u32(), payload.u64()
    fields["time_column"] = payload.text()
    fields["joins"] = []
    for _ in range(views):
        one = {"view": payload.text(), "alias": payload.text()}
        one["features"] = [payload.text() for _ in range(payload.u16())]
        one["columns"] = [[payload.text(), payload.text()] for _ in range(payload.u16())]
        fields["joins"].append(one)
    return fields


def history_put(payload, _):
    bits = payload.u8()
    payload.reserved(3)
    if bits > 1:
        raise Bad(f"history flags {bits}")
    return {"last": bool(bits), "bytes": payload.take(payload.u32()).hex()}


def history_reply(payload, _):
    bits = payload.u8()
    payload.reserved(1)
    if bits > 1:
        raise Bad(f"history flags {bits}")
    views = payload.u16()
    names = ["rows", "read", "to_join", "joined", "answered"]
    fields = {"over": bool(bits), "steps": {name: payload.u64() for name in names}}
    fields["tallies"] = [[payload.u64(), payload.u64()] for _ in range(views)]
    fields["bytes"] = payload.take(payload.u32()).hex()
    return fields


def text(payload, _):
    return {"json": json.loads(payload.take(len(payload.data)).decode("utf-8"))}


def mapped(payload, _):
    fields = {"epoch": payload.u64(), "shards": []}
    for _ in range(payload.u32()):
        shard = payload.u16()
        payload.reserved(6)
        fields["shards"].append([shard, payload.u64()])
    fields["partition_map"] = [payload.u16() for _ in range(payload.u16())]
    return fields


def error(payload, _):
    code = payload.u16()
    payload.reserved(2)
    return {"code": code, "retry_after_ms": payload.u32(), "message": payload.text()}


KINDS = {
    0x01: ("HELLO", hello),
    0x02: ("PREPARE", prepare),
    0x03: ("READ", read),
    0x04: ("PUT", lambda payload, given: write(payload, given, "PUT")),
    0x05: ("PUT_PARTIAL", lambda payload, given: write(payload, given, "PUT_PARTIAL")),
    0x06: ("DELETE", lambda payload, given: write(payload, given, "DELETE")),
    0x07: ("DESCRIBE", text),
    0x08: ("APPLY", text),
    0x09: ("STATS", text),
    0x0A: ("MAP", lambda payload, _: {"project": payload.text()}),
    0x0B: ("PING", lambda payload, _: {}),
    0x0C: ("SCAN", scan),
    0x0D: ("HISTORY", history),
    0x0E: ("HISTORY_PUT", history_put),
    0x0F: ("HISTORY_NEXT", lambda payload, _: {}),
    0x10: ("HISTORY_END", lambda payload, _: {}),
    0x11: ("BACKUP", text),
    0x12: ("ERASE", lambda payload, given: write(payload, given, "ERASE")),
    0x13: ("ERASE_STATUS", erase_status),
    0x14: ("COMPUTE", compute),
    0x81: ("HELLO reply", hello_reply),
    0x82: ("PLAN", plan),
    0x83: ("COLUMNS", columns),
    0x84: ("WRITTEN", written),
    0x87: ("JSON", text),
    0x8A: ("MAPPED", mapped),
    0x8B: ("PONG", lambda payload, _: {"server_time_us": payload.i64()}),
    0x8C: ("SCANNED", scanned),
    0x8D: ("HISTORY_REPLY", history_reply),
    0xFF: ("ERROR", error),
}


def decode(data, given):
    kind, request_id, payload = split(data)
    if kind not in KINDS:
        raise Bad(f"unknown kind {kind}")
    name, decoder = KINDS[kind]
    fields = decoder(payload, given)
    payload.finish()
    return {"kind": name, "request_id": request_id, **fields}


def main():
    for line in sys.stdin:
        given = json.loads(line)
        try:
            print(json.dumps(decode(bytes.fromhex(given["frame"]), given)))
        except (Bad, UnicodeDecodeError, ValueError, KeyError, IndexError) as error:
            print(json.dumps({"refused": str(error)}))


if __name__ == "__main__":
    main()
