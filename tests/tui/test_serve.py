"""The workbench in a browser: on this machine alone, and for our own page alone."""

import base64
import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tleg_tui.__main__ import run
from tleg_tui.serve import allowed, without_foreign_links


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def served(child_environment: Callable[..., dict[str, str]], tmp_path: Path) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """`tleg-tui --serve` as a process, without a terminal: its port and the process."""
    port = free_port()
    environment = child_environment(TLEG_SETTINGS=str(tmp_path / "settings"), TLEG_RUNS=str(tmp_path / "runs"))
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tleg_tui", "--serve", "--port", str(port)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert f"http://127.0.0.1:{port}" in said
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.05)
        yield port, process
        process.terminate()
        process.wait(timeout=120)


def ask(port: int, path: str = "/", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    finally:
        connection.close()


def test_its_own_page_is_served_and_no_other_page_reaches_it(served: tuple[int, Any]) -> None:
    port, process = served
    status, page = ask(port)
    assert status == 200
    assert "<title>" in page or "textual-terminal" in page
    assert "googleapis" not in page
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x" * 24}
    assert ask(port, "/ws", Origin="http://example.org", **upgrade)[0] == 403
    assert ask(port, "/", Host=f"example.org:{port}")[0] == 403
    process.send_signal(2)
    assert process.wait(timeout=120) in (0, 130, -2)


def test_it_listens_on_this_machine_alone(served: tuple[int, Any]) -> None:
    port, _ = served
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = {words[1] for words in listening if words[3] == "0A" and words[1].endswith(f":{port:04X}")}
    assert addresses == {f"0100007F:{port:04X}"}


@pytest.mark.parametrize(
    ("host", "origin", "expected"),
    [
        ("127.0.0.1:8000", None, True),
        ("localhost:8000", "http://localhost:8000", True),
        ("localhost:8000", "http://127.0.0.1:8000", True),
        ("127.0.0.1:8000", "http://127.0.0.1:9000", False),
        ("127.0.0.1:8000", "https://127.0.0.1:8000", False),
        ("127.0.0.1:8000", "null", False),
        ("example.org:8000", None, False),
        ("", None, False),
    ],
)
def test_who_may_ask(host: str, origin: str | None, expected: bool) -> None:
    assert allowed(host, origin, 8000) is expected


def test_links_to_other_machines_are_left_out() -> None:
    page = '<link rel="stylesheet" href="http://127.0.0.1:8000/static/x.css" />\n<link\n rel="a"\n href="https://fonts.example/css"\n/>'
    assert without_foreign_links(page) == '<link rel="stylesheet" href="http://127.0.0.1:8000/static/x.css" />\n'


def test_a_port_that_is_taken_or_none_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["--serve", "--port", str(port)]) == 2
    assert f"port {port} of 127.0.0.1 cannot be had" in capsys.readouterr().err
    assert run(["--serve", "--port", "70000"]) == 2
    assert capsys.readouterr().err == "tleg-tui: --port must be from 1 to 65535, not 70000\n"


class Browser:
    """Headless Chromium through chromedriver, by the WebDriver protocol."""

    def __init__(self, port: int) -> None:
        self._port = port
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--window-size=1000,700"]}
        options["args"] += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
        self._session = f"/session/{self.call('POST', '/session', wanted)['sessionId']}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())["value"]
        connection.close()
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    def open(self, url: str) -> None:
        self.call("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str) -> Any:
        return self.call("POST", f"{self._session}/execute/sync", {"script": script, "args": []})

    def screenshot(self) -> bytes:
        return base64.b64decode(self.call("GET", f"{self._session}/screenshot"))

    def close(self) -> None:
        self.call("DELETE", self._session)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromedriver") is None, reason="Debian's chromium-driver is not installed")
def test_a_browser_shows_the_workbench(served: tuple[int, Any], tmp_path: Path) -> None:
    from PIL import Image

    port, _ = served
    driver_port = free_port()
    with subprocess.Popen(
        ["chromedriver", f"--port={driver_port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as driver:
        end = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", driver_port), timeout=1).close()
                break
            assert time.monotonic() < end
            time.sleep(0.1)
        browser = Browser(driver_port)
        browser.open(f"http://127.0.0.1:{port}/")
        end = time.monotonic() + 120
        while not browser.run("return document.body.classList.contains('-first-byte')"):
            assert time.monotonic() < end
            time.sleep(0.2)
        time.sleep(2)
        picture = tmp_path / "workbench.png"
        picture.write_bytes(browser.screenshot())
        browser.close()
        driver.terminate()
    with Image.open(picture) as image:
        colours = image.convert("RGB").getcolors(maxcolors=1 << 24)
    assert colours is not None
    assert len(colours) > 100  # Text, bars and panels, and not the empty page.
    dark = (0x14, 0x16, 0x1F)  # The background of our own theme.
    assert sum(count for count, colour in colours if colour == dark) > 50_000
