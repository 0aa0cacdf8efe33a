"""Types, keys and row values (docs/protocol.md, section 5), read off byte strings."""

import struct

WIDTHS = {"bool": 1, "int32": 4, "float32": 4, "int64": 8, "float64": 8, "timestamp": 8, "uuid": 16}
NUMBERS = {"int32": "<i", "int64": "<q", "timestamp": "<q"}


class Bad(Exception):
    """The bytes are not what docs/protocol.md says."""


class Cursor:
    """Reads items off the front of bytes and never beyond their end."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if count > len(self.data) - self.at:
            raise Bad(f"{count} bytes are due at {self.at}, {len(self.data) - self.at} are there")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size, signed=False):
        return int.from_bytes(self.take(size), "little", signed=signed)

    def u8(self):
        return self.number(1)

    def u16(self):
        return self.number(2)

    def u32(self):
        return self.number(4)

    def u64(self):
        return self.number(8)

    def i64(self):
        return self.number(8, True)

    def bytes16(self):
        return self.take(self.u16())

    def text(self):
        return self.bytes16().decode("utf-8")

    def reserved(self, size):
        if self.number(size) != 0:
            raise Bad(f"a reserved field before {self.at} is set")

    def finish(self):
        if self.at != len(self.data):
            raise Bad(f"{len(self.data) - self.at} bytes are left over")


def width(type_name):
    """Bytes of a value of this type, 0 if that varies."""
    if type_name.startswith("vector<float32, "):
        return 4 * int(type_name[16:-1])
    return WIDTHS.get(type_name, 0)


def scalar(type_name, data):
    if type_name in NUMBERS:
        return struct.unpack(NUMBERS[type_name], data)[0]
    if type_name == "bool":
        if data not in (b"\0", b"\1"):
            raise Bad("a bool is neither 0 nor 1")
        return data == b"\1"
    if type_name in ("float32", "float64"):
        # As bits: text would lose NaN payloads and the sign of zero.
        return f"{type_name}:{data[::-1].hex()}"
    if type_name in ("string", "json"):
        return data.decode("utf-8")
    return "bytes:" + data.hex()


def value(type_name, data):
    """One value that is not null, as something JSON can hold."""
    if type_name.startswith("vector<"):
        return [scalar("float32", data[at : at + 4]) for at in range(0, len(data), 4)]
    if not type_name.startswith("list<"):
        return scalar(type_name, data)
    element = type_name[5:-1]
    cursor = Cursor(data)
    count = cursor.u32()
    if width(element):
        values = [scalar(element, cursor.take(width(element))) for _ in range(count)]
    else:
        ends = [cursor.u32() for _ in range(count)]
        values, start = [], 0
        for end in ends:
            values.append(scalar(element, cursor.take(end - start)))
            start = end
    cursor.finish()
    return values


def key(types, cursor):
    """One encoded key off the front of `cursor`."""
    values = []
    for type_name in types:
        if type_name in ("int32", "int64"):
            values.append(cursor.i64())
        elif type_name == "uuid":
            values.append("bytes:" + cursor.take(16).hex())
        elif type_name == "string":
            values.append(cursor.text())
        else:
            values.append("bytes:" + cursor.bytes16().hex())
    return values


def row(types, data, dense):
    """A row value: bitmap unless dense, fixed section, variable section."""
    cursor = Cursor(data)
    bitmap = b"\0" * len(types) if dense else cursor.take((len(types) + 7) // 8)
    fixed = [cursor.take(width(type_name) or 4) for type_name in types]
    values, start = [], 0
    for index, (type_name, slot) in enumerate(zip(types, fixed)):
        null = bitmap[index // 8] >> (index % 8) & 1
        if not width(type_name):
            end = int.from_bytes(slot, "little")
            slot, start = cursor.take(end - start), end
        values.append(None if null else value(type_name, slot))
    cursor.finish()
    return values
