"""The commands in the README do what it says, and the transcript is what happens."""

import re
import shutil
import subprocess
from pathlib import Path

from serving import REPOSITORY, Start, write

VARIES = r"\[\d{4}-[^]]+\]|in \d+ ms|\S+/handlers/| …$"
"""What differs each time; " …" stands for the rest of a line."""


def pattern_of(line: str) -> str:
    """What matches a line like `line`."""
    return f"^{'.*'.join(map(re.escape, re.split(VARIES, line)))}$"


def test_the_first_command_serves_the_first_handler(start: Start, tmp_path: Path) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    command = re.search(r"^wshost (-p 9998 .*?) *#", readme, re.M)
    place = re.search(r"^`(\S+_wsh\.py)` now answers at `ws://localhost:9998(\S+)`", readme, re.M)
    source = re.search(r"```python\n(.*?)```", readme, re.S)
    assert command
    assert place
    assert source
    write(tmp_path, place.group(1), source.group(1))
    server = start(*command.group(1).split(), "-p", "0", cwd=tmp_path)
    assert server.ask(place.group(2), "hello") == "hello"


def test_an_edit_takes_effect_as_shown(start: Start, tmp_path: Path) -> None:
    found = re.search(r"```console\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    assert found
    (first, told), *rest = (step.splitlines() for step in found.group(1).split("$ ")[1:])
    assert first == "wshost -p 9998 -d handlers --log-level info &"
    shutil.copytree(REPOSITORY / "handlers", tmp_path / "handlers")
    server = start("--log-level", "info", root=tmp_path / "handlers", host=None)
    listening = server.log.wait_for("^wshost: listening on .*$").group()
    assert listening.replace(f":{server.port}/", ":9998/") == told
    for command, *expected in rest:
        before = len(server.log.text)
        subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
        for line in expected:
            server.log.wait_for(pattern_of(line), before)
