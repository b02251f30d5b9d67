"""The built wheel, installed as a tool into an empty environment: it serves the console and a Micro, from a directory of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.building import build_wheel
from tests.driving import CHECKOUT, Host, zip_app

pytestmark = pytest.mark.root


def test_the_wheel_serves_the_console_and_a_micro(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    uv = str(Path(sys.executable).parent / "uv")
    environment = {
        **os.environ,
        "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
    }
    environment.pop("VIRTUAL_ENV", None)
    subprocess.run(
        [uv, "tool", "install", "-q", "--python", sys.executable, str(wheel)],
        env=environment,
        check=True,
        timeout=300,
    )
    assert {each.name for each in (tmp_path / "bin").iterdir()} >= {"microhost", "deta"}
    host = Host(
        tmp_path / "data",
        command=[str(tmp_path / "bin" / "microhost")],
        environment={"PATH": "/usr/bin:/bin", "PYTHONPATH": ""},
    )
    try:
        page = httpx.get(f"http://127.0.0.1:{host.port}/", headers={"host": "localhost"})
        assert (page.status_code, '<script type="module"' in page.text) == (200, True)
        micro = host.new_micro("default", "installed")
        micro.must_deploy(zip_app("plain-wsgi"))
        assert micro.call("/").status_code == 200
        serving = Path(f"/proc/{host.serving_pid()}/environ").read_bytes()
        assert str(CHECKOUT).encode() not in serving
    finally:
        assert host.stop() == 0, host.tail()
