"""A client that still sends when its connection ends gets all that was sent to it."""

import contextlib
import http.client
import os
import shutil
import socket
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Optional, Union

import pytest
from serving import KEY, SECONDS, Server, Start, client_frame, close_body, handler, wait_until, write
from test_tls import self_signed, signed

Client = Union[socket.socket, ssl.SSLSocket]

SIZE = 150_000
"""More than the clients' system takes before they read."""

ENDS = {
    "returns": handler(f"request.ws_stream.send_message(b'x' * {SIZE}, binary=True)"),
    "raises": handler(f"request.ws_stream.send_message(b'x' * {SIZE}, binary=True)\nraise ValueError('so')"),
    "writes itself": handler(f"request.connection.write(b'x' * {SIZE})\nrequest.server_terminated = True"),
    "says that it has closed": handler(
        f"request.ws_stream.send_message(b'x' * {SIZE}, binary=True)\nrequest.server_terminated = True"
    ),
    "aborts": handler(
        f"""
        from mod_pywebsocket.handshake import AbortedByUserException
        request.ws_stream.send_message(b'x' * {SIZE}, binary=True)
        raise AbortedByUserException('so')
        """
    ),
    "shakes hands itself": handler(
        "pass", f"request.connection.write(b'x' * {SIZE})\nraise ValueError('so')"
    ),
}


def opening(resource: str) -> bytes:
    lines = [f"GET {resource} HTTP/1.1", "Host: a.example", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13", "", ""]
    return "\r\n".join(lines).encode()


def dial(server: Server, unix: Optional[Path]) -> socket.socket:
    """A client whose system takes little before it reads."""
    client = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    client.settimeout(SECONDS)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(str(unix) if unix else (server.host, server.port))
    return client


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def listen_and_talk(client: Client) -> bytes:
    """What comes until the end of the connection, to a client that sends all the time."""
    got = b""
    frame = client_frame(2, b"y" * 100)
    while piece := client.recv(4096):
        got += piece
        client.sendall(frame)
    return got


@pytest.mark.parametrize("transport", ["tcp", "tls", "unix"])
@pytest.mark.parametrize("end", ENDS)
def test_the_last_words_of_a_handler_arrive(start: Start, tmp_path: Path, end: str, transport: str) -> None:
    write(tmp_path, "a_wsh.py", ENDS[end])
    options: list[str] = []
    unix = None
    if transport == "tls":
        if shutil.which("openssl") is None:
            pytest.skip("makes certificates with openssl")
        certificate, key = self_signed(tmp_path)
        options = ["-t", "-c", str(certificate), "-k", str(key)]
    if transport == "unix":
        unix = tmp_path / "socket"
        server = start("--unix", str(unix))
    else:
        server = start(*options)
    with contextlib.ExitStack() as stack:
        client: Client = stack.enter_context(dial(server, unix))
        if transport == "tls":
            client = unverified().wrap_socket(client, suppress_ragged_eofs=False)
            stack.enter_context(client)
        client.sendall(opening("/a") + client_frame(2, b"y" * 50_000))
        assert listen_and_talk(client).count(b"x" * 100) >= SIZE // 100 - 10


def test_the_close_frame_after_a_message_that_is_too_big_arrives(start: Start, tmp_path: Path) -> None:
    body = f"request.ws_stream.send_message(b'x' * {SIZE}, binary=True)\nrequest.ws_stream.receive_message()"
    write(tmp_path, "a_wsh.py", handler(body))
    server = start("--max-message-size", "1000")
    with dial(server, None) as client:
        client.sendall(opening("/a") + client_frame(2, b"y" * 50_000) * 2)
        assert close_body(1009) in listen_and_talk(client)[-50:]


@pytest.mark.parametrize("code", [403, 400])
def test_a_refused_client_that_still_sends_gets_its_page(start: Start, tmp_path: Path, code: int) -> None:
    write(tmp_path, "a_wsh.py", handler("pass", "raise ValueError" if code == 403 else "pass"))
    server = start()
    with dial(server, None) as client:
        head = opening("/a") if code == 403 else opening("/a").replace(KEY.encode(), b"no key")
        # More than the system takes before somebody reads.
        client.sendall(head + b"y" * (16 << 20))
        page = b"".join(iter(lambda: client.recv(4096), b""))
        assert page.startswith(f"HTTP/1.0 {code}".encode()), page


@pytest.mark.parametrize("way_out", ["no such method", "unauthorized", "chunked for a script", "script"])
def test_a_client_that_sends_its_body_first_gets_the_answer(
    way_out: str,
) -> None:
    with contextlib.ExitStack() as stack:
        # Under a folder that a script of another user may enter.
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        os.chmod(folder, 0o755)
        script = write(
            Path(folder),
            "cgi-bin/a.py",
            "#!/usr/bin/env python3\nprint('Content-Type: text/plain'); print(); print('done')\n",
        )
        script.chmod(0o755)
        options = ["--cgi-paths", "/cgi-bin"]
        if way_out == "unauthorized":
            options += ["--basic-auth", "--basic-auth-credential", "a:b"]
        server = stack.enter_context(Server(Path(folder), *options))
        status, path = {
            "no such method": (501, "/no"),
            "unauthorized": (401, "/no"),
            "chunked for a script": (411, "/cgi-bin/a.py"),
            "script": (200, "/cgi-bin/a.py"),
        }[way_out]
        chunked = way_out == "chunked for a script"
        with contextlib.closing(
            http.client.HTTPConnection(server.host, server.port, timeout=SECONDS)
        ) as client:
            # All of it is sent before the client looks for an answer.
            body = b"y" * (16 << 20)
            if chunked:
                client.request(
                    "POST", path, iter([body]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
                )
            else:
                client.request("POST", path, body)
            response = client.getresponse()
            assert response.status == status
            assert response.read() or status == 401


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
def test_a_client_without_a_certificate_that_still_sends_hears_why(start: Start, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    authority = signed(tmp_path, "authority", None, is_authority=True)
    server = start(
        "-t", "-c", str(certificate), "-k", str(key), "--tls-client-auth", "--tls-client-ca", str(authority)
    )
    with dial(server, None) as plain, unverified().wrap_socket(plain) as client:
        with contextlib.suppress(ssl.SSLError):
            for _ in range(200):
                client.sendall(b"y" * 10_000)
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
            client.recv(1)


def test_a_client_that_keeps_its_side_open_sees_the_end_and_holds_up_no_stop(
    start: Start, tmp_path: Path
) -> None:
    write(tmp_path, "a_wsh.py", handler("request.server_terminated = True"))
    server = start()
    with server.raw("/a") as client:
        assert client.rest() == b""
        assert server.stop() == 0
    assert "do not end" not in server.log.rest()


def test_a_client_that_sends_without_end_is_cut_off(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "a_wsh.py", handler("request.server_terminated = True"))
    server = start()
    ended = threading.Event()
    with server.raw("/a") as client:
        assert client.rest() == b""

        def send() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client.socket.sendall(b"y" * (1 << 20))
            ended.set()

        threading.Thread(target=send, daemon=True).start()
        assert ended.wait(SECONDS)
    wait_until(lambda: not server.handler_threads(), "no thread of a handler")
