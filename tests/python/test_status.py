"""The status page as programs see it: JSON, Prometheus, the live events, and who may look."""

import contextlib
import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlsplit

from serving import ECHO, SECONDS, Server, Start, handler, run, wait_until, write

LOCAL = ["--status", "127.0.0.1:0"]
TOKEN = "0123456789abcdef-_"


def url(server: Server) -> str:
    """What was printed for people."""
    return server.log.wait_for(r"status page on (\S+)").group(1)


def ask(server: Server, path: str, method: str = "GET", **fields: Optional[str]) -> http.client.HTTPResponse:
    """The answer, of which the head has come."""
    address = urlsplit(url(server)).netloc
    connection = http.client.HTTPConnection(address.replace("localhost", "127.0.0.1"), timeout=SECONDS)
    connection.putrequest(method, path, skip_host=True)
    for name, value in ({"Host": address} | fields).items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders()
    return connection.getresponse()


def fetch(
    server: Server, path: str, method: str = "GET", **fields: Optional[str]
) -> tuple[int, dict[str, str], str]:
    """Status, fields and text of an answer."""
    response = ask(server, path, method, **fields)
    headers = {name.lower(): value for name, value in response.getheaders()}
    return response.status, headers, response.read().decode()


def api(server: Server) -> Any:
    """What `/api` tells."""
    status, headers, text = fetch(server, "/api")
    assert (status, headers["content-type"]) == (200, "application/json")
    return json.loads(text)


def reports(page: http.client.HTTPResponse) -> Iterator[Any]:
    """What the page is told, until its connection ends."""
    with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
        while line := page.readline():
            name, _, text = line.decode().rstrip("\n").partition(": ")
            assert (name, page.readline()) == ("data", b"\n")
            yield json.loads(text)


def test_there_is_none_unless_asked_for(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start()
    assert server.ask("/echo") == "?"
    assert "status" not in server.log.text


def test_it_is_never_on_the_handlers_port(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start(*LOCAL)
    assert urlsplit(url(server)).port != server.port
    for path in ["/api", "/metrics", "/live"]:
        assert server.status(path) == 404


def test_a_port_that_is_taken_is_one_line(tmp_path: Path, start: Start) -> None:
    server = start()
    ended = run("-p", "0", "-d", str(tmp_path), "--status", server.address)
    assert ended.returncode == 1
    assert re.fullmatch(rf"wshost: cannot listen on {server.address} \(--status\): .*\n", ended.stderr)


def test_programs_learn_the_address_from_the_ready_file(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "ready"
    server = start(*LOCAL, "--ready-file", str(path))
    assert path.read_text().splitlines()[2] == url(server)


def test_handlers_with_their_state(start: Start, tmp_path: Path) -> None:
    good = write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "broken_wsh.py", "import there_is_no_such_module\n")
    server = start(*LOCAL)
    broken, echo = api(server)["handlers"]
    assert (broken["resource"], broken["state"], broken["version"]) == ("/broken", "failed", 0)
    assert "there_is_no_such_module" in broken["error"]["message"]
    assert "broken_wsh.py" in broken["error"]["traceback"]
    assert (echo["resource"], echo["state"], echo["version"], echo["error"]) == ("/echo", "serving", 1, None)
    good.write_text("not Python\n")
    wait_until(lambda: api(server)["handlers"][1]["error"], "the reload")
    echo = api(server)["handlers"][1]
    assert (echo["state"], echo["version"]) == ("serving its last good version", 1)


def test_connections_count_what_goes_over_them(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start(*LOCAL)
    with server.raw("/echo?x") as client:
        # 6 bytes of header and mask, 3 of payload; back come 2 and 3. A message in two pieces is one.
        client.send(1, b"abc")
        client.frame()
        client.send(2, b"ab", fin=False)
        client.send(9, b"")
        client.frame()
        client.send(0, b"c")
        client.frame()
        wait_until(lambda: api(server)["connections"][0]["state"] == "waiting", "the handler waits")
        report = api(server)
        (one,) = report["connections"]
        host, port = client.socket.getsockname()
        assert (one["resource"], one["peer"]) == ("/echo?x", f"{host}:{port}")
        assert (one["messages_received"], one["messages_sent"]) == (2, 2)
        assert one["bytes_received"] == 9 + 8 + 6 + 7
        # The answer to the opening handshake counts, too.
        assert one["bytes_sent"] > 5 + 2 + 5
        assert (report["open_connections"], report["handlers"][0]["open_connections"]) == (1, 1)
    wait_until(lambda: api(server)["open_connections"] == 0, "the connection is gone")
    totals = api(server)["totals"]
    assert (totals["connections"], totals["messages_received"], totals["bytes_received"]) == (1, 2, 30)


def test_a_handler_that_waits_for_something_else_is_running(start: Start, tmp_path: Path) -> None:
    body = """
    request.ws_stream.receive_message()
    request.ws_stream.send_message("begun")
    threading.Event().wait()
    """
    write(tmp_path, "busy_wsh.py", handler(body, before="import threading"))
    server = start(*LOCAL)
    with server.talk("/busy") as client:
        client.send("go")
        assert client.recv(SECONDS) == "begun"
        wait_until(lambda: api(server)["connections"][0]["state"] == "running", "the state")


def test_a_handler_whose_client_does_not_read_is_sending(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "flood_wsh.py", handler("while True: request.ws_stream.send_message('x' * 100000)"))
    server = start(*LOCAL)
    with server.raw("/flood"):
        wait_until(lambda: api(server)["connections"][0]["state"] == "sending", "the state")


def test_reloads_are_remembered(start: Start, tmp_path: Path) -> None:
    path = write(tmp_path, "echo_wsh.py", ECHO)
    server = start(*LOCAL)
    assert api(server)["reloads"] == []

    def save(text: str) -> None:
        # In one step: a file that is written in place may be loaded while it is empty.
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(path)

    save(ECHO + "\n# changed\n")
    wait_until(lambda: api(server)["reloads"], "a reload")
    save("1 +\n")
    wait_until(lambda: len(api(server)["reloads"]) == 2, "a reload that fails")
    changed, failed = api(server)["reloads"]
    assert (changed["changed"], changed["failed"]) == (["/echo"], [])
    assert failed["failed"][0]["path"].endswith("echo_wsh.py")
    assert "SyntaxError" in failed["failed"][0]["error"]["traceback"]


def test_the_log_is_told_as_it_was_written(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "raises_wsh.py", handler("raise RuntimeError('as asked')"))
    server = start(*LOCAL)
    with server.raw("/raises") as client:
        client.rest()
    records = wait_until(lambda: api(server)["log"], "a record")
    assert [record["level"] for record in records] == ["ERROR"]
    assert "as asked" in records[0]["message"]


def test_metrics_are_what_prometheus_reads(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "broken_wsh.py", "1 +\n")
    server = start(*LOCAL)
    with server.talk("/echo") as client:
        for _ in range(3):
            client.send("x")
            client.recv(SECONDS)
        counted = 'wshost_open_connections{state="waiting"} 1'
        wait_until(lambda: counted in fetch(server, "/metrics")[2], "the handler waits")
        _, headers, text = fetch(server, "/metrics")
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in text.splitlines():
        comment = r"# (HELP wshost_\w+ .+|TYPE wshost_\w+ (counter|gauge|histogram))"
        value = r'wshost_\w+(\{\w+="[^"]*"\})? [0-9.e+-]+'
        assert re.fullmatch(f"{comment}|{value}", line), line
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values["wshost_messages_received_total"] == "3"
    assert values["wshost_messages_sent_total"] == "3"
    assert values['wshost_handler_connections{resource="/echo"}'] == "1"
    assert values["wshost_handler_files_failed"] == "1"
    buckets = [
        int(value) for name, value in values.items() if name.startswith("wshost_handler_seconds_bucket")
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == int(values["wshost_handler_seconds_count"]) == 3


def test_the_live_page_gets_what_is_new(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start(*LOCAL, "--log-level", "info")
    with ask(server, "/live") as page:
        assert (page.status, page.getheader("Content-Type")) == (200, "text/event-stream")
        assert page.getheader("Cache-Control") == "no-store"
        told = reports(page)
        first = next(told)
        assert first["log"]
        seen = {sample["number"] for sample in first["samples"]}
        assert server.ask("/echo") == "?"
        received = 0.0
        while not received:
            report = next(told)
            (sample,) = report["samples"]
            received = sample["messages_received_per_second"]
            assert sample["number"] not in seen
            seen.add(sample["number"])
        assert 0 < received <= 1.1
        assert server.stop() == 0
        for _ in told:
            pass


def test_only_requests_that_name_this_server(start: Start) -> None:
    server = start(*LOCAL)
    assert fetch(server, "/api", Host="evil.example")[0] == 403
    assert fetch(server, "/api", Host=None)[0] in (400, 403)
    assert fetch(server, "/", Origin="http://evil.example")[0] == 403
    assert fetch(server, "/", Origin=url(server).rstrip("/"))[0] == 200
    assert fetch(server, "/api", "POST")[0] == 405
    for origin in ["http://evil.example", "null", f"http://{server.address}"]:
        assert fetch(server, "/live", Origin=origin)[0] == 403


def test_pages_may_not_run_what_is_not_ours(start: Start) -> None:
    _, headers, text = fetch(start(*LOCAL), "/")
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert not re.findall(r"https?://", text), "it loads nothing from elsewhere"


def test_a_token_is_asked_for(start: Start) -> None:
    server = start(*LOCAL, "--status-token", TOKEN)
    for path in ["/", "/api", "/metrics", "/live", f"/api?token=x{TOKEN}"]:
        assert fetch(server, path)[0] == 401, path
    assert fetch(server, "/api", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert fetch(server, f"/api?token={TOKEN}")[0] == 200
    status, headers, _ = fetch(server, f"/?token={TOKEN}")
    assert (status, headers["location"]) == (303, "/")
    assert headers["set-cookie"].endswith("; Path=/; HttpOnly; SameSite=Strict")
    cookie = headers["set-cookie"].partition(";")[0]
    assert fetch(server, "/api", Cookie=f"a=b; {cookie}")[0] == 200


def test_an_address_that_others_reach_has_a_token_always(start: Start) -> None:
    server = start("--status", "0.0.0.0:0")
    printed = url(server)
    assert re.search(r"/\?token=[\w-]{32}$", printed)
    assert fetch(server, "/api")[0] == 401
    assert fetch(server, "/api?" + urlsplit(printed).query)[0] == 200
