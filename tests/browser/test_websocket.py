"""WebSocket as pages see it: what Firefox's mochitests and web-platform-tests demand, in tests of our own."""

from pathlib import Path
from typing import Any, Callable

import pytest
from browsers import Browser, run, wait_for
from serving import ECHO, Server, handler, write

Script = Callable[..., Any]


@pytest.fixture
def script(browser: Browser, site: Server) -> Script:
    """Runs a script in a fresh page of the site."""
    browser.open(f"http://{site.address}/index.html")

    def in_page(text: str, *args: Any) -> Any:
        return run(browser, text, *args)

    return in_page


def test_text_comes_back_as_it_was(script: Script) -> None:
    texts = ["", "a", "grüße 漢字 \U0001f600", "line\nline\x00end", "x" * 70000]
    echoed = script(
        """
        const socket = await opened("echo");
        for (const text of args[0]) socket.send(text);
        await socket.next("message", args[0].length);
        return socket.events.filter(([type]) => type === "message").map(([, data]) => data);
        """,
        texts,
    )
    assert echoed == texts


def test_a_lone_surrogate_is_sent_as_the_replacement_character(script: Script) -> None:
    text = """const socket = await opened("echo");
      socket.send("a\\ud800b");
      return await socket.next("message");"""
    assert script(text) == "a\ufffdb"


def test_binary_in_every_form(script: Script) -> None:
    received = script(
        """
        const socket = await opened("echo");
        socket.binaryType = "arraybuffer";
        const bytes = Uint8Array.from({length: 256}, (_, i) => i);
        const forms = [bytes.buffer, bytes, new DataView(bytes.buffer, 250, 4),
                       new Uint16Array(bytes.buffer, 2, 1), new Blob([bytes, "z"]), new ArrayBuffer(0)];
        for (const form of forms) socket.send(form);
        await socket.next("message", forms.length);
        return socket.events.filter(([type]) => type === "message")
          .map(([, data]) => Array.from(new Uint8Array(data)));
        """
    )
    whole = list(range(256))
    assert received == [whole, whole, [250, 251, 252, 253], [2, 3], [*whole, 122], []]


def test_blobs_by_default(script: Script) -> None:
    text = """const socket = await opened("echo");
      const first = socket.binaryType;
      socket.binaryType = "nonsense";
      socket.send(new Uint8Array([104, 105]));
      const data = await socket.next("message");
      return [first, socket.binaryType, data instanceof Blob, data.size, await data.text()];"""
    assert script(text) == ["blob", "blob", True, 2, "hi"]


def test_twenty_megabytes_arrive_whole_in_both_directions(script: Script) -> None:
    told, ours, back = script(
        """
        const size = 20 * 1024 * 1024;
        const bytes = new Uint8Array(size);
        let x = 1;
        for (let i = 0; i < size; i++) bytes[i] = x = (x * 75 + 74) % 65537;
        const hex = async (buffer) => {
          const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", buffer));
          return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
        };
        const socket = await opened("digest");
        socket.send(new Blob([bytes]));
        const told = await socket.next("message");
        const blob = await socket.next("message", 2);
        return [told, `${size} ${await hex(bytes)}`, `${blob.size} ${await hex(await blob.arrayBuffer())}`];
        """
    )
    assert told == ours == back


def test_messages_and_events_come_in_order(script: Script) -> None:
    events, state = script(
        """
        const socket = connect("burst?500");
        await socket.next("close");
        await new Promise((resolve) => setTimeout(resolve, 0));
        return [socket.events, socket.readyState];
        """
    )
    assert [kind for kind, _ in events] == ["open", *["message"] * 500, "close"]
    assert [data for kind, data in events if kind == "message"] == [str(number) for number in range(500)]
    assert events[-1][1] == {"code": 1000, "reason": "", "wasClean": True}
    assert state == 3


def test_ready_states_and_the_end_of_sending(script: Script) -> None:
    text = """const socket = connect("echo");
      const states = [socket.readyState];
      const early = raised(() => socket.send("too early"));
      await socket.next("open");
      states.push(socket.readyState);
      socket.close();
      states.push(socket.readyState);
      socket.send("12345");
      const buffered = socket.bufferedAmount;
      socket.close(4000, "twice does nothing");
      const closed = await socket.next("close");
      states.push(socket.readyState);
      return [states, early, buffered, closed];"""
    # The answer of handlers that do not say otherwise.
    closed = {"code": 1000, "reason": "", "wasClean": True}
    assert script(text) == [[0, 1, 2, 3], "InvalidStateError", 5, closed]


@pytest.mark.parametrize("count", [1, 50])
def test_many_connections_at_once(script: Script, count: int) -> None:
    text = """const all = await Promise.all(Array.from({length: args[0]}, async (_, i) => {
        const socket = await opened("echo");
        socket.send(`number ${i}`);
        const answer = await socket.next("message");
        socket.close(1000);
        return [answer, (await socket.next("close")).code];
      }));
      return all;"""
    assert script(text, count) == [[f"number {number}", 1000] for number in range(count)]


def test_wrong_arguments(script: Script) -> None:
    names = script(
        """
        const make = (...all) => raised(() => new WebSocket(...all));
        const url = resource("echo");
        const socket = await opened("echo");
        return [
          make("ftp://localhost/"), make(url + "#fragment"), make("ws://"),
          make(url, ["a", "a"]), make(url, "a b"), make(url, ""), make(url, "a,b"),
          raised(() => socket.close(999)), raised(() => socket.close(1001)), raised(() => socket.close(5000)),
          raised(() => socket.close(1000, "r".repeat(124))), raised(() => socket.close(1000, "é".repeat(62))),
          raised(() => socket.close(1000, "é".repeat(61))),
        ];
        """
    )
    assert names == [*["SyntaxError"] * 7, *["InvalidAccessError"] * 3, *["SyntaxError"] * 2, None]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 503])
def test_a_refusal_is_an_error_without_details(script: Script, status: int) -> None:
    text = """const socket = connect(`refuse?${args[0]}`);
      await socket.next("close");
      return socket.events;"""
    assert script(text, status) == [
        ["error", None],
        ["close", {"code": 1006, "reason": "", "wasClean": False}],
    ]


@pytest.mark.parametrize("name", ["nothing-there", "index.html", "refuse?protocol"])
def test_what_is_no_handshake_does_not_open(script: Script, name: str) -> None:
    text = """const socket = connect(args[0], "offered");
      await socket.next("close");
      return socket.events.map(([type]) => type);"""
    assert script(text, name) == ["error", "close"]


def test_closing_before_it_opens(script: Script) -> None:
    text = """const socket = connect("echo");
      socket.close();
      const closed = await socket.next("close");
      return [socket.events.map(([type]) => type), closed.code, closed.wasClean];"""
    assert script(text) == [["error", "close"], 1006, False]


@pytest.mark.parametrize(
    ("how", "code", "reason"),
    [
        ("1000,", 1000, ""),
        ("1011,grüße 漢", 1011, "grüße 漢"),
        ("3000,library", 3000, "library"),
        ("4999," + "r" * 123, 4999, "r" * 123),
        ("empty", 1005, ""),
    ],
)
def test_codes_that_a_server_closes_with(script: Script, how: str, code: int, reason: str) -> None:
    text = """const socket = connect(`close?${encodeURIComponent(args[0])}`);
      return await socket.next("close");"""
    assert script(text, how) == {"code": code, "reason": reason, "wasClean": True}


def test_a_server_that_goes_away_does_not_wait(script: Script) -> None:
    # Whether that is clean depends on who is faster.
    text = 'return (await connect("close?1001,going").next("close"));'
    closed = script(text)
    assert (closed["code"], closed["reason"]) == (1001, "going")


def test_a_dropped_connection_is_1006(script: Script) -> None:
    text = """const socket = await opened("close?drop");
      socket.send("now");
      await socket.next("close");
      return socket.events.filter(([type]) => type !== "error");"""
    assert script(text) == [["open", None], ["close", {"code": 1006, "reason": "", "wasClean": False}]]


@pytest.mark.parametrize(
    ("call", "told"),
    [("close()", "1005 None"), ("close(1000)", "1000 "), ("close(4321, 'grüße')", "4321 grüße")],
)
def test_codes_that_a_page_closes_with(script: Script, call: str, told: str) -> None:
    text = f"""const watched = await opened("tells?watched");
      watched.{call};
      return await (await opened("tells")).next("message");"""
    assert script(text) == told


def test_a_page_that_goes_away_closes_with_1001(script: Script) -> None:
    text = """const frame = document.querySelector("iframe");
      const loaded = new Promise((resolve) => frame.onload = resolve);
      frame.src = "index.html";
      await loaded;
      frame.contentWindow.socket = new frame.contentWindow.WebSocket(resource("tells?watched"));
      await new Promise((resolve) => frame.contentWindow.socket.onopen = resolve);
      frame.remove();
      return await (await opened("tells")).next("message");"""
    assert script(text).startswith("1001 ")


@pytest.mark.parametrize(
    "frame",
    [
        "8102ff00",  # text that is not UTF-8
        "8301 61",  # a reserved opcode
        "c101 61",  # RSV1 without an extension that knows it
        "0901 61",  # a control frame in fragments
        "8001 61",  # a continuation of nothing
    ],
)
def test_frames_that_break_the_protocol_end_the_connection(script: Script, frame: str) -> None:
    text = """const socket = connect(`raw?${args[0]}`);
      const closed = await socket.next("close");
      return [socket.events.some(([type]) => type === "message"), closed.wasClean];"""
    got_message, was_clean = script(text, frame.replace(" ", ""))
    assert (got_message, was_clean) == (False, False)


def test_fragments_and_pings_between_them(script: Script) -> None:
    # "Hel", ping, "l", pong nobody asked for, "o"
    frames = "010348656c" + "890170" + "00016c" + "8a0171" + "80016f"
    text = """const socket = connect(`raw?${args[0]}`);
      const message = await socket.next("message");
      socket.close(1000);
      return [message, (await socket.next("close")).code];"""
    assert script(text, frames) == ["Hello", 1000]


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [("one", "one"), (["one"], "one"), (["one", "two", "x-3.~"], "x-3.~"), ([], "")],
)
def test_subprotocols(script: Script, offered: Any, chosen: str) -> None:
    text = """const socket = await opened("echo", args[0]);
      return socket.protocol;"""
    assert script(text, offered) == chosen


def test_permessage_deflate_is_used_where_the_handler_takes_it(script: Script) -> None:
    text = """const extensions = [];
      for (const name of ["echo", "plain"]) {
        const socket = await opened(name);
        const text = "compress me ".repeat(10000);
        socket.send(text);
        if (await socket.next("message") !== text) throw new Error(name);
        extensions.push(socket.extensions);
      }
      return extensions;"""
    compressed, plain = script(text)
    assert compressed.split(";")[0] == "permessage-deflate"
    assert plain == ""


def test_the_head_of_the_handshake_and_cookies(script: Script, site: Server) -> None:
    text = """const ask = async (name) => (await opened(`head?${name}`)).next("message");
      const answers = [await ask("Origin"), await ask("Sec-WebSocket-Version")];
      return [...answers, await ask("Cookie"), document.cookie];"""
    origin, version, sent, seen = script(text)
    assert (origin, version) == (f"http://{site.address}", "13")
    # Both go back to the server; the page sees only one of them.
    assert {"flavour=oat", "secret=1"} <= set(sent.split("; "))
    assert "flavour=oat" in seen
    assert "secret" not in seen


def test_a_worker_has_sockets_of_its_own(script: Script) -> None:
    text = """const worker = new Worker("worker.js");
      const answer = new Promise((resolve, reject) => {
        worker.onmessage = ({data}) => resolve(data);
        worker.onerror = reject;
      });
      worker.postMessage({resource: "echo", message: "from a worker"});
      return await answer;"""
    closed = {"code": 1000, "reason": "", "wasClean": True}
    assert script(text) == {"answer": "from a worker", "closed": closed}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder to serve, with the page of the site and an echo."""
    site = Path(__file__).parent / "site"
    for name in ["index.html", "site.js"]:
        write(tmp_path, name, (site / name).read_text())
    write(tmp_path, "echo_wsh.py", ECHO)
    return tmp_path


def test_wss_with_the_certificate_made_at_the_start(browser: Browser, own: Path) -> None:
    with Server(own, "--tls-self-signed", host="localhost") as server:
        browser.open(f"https://{server.address}/index.html")
        text = """const socket = await opened("echo");
          socket.send("over TLS");
          const answer = [socket.url.slice(0, 6), await socket.next("message")];
          socket.close(1000);
          return [...answer, (await socket.next("close")).wasClean];"""
        assert run(browser, text) == ["wss://", "over TLS", True]


def test_an_open_page_that_reconnects_gets_the_new_code(browser: Browser, own: Path) -> None:
    def answering(text: str) -> str:
        return handler(
            f"""
            while request.ws_stream.receive_message() is not None:
                request.ws_stream.send_message({text!r})
            """
        )

    path = write(own, "edited_wsh.py", answering("old"))
    with Server(own, "--log-level", "info", host="localhost") as server:
        browser.open(f"http://{server.address}/index.html")
        asking = """const socket = await opened("edited");
          socket.send("?");
          window.first ??= socket;
          return await socket.next("message");"""
        assert run(browser, asking) == "old"
        path.write_text(answering("new"))
        server.log.wait_for("Reloaded in .*changed /edited")
        assert run(browser, asking) == "new"
        # The connection from before keeps its code.
        kept = 'first.send("?"); return await first.next("message", 2);'
        assert run(browser, kept) == "old"


def test_a_server_that_stops_says_goodbye(browser: Browser, own: Path) -> None:
    with Server(own, host="localhost") as server:
        browser.open(f"http://{server.address}/index.html")
        run(browser, 'window.socket = await opened("echo");')
        assert server.stop() == 0
        closed = wait_for(browser, 'socket.events.find(([type]) => type === "close")')
        assert closed == ["close", {"code": 1001, "reason": "", "wasClean": True}]
        assert server.log.rest().count("Traceback") == 0
