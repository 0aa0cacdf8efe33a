"""Stores to test against: embedded, over the wire, and mapped."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import thermae

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0

#: Now, to the second, in microseconds: rows of the tests are as of some time before it.
NOW_US = int(time.time()) * 1_000_000


def binary() -> Path:
    """The server: ``THERMAE_BIN``, or where cargo builds it."""
    named = os.environ.get("THERMAE_BIN")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    places = [Path(named)] if named else [target / "debug" / "thermae", target / "release" / "thermae"]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        pytest.fail(f"no server at {', '.join(map(str, places))}: cargo build -p thermae-server")
    return found


@dataclass
class Server:
    """A server with a directory of its own."""

    address: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)


@pytest.fixture
def start_server() -> Iterator[Callable[[], Server]]:
    """Starts servers, each on a unix socket in a directory of its own."""
    servers: list[Server] = []
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="thermae") as folder:

        def start() -> Server:
            place = Path(folder) / str(len(servers))
            place.mkdir()
            socket = place / "socket"
            command = [binary(), "serve", "--data", place / "data", "--unix", socket, "--listen", "none"]
            log = (place / "log").open("wb")
            process = subprocess.Popen(
                [str(word) for word in [*command, "--http", "127.0.0.1:0", "--memory", "64MiB", "--cores", "1"]],
                stdout=log,
                stderr=log,
            )
            server = Server(f"unix:{socket}", process)
            servers.append(server)
            deadline = time.monotonic() + PATIENCE_S
            while True:
                try:
                    thermae.connect(server.address).close()
                    return server
                except (thermae.ConnectionFailedError, thermae.OverloadedError):
                    if process.poll() is not None or time.monotonic() > deadline:
                        pytest.fail(f"the server did not start: {(place / 'log').read_text()}")

        yield start
        for server in servers:
            server.stop()


@pytest.fixture
def server(start_server: Callable[[], Server]) -> Server:
    return start_server()


@pytest.fixture(params=["embedded", "wire", "mapped"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[thermae.FeatureStore]:
    """Each way in; they mean the same."""
    if request.param == "embedded":
        with thermae.open(tmp_path / "data", memory_bytes=64 << 20) as opened:
            yield opened
        return
    running: Server = request.getfixturevalue("server")
    with thermae.connect(running.address, mapped=request.param == "mapped") as connected:
        yield connected


SHOP = """
format = 1
project = "shop"
[entities.user]
join_keys = [{ name = "user", type = "int64" }]
[entities.item]
join_keys = [{ name = "item", type = "string" }]
[views.activity]
entities = ["user"]
ttl = "1h"
features = [
  { name = "clicks", type = "int64" },
  { name = "score", type = "float32" },
  { name = "city", type = "string" },
]
[views.items]
entities = ["item"]
ttl = "0"
features = [{ name = "price", type = "float64" }, { name = "stock", type = "int32", default = 0 }]
[services.ranking]
features = ["activity:score,clicks", { view = "items", features = ["price"], rename = { price = "cost" } }]
"""


@pytest.fixture
def shop(store: thermae.FeatureStore) -> thermae.FeatureStore:
    """A store with views and some rows."""
    store.apply(SHOP)
    store.push(
        "activity",
        {
            "user": [1, 2, 3],
            "clicks": [10, None, 30],
            "score": [0.5, 1.5, None],
            "city": ["Bern", "", None],
            "event_timestamp": times(NOW_US - 1_000_000, NOW_US - 1_000_000, NOW_US - 7_200_000_000),
        },
    )
    store.push("items", {"item": ["a", "b"], "price": [9.5, 2.25]}, at=NOW_US - 1_000_000)
    return store


def times(*us: int) -> list[object]:
    """Times as UTC datetimes."""
    import datetime as dt

    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
    return [epoch + dt.timedelta(microseconds=one) for one in us]
