"""Feast's kinds of values and the types of features, both ways, bit for bit."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from feast.field import Field
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.value_type import ValueType

from ..errors import InvalidRequestError, InvalidRowsError

#: Feast's NaT, in any unit.
_NAT = -(2**63)
_SECOND_US = 1_000_000

#: Kinds with a column of their own: the type of the feature, and its Arrow type. Values of the others are kept as
#: Feast's own message.
_NATIVE: dict[ValueType, tuple[str, pa.DataType]] = {
    ValueType.BYTES: ("bytes", pa.binary()),
    ValueType.STRING: ("string", pa.string()),
    ValueType.INT32: ("int32", pa.int32()),
    ValueType.INT64: ("int64", pa.int64()),
    ValueType.DOUBLE: ("float64", pa.float64()),
    ValueType.FLOAT: ("float32", pa.float32()),
    ValueType.BOOL: ("bool", pa.bool_()),
    ValueType.UNIX_TIMESTAMP: ("timestamp", pa.timestamp("us", tz="UTC")),
    ValueType.BYTES_LIST: ("list<bytes>", pa.list_(pa.binary())),
    ValueType.STRING_LIST: ("list<string>", pa.list_(pa.string())),
    ValueType.INT32_LIST: ("list<int32>", pa.list_(pa.int32())),
    ValueType.INT64_LIST: ("list<int64>", pa.list_(pa.int64())),
    ValueType.DOUBLE_LIST: ("list<float64>", pa.list_(pa.float64())),
    ValueType.FLOAT_LIST: ("list<float32>", pa.list_(pa.float32())),
    ValueType.BOOL_LIST: ("list<bool>", pa.list_(pa.bool_())),
    ValueType.UNIX_TIMESTAMP_LIST: ("list<timestamp>", pa.list_(pa.timestamp("us", tz="UTC"))),
    ValueType.JSON: ("json", pa.string()),
    ValueType.UUID: ("uuid", pa.binary(16)),
    ValueType.TIME_UUID: ("uuid", pa.binary(16)),
}

#: Join keys: their types. A time is its seconds.
_KEYS: dict[ValueType, tuple[str, pa.DataType]] = {
    ValueType.STRING: ("string", pa.string()),
    ValueType.BYTES: ("bytes", pa.binary()),
    ValueType.INT32: ("int32", pa.int32()),
    ValueType.INT64: ("int64", pa.int64()),
    ValueType.UNIX_TIMESTAMP: ("int64", pa.int64()),
    ValueType.UUID: ("uuid", pa.string()),
    ValueType.TIME_UUID: ("uuid", pa.string()),
    # Feast gives an entity without a type this one, and its keys are texts.
    ValueType.UNKNOWN: ("string", pa.string()),
}


class Kind:
    """How a feature's values are stored, and how they look to Feast."""

    __slots__ = ("arrow", "feast", "field", "is_native", "name", "number", "value_type")

    def __init__(self, field: Field) -> None:
        kind = field.dtype.to_value_type()
        self.name = field.name
        self.feast = kind
        native = _NATIVE.get(kind)
        self.is_native = native is not None
        self.field = kind.name.lower() + "_val"
        #: The number of the field in Value; 0: the stored bytes are the message.
        self.number = ValueProto.DESCRIPTOR.fields_by_name[self.field].number if native else 0
        if native is None:
            self.value_type, self.arrow = f"opaque<feast_{kind.name.lower()}>", pa.binary()
        elif kind is ValueType.FLOAT_LIST and field.vector_index and field.vector_length:
            length = field.vector_length
            self.value_type, self.arrow = f"vector<float32, {length}>", pa.list_(pa.float32(), length)
        else:
            self.value_type, self.arrow = native

    def column(self, values: Sequence[ValueProto | None]) -> pa.Array:
        """A column of Feast's values; a value that is not set is null."""
        take = self._taker()
        taken: list[Any] = []
        for row, value in enumerate(values):
            which = None if value is None else value.WhichOneof("val")
            if which is None or which == "null_val":
                taken.append(None)
            elif self.is_native and which != self.field:
                raise InvalidRowsError(
                    f"feature {self.name!r}, row {row}: it is declared as {self.field}, and the value is a {which}"
                )
            else:
                try:
                    taken.append(take(value))
                except ValueError as error:
                    raise InvalidRowsError(f"feature {self.name!r}, row {row}: {error}") from error
        return pa.array(taken, _storage(self.arrow)).cast(self.arrow)

    def _taker(self) -> Callable[[Any], Any]:
        field = self.field
        if not self.is_native:
            return lambda value: value.SerializeToString(deterministic=True)
        if field in ("unix_timestamp_val", "unix_timestamp_list_val"):
            if field == "unix_timestamp_val":
                return lambda value: _microseconds(value.unix_timestamp_val)
            return lambda value: [_microseconds(one) for one in value.unix_timestamp_list_val.val]
        if field in ("uuid_val", "time_uuid_val"):
            return lambda value: _uuid_bytes(getattr(value, field))
        if field.endswith("_list_val"):
            return lambda value: list(getattr(value, field).val)
        return lambda value: getattr(value, field)


def _storage(arrow: pa.DataType) -> pa.DataType:
    """Times are built as their numbers."""
    if pa.types.is_timestamp(arrow):
        return pa.int64()
    if pa.types.is_list(arrow) and pa.types.is_timestamp(arrow.value_type):
        return pa.list_(pa.int64())
    return arrow


def _microseconds(seconds: int) -> int:
    if seconds == _NAT:
        return _NAT
    if not -(2**63) <= seconds * _SECOND_US < 2**63:
        raise ValueError(f"the time {seconds} s is out of range in microseconds")
    return seconds * _SECOND_US


def _uuid_bytes(text: str) -> bytes:
    made = uuid.UUID(text)
    if str(made) != text:
        raise ValueError(f"{text!r} is not how a UUID is written: {made}")
    return made.bytes


def key_type(name: str, kind: ValueType) -> str:
    """The type of a join key."""
    return _key(name, kind)[0]


def key_arrow(name: str, kind: ValueType) -> pa.DataType:
    """Its Arrow type."""
    return _key(name, kind)[1]


def _key(name: str, kind: ValueType) -> tuple[str, pa.DataType]:
    if kind not in _KEYS:
        there = ", ".join(sorted(known.name for known in _KEYS))
        raise InvalidRequestError(f"the join key {name!r} is {kind.name}; join keys may be: {there}")
    return _KEYS[kind]


def key_value(value: ValueProto) -> Any:
    """A join key's value."""
    which = value.WhichOneof("val")
    if which is None:
        raise InvalidRequestError("a join key is null")
    return getattr(value, which)


def key_proto(value: Any, kind: ValueType) -> ValueProto:
    """The same, back."""
    field = "string_val" if kind is ValueType.UNKNOWN else kind.name.lower() + "_val"
    made = ValueProto()
    setattr(made, field, str(value) if isinstance(value, uuid.UUID) else value)
    return made


def utc_us(time: dt.datetime) -> int:
    """A time as microseconds; a naive one is UTC."""
    aware = time if time.tzinfo else time.replace(tzinfo=dt.timezone.utc)
    return (aware - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)) // dt.timedelta(microseconds=1)
