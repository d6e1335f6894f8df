"""A long run against one server: many connections, many messages, reloads, and peers that misbehave.

`make soak` runs it at full length. It prints figures and ends with 1 when a connection got a wrong echo, when
the server ended, when it does not serve the handler that was saved last, or when threads, descriptors or
memory did not come back.
"""

import argparse
import contextlib
import itertools
import random
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from serving import ECHO, SECONDS, Server, client_frame, wait_until, write

CLIENTS = 8
"""So many connections are open at once."""

MEMORY = 64 << 20
"""So many more bytes may be in use at the end: caches of the allocator, and modules of old versions."""


class Load:
    """What the clients share."""

    def __init__(
        self,
        server: Server,
        connections: int,
        messages: int,
        misbehaving: float,
        seconds: float | None = None,
    ) -> None:
        self.server = server
        self.deadline = float("inf") if seconds is None else time.monotonic() + seconds
        self.numbers = iter(range(connections))
        self.lock = threading.Lock()
        self.misbehaving = misbehaving
        self.batch = max(1, round(messages / connections / (1 - misbehaving)))
        self.connections = 0
        self.messages = 0
        self.misbehaved = 0
        self.wrong: list[str] = []

    def run(self, seed: int) -> None:
        """One client: connection after connection, until all are used up or the time is over."""
        chance = random.Random(seed)
        payloads = [chance.randbytes(chance.choice([0, 1, 5, 60, 125, 126, 500])) for _ in range(self.batch)]
        request = b"".join(client_frame(2, payload) for payload in payloads)
        reply = b"".join(server_frame(payload) for payload in payloads)
        while True:
            with self.lock:
                number = next(self.numbers, None)
            if number is None or len(self.wrong) > 20 or time.monotonic() > self.deadline:
                return
            try:
                if chance.random() < self.misbehaving:
                    self.misbehave(chance)
                    with self.lock:
                        self.misbehaved += 1
                else:
                    self.talk(request, reply)
                    with self.lock:
                        self.messages += self.batch
            except (OSError, AssertionError) as error:
                self.wrong.append(f"connection {number}: {error!r}")
            with self.lock:
                self.connections += 1

    def talk(self, request: bytes, reply: bytes) -> None:
        """Messages in small groups, each echoed byte for byte, and a closing handshake."""
        with self.server.raw("/echo") as client:
            sender = threading.Thread(target=client.socket.sendall, args=(request,))
            if len(request) > 32 << 10:
                sender.start()
            else:
                client.socket.sendall(request)
            got = client.exactly(len(reply))
            if sender.ident is not None:
                sender.join()
            assert got == reply, f"a wrong echo after {common(got, reply)} bytes"
            client.send(8, b"\x03\xe8")
            assert client.exactly(4) == b"\x88\x02\x03\xe8"
            assert client.rest() == b""

    def misbehave(self, chance: random.Random) -> None:
        """Something that no peer should do. Only the server's state afterwards counts."""
        what = chance.randrange(5)
        if what == 0:
            with socket.create_connection((self.server.host, self.server.port), SECONDS) as plain:
                plain.sendall(chance.randbytes(chance.randrange(1, 200)))
            return
        with self.server.raw("/echo") as client, contextlib.suppress(OSError):
            if what == 1:
                client.socket.sendall(client_frame(1, b"x" * 100)[: chance.randrange(1, 100)])
            elif what == 2:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif what == 3:
                client.socket.sendall(chance.randbytes(200))
            else:
                # It gets a close frame with 1007, and leaves without an answer.
                client.send(1, b"\xff\xfe")
                client.exactly(2)


def common(one: bytes, other: bytes) -> int:
    """How many bytes at the start are the same."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other)))


def server_frame(payload: bytes) -> bytes:
    """The frame that echoes `payload`."""
    if len(payload) < 126:
        return bytes([0x82, len(payload)]) + payload
    return b"\x82\x7e" + len(payload).to_bytes(2, "big") + payload


def version(number: int) -> str:
    """The source of an echo handler that tells its version when it is asked to."""
    asked = f"if request.ws_resource.endswith('?version'): request.ws_stream.send_message('{number}')"
    head = "def web_socket_transfer_data(request):\n"
    return ECHO.replace(head, f"{head}    {asked}\n")


def served_version(server: Server) -> int:
    """The version of the handler that a new connection gets."""
    with server.raw("/echo?version") as client:
        number = int(client.frame().payload)
        client.send(8, b"\x03\xe8")
        client.rest()
    return number


@contextlib.contextmanager
def reloading(server: Server, period: float) -> Iterator[list[int]]:
    """Saves the handler again and again; counts how often."""
    saved = [0]
    over = threading.Event()

    def save() -> None:
        while not over.wait(period):
            saved[0] += 1
            # As editors do it: a new file takes the old one's place.
            write(server.root, "new", version(saved[0])).rename(server.root / "echo_wsh.py")

    thread = threading.Thread(target=save)
    thread.start()
    try:
        yield saved
    finally:
        over.set()
        thread.join()


def soak(
    connections: int,
    messages: int,
    misbehaving: float = 0.1,
    period: float = 1.0,
    seconds: float | None = None,
) -> dict[str, object]:
    """Runs it, for so many seconds at most; gives the figures, with what is wrong under `problems`."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, "echo_wsh.py", version(0))
        with Server(root, "--log-level", "critical") as server:

            def state() -> tuple[int, int, int]:
                wait_until(lambda: not server.handler_threads(), "the end of the handlers")
                return server.memory(), len(server.threads()), len(server.descriptors())

            warm = Load(server, CLIENTS * 20, CLIENTS * 20 * 10, misbehaving)
            run(warm)
            before = state()
            began = time.monotonic()
            load = Load(server, connections, messages, misbehaving, seconds)
            with reloading(server, period) as saved:
                run(load)
            took = time.monotonic() - began
            alive = server.process.poll() is None
            problems = [*warm.wrong, *load.wrong] + ([] if alive else ["the server ended"])
            after = before
            if alive:
                with contextlib.suppress(AssertionError):
                    wait_until(lambda: served_version(server) == saved[0], "the last version")
                if (served := served_version(server)) != saved[0]:
                    problems.append(f"version {served} is served, {saved[0]} was saved")
                with contextlib.suppress(AssertionError):
                    wait_until(lambda: state()[1:] <= before[1:], "the start's threads and descriptors")
                after = state()
                if after[1] > before[1]:
                    problems.append(f"{after[1]} threads, {before[1]} at the start")
                if after[2] > before[2]:
                    problems.append(f"{after[2]} descriptors, {before[2]} at the start")
                if after[0] > before[0] + MEMORY:
                    problems.append(f"{after[0]} bytes of memory, {before[0]} at the start")
                code = server.stop()
                if code:
                    problems.append(f"exit code {code}")
                if "panicked" in server.log.rest():
                    problems.append("a panic in the log")
    return {
        "seconds": round(took, 1),
        "connections": load.connections,
        "messages": load.messages,
        "misbehaving peers": load.misbehaved,
        "reloads": saved[0],
        "wrong echoes": len(load.wrong),
        "crashes": int(not alive),
        "memory (MiB)": f"{before[0] / 2**20:.1f} -> {after[0] / 2**20:.1f}",
        "threads": f"{before[1]} -> {after[1]}",
        "descriptors": f"{before[2]} -> {after[2]}",
        "problems": problems,
    }


def run(load: Load) -> None:
    """Runs all clients to their end."""
    clients = [threading.Thread(target=load.run, args=(seed,)) for seed in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--messages", type=int, default=5_000_000)
    parser.add_argument("--seconds", type=float, help="end after this time at the latest")
    options = parser.parse_args()
    figures = soak(options.connections, options.messages, seconds=options.seconds)
    for name, value in figures.items():
        print(f"{name:18} {value}")
    return 1 if figures["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
