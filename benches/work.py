"""What is measured, and what each figure has to reach."""

from __future__ import annotations

from dataclasses import dataclass

ALL = ("wshost", "tungstenite", "pywebsocket3", "websockets", "picows", "granian")


@dataclass(frozen=True)
class Limit:
    """A ratio of wshost's figure to that of a peer in the same round."""

    figure: str
    peer: str
    bound: float
    at_most: bool

    def reached(self, ratio: float) -> bool:
        """Whether a ratio is good enough."""
        return ratio <= self.bound if self.at_most else ratio >= self.bound

    def wanted(self) -> str:
        """The bound, for people."""
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"


@dataclass(frozen=True)
class Work:
    """One line of the table: the same work on several servers."""

    name: str
    title: str
    load: tuple[str, ...]
    """The load generator's arguments."""
    limits: tuple[Limit, ...]
    peers: tuple[str, ...] = ALL
    connections: int = 0
    tls: bool = False
    fresh: bool = False
    """Each round has a server of its own."""
    once: bool = False
    """One round is enough: the figure does not depend on how busy the machine is."""


def at_most(figure: str, bound: float, peer: str) -> Limit:
    """A figure of which less is better."""
    return Limit(figure, peer, bound, True)


def at_least(figure: str, bound: float, peer: str) -> Limit:
    """A figure of which more is better."""
    return Limit(figure, peer, bound, False)


RUST, REFERENCE = "tungstenite", "pywebsocket3"

WORK = (
    Work(
        "echo-1", "echo 125 B text, 1 connection", ("echo", "--size", "125"), connections=1,
        limits=(
            at_most("cpu_us", 1.0, RUST),
            at_most("cpu_us", 0.7, REFERENCE),
            at_most("p50_us", 1.0, RUST),
        ),
    ),
    Work(
        "echo-100", "echo 125 B text, 100 connections", ("echo", "--size", "125"), connections=100,
        limits=(
            at_most("cpu_us", 1.4, RUST),
            at_most("cpu_us", 0.2, REFERENCE),
            at_most("cpu_us", 0.45, "websockets"),
        ),
    ),
    Work(
        "in-flight", "echo 125 B text, 100 connections, 10 in flight each",
        ("echo", "--size", "125", "--in-flight", "10"), connections=100,
        limits=(at_least("messages_per_s", 1.0, RUST),),
    ),
    Work(
        "echo-1000", "echo 125 B text, 1,000 active connections", ("echo", "--size", "125"), connections=1000,
        # pywebsocket3 gives no answer at all within 40 s.
        peers=("wshost", "tungstenite", "websockets", "picows", "granian"),
        limits=(
            at_most("cpu_us", 2.2, RUST),
            at_most("cpu_us", 1.8, "wshost at echo-100"),
            at_most("p99_us", 12, "wshost's p50_us"),
        ),
    ),
    Work(
        "echo-64k", "echo 64 KiB text, 20 connections", ("echo", "--size", "65536"), connections=20,
        limits=(at_least("mb_per_s", 0.9, RUST), at_least("mb_per_s", 30, REFERENCE)),
    ),
    Work(
        "echo-1m", "echo 1 MiB binary, 4 connections", ("echo", "--size", "1048576", "--kind", "binary"),
        connections=4,
        limits=(at_least("mb_per_s", 1.2, RUST), at_least("mb_per_s", 80, REFERENCE)),
    ),
    Work(
        "deflate", "echo 4 KiB JSON text, permessage-deflate, 20 connections",
        ("echo", "--size", "4096", "--kind", "json"), connections=20,
        peers=("wshost", "pywebsocket3", "websockets"),
        limits=(at_least("messages_per_s", 3, REFERENCE), at_least("messages_per_s", 2, "websockets")),
    ),
    Work(
        "tls", "echo 125 B text, 1 connection, TLS", ("echo", "--size", "125", "--tls"), connections=1,
        peers=("wshost", "tungstenite"), tls=True,
        limits=(at_most("cpu_us", 1.1, RUST),),
    ),
    Work(
        "connect", "connect, echo, close, 8 at a time", ("connect",),
        limits=(at_least("connections_per_s", 4, REFERENCE), at_least("connections_per_s", 0.6, RUST)),
    ),
    Work(
        "idle", "10,000 idle connections", ("idle",), connections=10000,
        peers=("wshost", "tungstenite", "pywebsocket3"), fresh=True, once=True,
        limits=(at_most("kib_each", 20, "1 KiB"), at_most("kib_each", 0.8, REFERENCE)),
    ),
    Work(
        "start", "start with 100 handlers", (), peers=("wshost", "pywebsocket3"), fresh=True,
        limits=(at_most("start_ms", 0.5, REFERENCE),),
    ),
    Work(
        "broadcast", "broadcast: one handler sends 1 KiB to 500 connections",
        ("broadcast", "--size", "1024", "--resource", "/broadcast"), connections=500,
        peers=("wshost", "pywebsocket3"),
        limits=(at_least("messages_per_s", 5, REFERENCE),),
    ),
)  # fmt: skip
