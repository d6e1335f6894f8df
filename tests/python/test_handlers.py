"""What a handler can rely on: threads, shared globals, its own failures, its connection after the end."""

import errno
import json
import re
import socket
import sys
from pathlib import Path

import pytest
from serving import ECHO, SECONDS, Start, client_frame, close_body, handler, wait_until, write
from websockets.exceptions import ConnectionClosed


def test_globals_are_shared_and_the_file_is_run_once(start: Start, tmp_path: Path, way: str) -> None:
    source = handler(
        """
        request.ws_stream.receive_message()
        mine = SEEN[threading.get_ident()] is request
        request.ws_stream.send_message(f"{len(SEEN)} {mine}")
        """,
        handshake="SEEN[threading.get_ident()] = request",
        before="import threading\nSEEN = {}\nprint('ran')",
    )
    write(tmp_path, "a_wsh.py", source)
    server = start(way=way)
    clients = [server.talk("/a") for _ in range(5)]
    wait_until(lambda: len(server.handler_threads()) == 5, "five handler threads")
    for client in reversed(clients):
        client.send("?")
        # Each has a thread of its own, the same one for both functions.
        assert client.recv(SECONDS) == "5 True"
        client.close()
    server.stop()
    assert server.output.rest() == "ran\n"


def test_a_handler_that_waits_for_another_one_blocks_nobody(start: Start, tmp_path: Path, way: str) -> None:
    body = """
        message = request.ws_stream.receive_message()
        with CHANGED:
            VALUES.append(message)
            CHANGED.notify_all()
            CHANGED.wait_for(lambda: len(VALUES) == 3)
        request.ws_stream.send_message(",".join(sorted(VALUES)))
        """
    before = "import threading\nCHANGED, VALUES = threading.Condition(), []"
    write(tmp_path, "a_wsh.py", handler(body, before=before))
    server = start(way=way)
    with server.talk("/a") as first, server.talk("/a") as second, server.talk("/a") as third:
        for client, message in [(first, "x"), (second, "y"), (third, "z")]:
            client.send(message)
        assert {client.recv(SECONDS) for client in (first, second, third)} == {"x,y,z"}


def test_one_thread_receives_while_another_one_sends(start: Start, tmp_path: Path, way: str) -> None:
    body = """
        def send():
            for number in range(1000):
                request.ws_stream.send_message(str(number))
        sender = threading.Thread(target=send)
        sender.start()
        assert request.ws_stream.receive_message() == "stop"
        sender.join()
        """
    write(tmp_path, "a_wsh.py", handler(body, before="import threading"))
    with start(way=way).talk("/a") as client:
        # The handler waits for a message all the time.
        assert [client.recv(SECONDS) for _ in range(1000)] == [str(number) for number in range(1000)]
        client.send("stop")
        with pytest.raises(ConnectionClosed):
            client.recv(SECONDS)
        assert client.close_code == 1000


def test_one_thread_receives_while_another_one_cannot_send(start: Start, tmp_path: Path, way: str) -> None:
    body = """
        def send():
            request.ws_stream.send_message(bytes(64 << 20), binary=True)
        sender = threading.Thread(target=send)
        sender.start()
        print(request.ws_stream.receive_message())
        print("busy" if sender.is_alive() else "done")
        sender.join()
        """
    write(tmp_path, "a_wsh.py", handler(body, before="import threading"))
    server = start(way=way)
    with server.raw("/a") as client:
        client.send(1, b"received")
        server.output.wait_for("^received\nbusy$")
        assert len(client.frame().payload) == 64 << 20


def test_messages_of_threads_do_not_mix(start: Start, tmp_path: Path) -> None:
    body = """
        def send(letter):
            for size in range(300):
                request.ws_stream.send_message(letter * size * 10)
        threads = [threading.Thread(target=send, args=(letter,)) for letter in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        """
    write(tmp_path, "a_wsh.py", handler(body, before="import threading"))
    with start().raw("/a") as client:
        sizes: dict[bytes, list[int]] = {}
        for _ in range(1200):
            payload = client.frame().payload
            assert payload == payload[:1] * len(payload)
            sizes.setdefault(payload[:1], []).append(len(payload))
    assert sizes.pop(b"") == [0] * 4
    assert sizes == {letter: list(range(10, 3000, 10)) for letter in (b"a", b"b", b"c", b"d")}


def test_a_handler_sends_on_another_connection(start: Start, tmp_path: Path, way: str) -> None:
    body = """
        REQUESTS.append(request)
        while (message := request.ws_stream.receive_message()) is not None:
            for other in list(REQUESTS):
                msgutil.send_message(other, f"{message} to {REQUESTS.index(other)}")
        REQUESTS.remove(request)
        """
    before = "from pywebsocket3 import msgutil\nREQUESTS = []"
    write(tmp_path, "a_wsh.py", handler(body, before=before))
    with (server := start(way=way)).talk("/a") as first:
        first.send("x")
        assert first.recv(SECONDS) == "x to 0"
        with server.talk("/a") as second:
            second.send("y")
            assert (first.recv(SECONDS), second.recv(SECONDS)) == ("y to 0", "y to 1")


def test_answers_to_messages_that_came_together_go_out_together(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start()

    def segments() -> int:
        with server.raw("/echo") as client:
            client.socket.sendall(client_frame(1, b"x") * 100)
            assert [client.frame().payload for _ in range(100)] == [b"x"] * 100
            # `tcpi_data_segs_in` of the kernel's `struct tcp_info`
            info = client.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 156)
            return int.from_bytes(info[152:156], sys.byteorder)

    # One for the handshake and one for them, more where a busy machine takes a millisecond for some: so it
    # has many tries. By itself the system makes 13 of them at the least.
    assert any(segments() <= 5 for _ in range(200))


def test_an_answer_goes_out_though_the_next_message_has_none(start: Start, tmp_path: Path) -> None:
    body = """
        while (message := request.ws_stream.receive_message()) is not None:
            if message == "go":
                GO.set()
            request.ws_stream.send_message(message)
            GO.wait()
        """
    write(tmp_path, "a_wsh.py", handler(body, before="import threading\nGO = threading.Event()"))
    server = start()
    with server.raw("/a") as client:
        client.socket.sendall(client_frame(1, b"x") + client_frame(1, b"y"))
        assert client.frame().payload == b"x"
        assert server.ask("/a", "go") == "go"
        assert client.frame().payload == b"y"


def test_what_is_printed_comes_out_at_once(start: Start, tmp_path: Path, way: str) -> None:
    write(tmp_path, "a_wsh.py", handler("print('printed')\nrequest.ws_stream.receive_message()"))
    server = start(way=way)
    with server.raw("/a"):
        server.output.wait_for("^printed$")


def test_records_of_logging_are_in_the_log(start: Start, tmp_path: Path, way: str) -> None:
    body = """
        logging.getLogger("my.own").info("%d of %s", 1, "mine")
        logging.getLogger("my.own").debug("not shown")
        logging.critical("of the root")
        warnings.warn("odd", stacklevel=1)
        try:
            1 / 0
        except ZeroDivisionError:
            logging.getLogger("my.own").exception("with a traceback")
        """
    write(tmp_path, "a_wsh.py", handler(body, before="import logging, warnings"))
    server = start("--log-level", "info", way=way)
    with server.raw("/a") as client:
        client.frame()
    log = server.log
    log.wait_for(r"^\[[\d-]+ [\d:,]+\] \[INFO\] my\.own: 1 of mine$")
    log.wait_for(r"^\[.*\] \[CRITICAL\] root: of the root$")
    log.wait_for(r"^\[.*\] \[WARNING\] py\.warnings: .*a_wsh\.py:\d+: UserWarning: odd$")
    log.wait_for(r"^\[.*\] \[ERROR\] my\.own: with a traceback\n  Traceback .*\n(.*\n)+  ZeroDivisionError: ")
    assert "not shown" not in log.text


def test_an_exception_costs_its_own_connection_and_is_logged_once(
    start: Start, tmp_path: Path, way: str
) -> None:
    path = write(tmp_path, "a_wsh.py", handler("helper()", before="def helper():\n    raise KeyError('k')"))
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start(way=way)
    with server.talk("/echo") as other:
        with server.raw("/a") as client:
            assert client.rest() == b"", "no close frame"
        server.log.wait_for(r"^  KeyError: ")
        other.send("alive")
        assert other.recv(SECONDS) == "alive"
    assert server.ask("/echo", "new") == "new"
    assert server.stop() == 0
    log = server.log.rest()
    assert log.count("Traceback") == log.count("KeyError: ") == 1
    assert re.search(
        r"\[ERROR\] .*: Exception in processing request from: \('127.0.0.1', \d+\)\n  Traceback", log
    )
    assert f'    File "{path}", line 2, in helper\n      raise KeyError' in log
    assert "web_socket_transfer_data raised exception for /a" in log


@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
@pytest.mark.parametrize("place", ["handshake", "data"])
def test_no_exception_ends_the_server(start: Start, tmp_path: Path, way: str, error: str, place: str) -> None:
    guilty = f"raise {error}(7)"
    write(tmp_path, "a_wsh.py", handler(guilty) if place == "data" else handler("pass", handshake=guilty))
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start(way=way)
    with server.raw("/a", upgraded=place == "data") as client:
        assert client.rest() == b""
    assert server.ask("/echo", "alive") == "alive"
    wait_until(lambda: server.handler_threads() == [], "the end of the threads")
    assert server.stop() == 0


def test_a_handler_without_end_of_recursion_costs_its_connection_only(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "a_wsh.py", handler("web_socket_transfer_data(request)"))
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start()
    with server.raw("/a") as client:
        assert client.rest() == b""
    server.log.wait_for("^  RecursionError: ")
    assert server.ask("/echo", "alive") == "alive"


KEPT = """
import errno
import json
import threading

from pywebsocket3 import msgutil

KEPT = []
CALLS = {
    "write": lambda request: request.connection.write(b"x"),
    "read": lambda request: request.connection.read(1),
    "send_message": lambda request: request.ws_stream.send_message("x"),
    "send_binary": lambda request: msgutil.send_message(request, b"x" * 100000, binary=True),
    "send_ping": lambda request: request.ws_stream.send_ping(b"x"),
    "receive_message": lambda request: request.ws_stream.receive_message(),
    "receive_bytes": lambda request: request.ws_stream.receive_bytes(1),
    "close_connection": lambda request: request.ws_stream.close_connection(),
    "remote_addr": lambda request: request.connection.remote_addr[0],
    "headers_in": lambda request: request.headers_in["HOST"],
}


def outcome(request, call):
    try:
        return repr(call(request))
    except OSError as error:
        return f"{type(error).__name__} {error.errno}"
    except Exception as error:
        return type(error).__name__


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    if request.ws_resource != "/a?tell":
        KEPT.append(request)
        if request.ws_resource == "/a?raise":
            raise ValueError("the handler ends")
        return
    outcomes = {name: outcome(KEPT[0], call) for name, call in CALLS.items()}
    request.ws_stream.send_message(json.dumps(outcomes))
"""


@pytest.mark.parametrize("end", ["return", "raise"])
def test_a_request_that_was_kept_refuses_clearly(start: Start, tmp_path: Path, way: str, end: str) -> None:
    write(tmp_path, "a_wsh.py", KEPT)
    server = start(way=way)
    with server.raw(f"/a?{end}") as client:
        if end == "return":
            assert client.frame().payload == close_body(1000)
            client.send(8, close_body(1000))
        assert client.rest() == b""
    bad_file = f"OSError {errno.EBADF}"
    over = "BadOperationException"
    after_return = {
        "send_message": over,
        "send_binary": over,
        "receive_message": over,
        "close_connection": "None",
    }
    after_error = {
        "send_message": bad_file,
        "send_binary": bad_file,
        "receive_message": "ConnectionTerminatedException",
        "close_connection": bad_file,
    }
    told = server.ask("/a?tell", None)
    assert json.loads(told) == {
        "write": bad_file,
        "read": bad_file,
        "send_ping": bad_file,
        "receive_bytes": "ConnectionTerminatedException",
        "remote_addr": repr("127.0.0.1"),
        "headers_in": repr("a.example"),
        **(after_return if end == "return" else after_error),
    }


def test_threads_that_send_past_the_end_get_exceptions(start: Start, tmp_path: Path, way: str) -> None:
    source = handler(
        """
        def send():
            try:
                while True:
                    request.connection.write(b"\\x81\\x01x")
            except OSError as error:
                print(f"ended {error.errno}")
            except BaseException as error:
                print(f"wrong {error!r}")
        threading.Thread(target=send).start()
        raise SystemExit
        """,
        before="import threading",
    )
    write(tmp_path, "a_wsh.py", source)
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start(way=way)
    for number in range(1, 51):
        with server.raw("/a") as client:
            client.rest()
        server.output.wait_for(rf"(ended \d+\n){{{number}}}")
    endings = {f"ended {number}" for number in (errno.EBADF, errno.EPIPE, errno.ECONNRESET)}
    assert set(server.output.text.split("\n")) <= {"", *endings}
    assert server.ask("/echo", "alive") == "alive"


def test_the_request_takes_attributes_and_is_a_key(start: Start, tmp_path: Path, way: str) -> None:
    body = """
        assert COUNTS == {request: 1} and request.mine == "x"
        told = {
            "fields": [request.headers_in["HOST"], request.headers_in["nothing"]],
            "getters": [request.get_uri(), request.get_method(), request.get_protocol(), request.is_https()],
            "names": [name for name in dir(request) if not name.startswith("_")],
        }
        request.ws_stream.send_message(json.dumps(told))
        """
    handshake = "request.mine = 'x'\nCOUNTS[request] = 1"
    write(tmp_path, "a_wsh.py", handler(body, handshake, "import json\nCOUNTS = {}"))
    with start(way=way).raw("/a?b=%20") as client:
        told = json.loads(client.frame().payload)
    assert told["fields"] == ["a.example", None]
    assert told["getters"] == ["/a?b=%20", "GET", "HTTP/1.1", False]
    assert set(told["names"]) >= {
        "client_terminated",
        "connection",
        "extra_headers",
        "headers_in",
        "server_terminated",
        "sts",
        "unparsed_uri",
        "uri",
        "ws_close_code",
        "ws_close_reason",
        "ws_extension_processors",
        "ws_extensions",
        "ws_origin",
        "ws_protocol",
        "ws_requested_extensions",
        "ws_requested_protocols",
        "ws_resource",
        "ws_stream",
        "ws_version",
    }
