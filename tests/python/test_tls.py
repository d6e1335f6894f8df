"""`wss://` and `https://` with real clients: Python's ssl, openssl, curl. Certificates are made here."""

import base64
import concurrent.futures
import contextlib
import hashlib
import http.client
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any, Optional

import pytest
from serving import (
    ECHO,
    SECONDS,
    Output,
    RawClient,
    Server,
    Start,
    client_frame,
    handler,
    program,
    run,
    write,
)
from websockets.sync.client import ClientConnection, connect

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"
SIZE = 16 << 20

KEYS = {
    "RSA, PKCS#8": ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "RSA 4096, PKCS#1": ["genrsa", "-traditional", "4096"],
    "P-256, PKCS#8": ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    # With the curve in a section of its own before the key.
    "P-256, SEC1": ["ecparam", "-name", "prime256v1", "-genkey"],
    "P-384, SEC1": ["ecparam", "-name", "secp384r1", "-genkey", "-noout"],
    "Ed25519": ["genpkey", "-algorithm", "ED25519"],
}


def openssl(*arguments: object) -> str:
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS).stdout


def make_key(path: Path, kind: str = "P-256, PKCS#8") -> Path:
    path.write_text(openssl(*KEYS[kind]))
    return path


def self_signed(folder: Path, kind: str = "P-256, PKCS#8", name: str = "server") -> tuple[Path, Path]:
    """A certificate for this machine, signed by itself, and its key."""
    key, certificate = make_key(folder / f"{name}-key.pem", kind), folder / f"{name}.pem"
    openssl("req", "-x509", "-key", key, "-out", certificate, "-subj", "/CN=localhost", "-addext", NAMES)
    return certificate, key


def signed(folder: Path, name: str, issuer: Optional[str], *, is_authority: bool) -> Path:
    """A certificate signed by that of `issuer`, else by itself; its key lies beside it."""
    key, request = make_key(folder / f"{name}-key.pem"), folder / f"{name}.csr"
    extensions = folder / f"{name}.ext"
    extensions.write_text(f"basicConstraints=critical,CA:{'TRUE' if is_authority else 'FALSE'}\n{NAMES}\n")
    openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
    signer = ["-CA", folder / f"{issuer}.pem", "-CAkey", folder / f"{issuer}-key.pem", "-CAcreateserial"]
    signer = signer if issuer else ["-signkey", key]
    certificate = folder / f"{name}.pem"
    openssl("x509", "-req", "-in", request, "-extfile", extensions, "-out", certificate, *signer)
    return certificate


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def tls_options(certificate: Path, key: Path) -> list[str]:
    return ["--tls", "-c", str(certificate), "-k", str(key)]


def talk(server: Server, resource: str, context: ssl.SSLContext, **options: Any) -> ClientConnection:
    options = {"open_timeout": SECONDS, "close_timeout": SECONDS, "proxy": None, "max_size": None} | options
    return connect(f"wss://localhost:{server.port}{resource}", ssl=context, **options)


def echoes(server: Server, context: ssl.SSLContext) -> bool:
    with talk(server, "/echo", context) as client:
        client.send("over TLS")
        return client.recv(SECONDS) == "over TLS"


@pytest.mark.parametrize("kind", KEYS)
def test_every_kind_of_key_in_two_files_and_in_one(tmp_path: Path, start: Start, kind: str) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    certificate, key = self_signed(tmp_path, kind)
    assert echoes(start(*tls_options(certificate, key)), trusting(certificate))
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    assert echoes(start(*tls_options(both, both)), trusting(certificate))


def test_a_chain_is_sent_whole(tmp_path: Path, start: Start) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    root = signed(tmp_path, "root", None, is_authority=True)
    middle = signed(tmp_path, "middle", "root", is_authority=True)
    leaf = signed(tmp_path, "leaf", "middle", is_authority=False)
    chain = tmp_path / "chain.pem"
    chain.write_text(leaf.read_text() + middle.read_text())
    assert echoes(start(*tls_options(chain, tmp_path / "leaf-key.pem")), trusting(root))


def test_tls_1_2_and_1_3_and_nothing_older(tmp_path: Path, start: Start) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    certificate, key = self_signed(tmp_path)
    server = start(*tls_options(certificate, key))
    for version in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:
        context = trusting(certificate)
        context.minimum_version = context.maximum_version = version
        assert echoes(server, context)
    old = subprocess.run(
        ["openssl", "s_client", "-connect", server.address, "-tls1_1", "-cipher", "ALL@SECLEVEL=0"],
        input="",
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert old.returncode != 0
    assert "alert" in old.stderr


def test_the_handler_knows(tmp_path: Path, start: Start) -> None:
    write(tmp_path, "who_wsh.py", handler("request.ws_stream.send_message(str(request.is_https()))"))
    certificate, key = self_signed(tmp_path)
    server = start(*tls_options(certificate, key))
    with talk(server, "/who", trusting(certificate)) as client:
        assert client.recv(SECONDS) == "True"
    with RawClient(server.host, server.port) as raw:
        raw.socket = trusting(certificate).wrap_socket(raw.socket, server_hostname="localhost")
        raw._file = raw.socket.makefile("rb")
        raw.handshake(f"wss://localhost:{server.port}/who")
        assert raw.response()[0] == 101
        assert raw.frame().payload == b"True"


def test_large_messages_both_ways_at_once_from_two_threads(tmp_path: Path, start: Start) -> None:
    body = f"""
        thread = threading.Thread(target=request.ws_stream.send_message, args=(b"s" * {SIZE}, True, True))
        thread.start()
        received = request.ws_stream.receive_message()
        thread.join()
        request.ws_stream.send_message(str(received == b"c" * {SIZE}))
    """
    write(tmp_path, "both_wsh.py", handler(body, before="import threading"))
    certificate, key = self_signed(tmp_path)
    server = start(*tls_options(certificate, key))
    # Without compression, and with the client reading nothing until it has sent everything.
    with talk(server, "/both", trusting(certificate), compression=None, max_queue=1) as client:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            sent = pool.submit(client.send, b"c" * SIZE)
            sent.result(SECONDS)
        assert client.recv(SECONDS) == b"s" * SIZE
        assert client.recv(SECONDS) == "True"


def test_many_small_messages_from_two_threads(tmp_path: Path, start: Start) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    certificate, key = self_signed(tmp_path)
    with talk(start(*tls_options(certificate, key)), "/echo", trusting(certificate)) as client:

        def send() -> None:
            for number in range(2000):
                client.send(str(number))

        thread = threading.Thread(target=send)
        thread.start()
        assert [client.recv(SECONDS) for _ in range(2000)] == [str(number) for number in range(2000)]
        thread.join()


def test_new_keys_in_the_middle_of_a_connection(tmp_path: Path, start: Start) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    certificate, key = self_signed(tmp_path)
    server = start(*tls_options(certificate, key))
    client = subprocess.Popen(
        ["openssl", "s_client", "-connect", server.address, "-CAfile", certificate, "-tls1_3", "-brief"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert client.stdin
        assert client.stdout
        assert client.stderr
        errors = Output(client.stderr)
        head = ["GET /echo HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade"]
        head += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "", ""]
        client.stdin.write("\r\n".join(head).encode())
        client.stdin.flush()
        while client.stdout.readline().strip():
            pass
        for _ in range(2):
            seen = len(errors.text)
            # openssl's command to change our keys and ask for a change of the server's.
            client.stdin.write(b"K\n")
            client.stdin.flush()
            errors.wait_for("KEYUPDATE", seen)
            client.stdin.write(client_frame(1, b"x" * 100))
            client.stdin.flush()
            assert client.stdout.read(102) == b"\x81\x64" + b"x" * 100
    finally:
        client.kill()
        client.wait(SECONDS)


def test_a_request_without_tls_is_told(tmp_path: Path, start: Start) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    certificate, key = self_signed(tmp_path)
    server = start(*tls_options(certificate, key))
    client = http.client.HTTPConnection(server.host, server.port, timeout=SECONDS)
    with contextlib.closing(client):
        client.request("GET", "/echo")
        response = client.getresponse()
        assert response.status == 400
        assert b"use https:// or wss://" in response.read()
    assert echoes(server, trusting(certificate))


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_curl(tmp_path: Path, start: Start) -> None:
    write(tmp_path, "a.txt", "hello")
    authority = signed(tmp_path, "authority", None, is_authority=True)
    person = signed(tmp_path, "person", "authority", is_authority=False)
    certificate, key = self_signed(tmp_path)
    server = start(*tls_options(certificate, key), "--tls-client-auth", "--tls-client-ca", str(authority))
    common = ["curl", "--silent", "--show-error", "--max-time", str(SECONDS), "--noproxy", "*"]
    common += ["--cacert", str(certificate)]
    proof = ["--cert", str(person), "--key", str(tmp_path / "person-key.pem")]

    def curl(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*common, *arguments], capture_output=True, text=True, timeout=SECONDS + 5)

    assert curl(*proof, f"https://localhost:{server.port}/a.txt").stdout == "hello"
    assert curl(f"https://localhost:{server.port}/a.txt").returncode != 0
    assert "https:// or wss://" in curl(f"http://localhost:{server.port}/a.txt").stdout


def test_self_signed(tmp_path: Path, start: Start) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start("--tls-self-signed")
    pem = ssl.get_server_certificate(("127.0.0.1", server.port))
    path = tmp_path / "shown.pem"
    path.write_text(pem)
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    server.log.wait_for(":".join(digest[i : i + 2] for i in range(0, 64, 2)))
    public = ssl.PEM_cert_to_DER_cert(  # The same armour around another content.
        openssl("x509", "-in", path, "-noout", "-pubkey").replace("PUBLIC KEY", "CERTIFICATE")
    )
    assert base64.b64encode(hashlib.sha256(public).digest()).decode() in server.log.text
    context = trusting(path)
    assert echoes(server, context)
    for name in ["127.0.0.1", "::1"]:
        with socket.create_connection(("127.0.0.1", server.port), SECONDS) as plain:
            context.wrap_socket(plain, server_hostname=name).close()


def test_sighup_reads_certificates_and_handlers_again_and_drops_nobody(tmp_path: Path, start: Start) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    certificate, key = self_signed(tmp_path)
    server = start(*tls_options(certificate, key), "--no-reload", "--log-level", "info")
    with talk(server, "/echo", trusting(certificate)) as client:
        new_certificate, new_key = self_signed(tmp_path, name="new")
        new_key.replace(key)
        new_certificate.replace(certificate)
        write(tmp_path, "more_wsh.py", ECHO)
        server.process.send_signal(signal.SIGHUP)
        server.log.wait_for("New connections get the certificate")
        server.log.wait_for("/more")
        client.send("still here")
        assert client.recv(SECONDS) == "still here"
    context = trusting(certificate)
    assert echoes(server, context)
    with talk(server, "/more", context) as client:
        client.send("new")
        assert client.recv(SECONDS) == "new"


def test_what_cannot_work_is_one_line_at_the_start(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    weak_key, weak = tmp_path / "weak-key.pem", tmp_path / "weak.pem"
    weak_key.write_text(openssl("genrsa", "1024"))
    openssl("req", "-x509", "-key", weak_key, "-out", weak, "-subj", "/CN=localhost")
    sha1 = tmp_path / "sha1.pem"
    openssl("req", "-x509", "-sha1", "-key", key, "-out", sha1, "-subj", "/CN=localhost")
    odd_key, odd = tmp_path / "odd-key.pem", tmp_path / "odd.pem"
    odd_key.write_text(openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"))
    openssl("req", "-x509", "-key", odd_key, "-out", odd, "-subj", "/CN=localhost")
    locked = tmp_path / "locked.pem"
    openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked)
    for options, said in [
        (tls_options(tmp_path / "gone.pem", key), "--certificate .*gone.pem: No such file"),
        (tls_options(certificate, tmp_path), "--private-key .*: Is a directory"),
        (tls_options(weak, weak_key), "weak.pem: the certificate is too weak: RSA with 1024 bits"),
        (tls_options(sha1, key), "sha1.pem: the certificate is too weak: signed with MD5 or SHA-1"),
        (tls_options(odd, odd_key), "odd-key.pem: cannot use this key; it must be .*P-384"),
        (tls_options(certificate, locked), "locked.pem: the key is encrypted"),
        (tls_options(certificate, weak_key), "weak-key.pem: .*"),
        (
            [*tls_options(certificate, key), "--tls-client-auth", "--tls-client-ca", str(key)],
            "no certificate",
        ),
    ]:
        done = run("-p", "0", "-d", str(tmp_path), *options)
        assert done.returncode == 1, options
        assert [line for line in done.stderr.splitlines() if line.startswith("wshost: ")] == [
            done.stderr.strip()
        ]
        assert re.search(said, done.stderr), (said, done.stderr)


def test_a_server_in_another_process(tmp_path: Path) -> None:
    program("wheel")
    write(tmp_path, "echo_wsh.py", ECHO)
    certificate, key = self_signed(tmp_path)
    code = """
        import sys
        from pywebsocket3 import standalone
        options, _ = standalone._parse_args_and_config(sys.argv[1:])
        with standalone.WebSocketServer(options) as server:
            print(server.server_port, flush=True)
            server.serve_forever()
    """
    arguments = ["-H", "127.0.0.1", "-p", "0", "-d", str(tmp_path), "-w", str(tmp_path)]
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    served = subprocess.Popen([*command, *tls_options(certificate, key)], stdout=subprocess.PIPE, text=True)
    try:
        assert served.stdout
        port = int(served.stdout.readline())
        with connect(f"wss://localhost:{port}/echo", ssl=trusting(certificate), proxy=None) as client:
            client.send("over TLS")
            assert client.recv(SECONDS) == "over TLS"
    finally:
        served.kill()
        served.wait(SECONDS)
    wrong = subprocess.run(
        [*command, *tls_options(certificate, tmp_path / "gone")],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert wrong.returncode == 1
    assert re.search(r"SSLError: .*--private-key .*gone: No such file", wrong.stderr), wrong.stderr
