"""A stop ends in time, and leaves nothing behind, also in a program of others (docs/migrating.md)."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from serving import Start, handler, wait_until, write
from test_harnesses import Script, echo_once, handlers, scripts
from test_tls import self_signed, trusting

__all__ = ["handlers", "scripts"]


@pytest.mark.parametrize("package", ["pywebsocket3", "mod_pywebsocket"])
def test_a_thread_that_outlives_its_handler_does_not_hold_up_the_end(
    start: Start, tmp_path: Path, package: str
) -> None:
    pytest.importorskip("wshost")
    body = """
    threading.Thread(target=threading.Event().wait, daemon=False).start()
    request.ws_stream.send_message("left")
    """
    write(tmp_path, "a_wsh.py", handler(body, before="import threading"))
    server = start("--grace", "0.1", command=[sys.executable, "-m", f"{package}.standalone"])
    assert server.ask("/a", None) == "left"
    assert server.stop() == 0
    assert "The stop takes longer than --grace and 3 seconds" in server.log.rest()


def is_read(fifo: Path) -> "int | None":
    """A descriptor that keeps who has opened `fifo` waiting; `None`: nobody has."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


HANGS = """
    from pywebsocket3 import standalone

    what, root, fifo, key, certificate = sys.argv[1:]
    arguments = ["-H", "127.0.0.1", "-p", "0", "-d", root, "-w", root]
    tls = ["-t", "-c", certificate, "-k"]

    def make(arguments):
        return standalone.WebSocketServer(standalone._parse_args_and_config(arguments)[0])

    server = make([*arguments, *tls, key])
    say(port=server._sockets[0][0].getsockname()[1])
    listen()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    others = {"key of another": [*arguments, *tls, fifo], "configuration of another": ["--config", fifo]}
    if what in others:
        threading.Thread(target=make, args=[others[what]], daemon=True).start()
    listen()
    server.shutdown()
    server.server_close()
    thread.join()
    say(stopped=True)
"""


@pytest.mark.parametrize(
    "what", ["key of another", "configuration of another", "key at the beginning", "key that is renewed"]
)
def test_a_file_whose_read_hangs_does_not_hold_up_a_shutdown(
    what: str, handlers: Path, tmp_path: Path, scripts: "list[Script]"
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("makes a certificate with openssl")
    certificate, key = self_signed(tmp_path)
    context = trusting(certificate)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    script = Script(HANGS, tmp_path, what, str(handlers), str(fifo), str(key), str(certificate))
    scripts.append(script)
    port = script.hear()["port"]
    if what == "key at the beginning":
        fifo = fifo.rename(key)
    script.tell()
    if what == "key that is renewed":
        echo_once(port, ssl=context)
        fifo = fifo.rename(key)
    writer = wait_until(lambda: is_read(fifo), "the file is read")
    try:
        if what != "key at the beginning":
            echo_once(port, ssl=context)
        script.tell()
        assert script.hear() == {"stopped": True}
        assert script.end()[0] == 0
    finally:
        os.close(writer)


def test_a_map_file_that_is_a_fifo_is_refused(tmp_path: Path, scripts: "list[Script]") -> None:
    os.mkfifo(tmp_path / "map")
    script = Script(
        """
        from pywebsocket3 import standalone
        options, _ = standalone._parse_args_and_config(["-p", "0", "-d", "."])
        options.websock_handlers_map_file = "map"
        try:
            standalone.WebSocketServer(options)
        except OSError as error:
            say(error=str(error))
        """,
        tmp_path,
    )
    scripts.append(script)
    assert script.hear() == {"error": "it is not a regular file"}


RESTORED = """
    import signal
    from pywebsocket3 import standalone

    NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

    def dispositions():
        lines = open("/proc/self/status").read().splitlines()
        masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigCgt", "SigIgn"))]
        system = [[mask >> number - 1 & 1 for mask in masks] for number in NUMBERS]
        return [*map(signal.getsignal, NUMBERS), *system]

    def note(number, frame):
        say(noted=number)

    def tell_port(pipe):
        say(port=int(open(pipe).readline()))

    how, root, term = sys.argv[1:]
    wanted = {"function": note, "default": signal.SIG_DFL, "ignored": signal.SIG_IGN}[term]
    signal.signal(signal.SIGTERM, wanted)
    before = dispositions()
    arguments = ["-H", "127.0.0.1", "-p", "0", "-d", root, "-w", root]
    if how == "program":
        ready, told = os.pipe()
        os.set_inheritable(told, True)
        threading.Thread(target=tell_port, args=[ready]).start()
        standalone._main([*arguments, "--ready-fd", str(told)])
    else:
        server = standalone.WebSocketServer(standalone._parse_args_and_config(arguments)[0])
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        say(port=server._sockets[0][0].getsockname()[1])
        listen()
        assert dispositions() == before
        server.shutdown()
        server.server_close()
        thread.join()
    say(same=dispositions() == before)
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        say(interrupted=True)
    signal.raise_signal(signal.SIGTERM)
    say(goes_on=True)
    signal.raise_signal(signal.SIGHUP)
"""


@pytest.mark.parametrize("term", ["function", "default", "ignored"])
@pytest.mark.parametrize("how", ["program", "server"])
def test_signals_are_what_they_were_after_a_stop(
    how: str, term: str, handlers: Path, tmp_path: Path, scripts: "list[Script]"
) -> None:
    script = Script(RESTORED, tmp_path, how, str(handlers), term)
    scripts.append(script)
    echo_once(script.hear()["port"])
    noted = {"noted": int(signal.SIGTERM)}
    if how == "server":
        script.tell()
    elif term == "ignored":
        script.process.send_signal(signal.SIGINT)
    else:
        script.process.send_signal(signal.SIGTERM)
        if term == "function":
            assert script.hear() == noted
    assert script.hear() == {"same": True}
    assert script.hear() == {"interrupted": True}
    if term == "default":
        assert script.end()[0] == -signal.SIGTERM
        return
    if term == "function":
        assert script.hear() == noted
    assert script.hear() == {"goes_on": True}
    assert script.end()[0] == -signal.SIGHUP
