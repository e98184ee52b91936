"""A headless Chromium, driven over its DevTools protocol."""

import asyncio
import base64
import contextlib
import io
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0"),
)


class Page:
    """The one page of the browser. `sizes` are those of its terminal, in cells, as the page told them to the server."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._calls = 0
        self.sizes: list[tuple[int, int]] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser for something, and return its answer."""
        self._calls += 1
        call = self._calls
        await self._socket.send_json({"id": call, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=120)
            if message.get("method") == "Network.webSocketFrameSent":
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    kind, told = json.loads(message["params"]["response"]["payloadData"])
                    if kind == "resize":
                        self.sizes.append((told["width"], told["height"]))
            if message.get("id") == call:
                assert "result" in message, message
                return dict(message["result"])

    async def open(self, url: str, width: int, height: int) -> None:
        """Open a page in a window of so many pixels."""
        await self.call("Network.enable")
        await self.resize(width, height)
        await self.call("Page.navigate", url=url)
        for _ in range(600):
            with contextlib.suppress(AssertionError):  # Between two pages there is none.
                if await self.evaluate("document.body.classList.contains('-first-byte')"):
                    return
            await asyncio.sleep(0.1)
        raise AssertionError("the workbench did not appear")

    async def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        await self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    async def evaluate(self, script: str) -> Any:
        """Return what a line of JavaScript comes to."""
        found = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return found["result"].get("value")

    async def press(self, text: str) -> None:
        """Type letters, without a click before."""
        for letter in text:
            await self.call("Input.dispatchKeyEvent", type="keyDown", text=letter, key=letter, unmodifiedText=letter)
            await self.call("Input.dispatchKeyEvent", type="keyUp", key=letter)

    async def picture(self) -> Image.Image:
        """What is seen."""
        shot = await self.call("Page.captureScreenshot", format="png")
        return Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")

    async def still_picture(self, seconds: float = 60.0) -> Image.Image:
        """What is seen once it stands still."""
        end = asyncio.get_running_loop().time() + seconds
        before = await self.picture()
        while True:
            await asyncio.sleep(0.7)
            now = await self.picture()
            if now == before:
                return now
            assert asyncio.get_running_loop().time() < end, "the page does not stand still"
            before = now

    async def shows(self, wanted: Image.Image, seconds: float = 60.0) -> bool:
        """Whether, in some time, exactly this is seen."""
        end = asyncio.get_running_loop().time() + seconds
        while await self.picture() != wanted:
            if asyncio.get_running_loop().time() > end:
                return False
            await asyncio.sleep(0.3)
        return True


@asynccontextmanager
async def open_browser() -> AsyncIterator[Page]:
    """A browser with a profile of its own, gone afterwards."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(prefix="tleg-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = await _port(Path(profile) / "DevToolsActivePort")
            async with ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                    pages = [each for each in await answer.json(content_type=None) if each["type"] == "page"]
                async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    yield Page(socket)
        finally:
            process.terminate()
            process.wait(timeout=60)


async def _port(file: Path) -> int:
    """The port that the browser writes into its profile once it listens."""
    for _ in range(1200):
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(file.read_text().splitlines()[0])
        await asyncio.sleep(0.05)
    raise AssertionError("chromium did not open its DevTools port")
