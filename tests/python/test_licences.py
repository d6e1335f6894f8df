"""What wshost is made of may be passed on under the MIT licence. Needs no network."""

import json
import os
import re
import subprocess

from serving import REPOSITORY


def allowed() -> set[str]:
    """The licences that `deny.toml` allows."""
    text = (REPOSITORY / "deny.toml").read_text(encoding="utf-8")
    found = re.search(r"^allow = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert found
    return set(re.findall(r'"([^"]+)"', found[1]))


ALLOWED = allowed()


def is_allowed(expression: str) -> bool:
    """Whether an SPDX expression can be met with `ALLOWED`: `OR` chooses, `AND` needs all."""
    text = expression.replace("/", " OR ").strip()
    while inner := re.search(r"\(([^()]*)\)", text):
        text = text.replace(inner.group(0), "MIT" if is_allowed(inner.group(1)) else "none")
    return any(all(name.strip() in ALLOWED for name in part.split(" AND ")) for part in text.split(" OR "))


def test_expressions() -> None:
    assert is_allowed("MIT/GPL-3.0")
    assert is_allowed("(MIT OR GPL-3.0) AND Unicode-3.0")
    assert not is_allowed("GPL-3.0-only")
    assert not is_allowed("MIT AND GPL-3.0-only")
    assert not is_allowed("(GPL-3.0 AND MIT) OR AGPL-3.0")
    assert not is_allowed("")


def test_every_crate_has_a_licence_that_fits() -> None:
    command = [os.environ.get("CARGO", "cargo"), "metadata", "--locked", "--format-version", "1"]
    metadata = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    packages = json.loads(metadata)["packages"]
    assert len(packages) > 50
    bad = {
        package["name"]: package["license"]
        for package in packages
        if not is_allowed(package["license"] or "")
    }
    assert bad == {}
