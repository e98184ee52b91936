"""The workbench in a browser on this machine, through textual-serve, which is an optional extra."""

import re
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

from tleg.errors import InputError, describe_os_error

if TYPE_CHECKING:
    from aiohttp import web

HOST: Final = "127.0.0.1"  # And no other: whoever reaches it has the rights of the one who started it.
# Keys go to the terminal without a click on it: when it is there, when its window comes to the front, and when something
# else on the page has the focus. Once it is connected it says so, for the workbench counts as left until then.
_FOCUS: Final = """
<script>
window.addEventListener("load", () => {
  const keys = () => document.querySelector(".xterm-helper-textarea");
  const focus = () => { if (keys() && document.activeElement !== keys()) keys().focus({preventScroll: true}); };
  focus();
  window.addEventListener("focus", focus);
  document.addEventListener("keydown", focus, true);
  new MutationObserver((_, observer) => {
    if (document.body.classList.contains("-first-byte") && keys()) {
      observer.disconnect();
      keys().blur();
      focus();
    }
  }).observe(document.body, {attributes: true, attributeFilter: ["class"]});
});
</script>
"""


def serve(words: Sequence[str], port: int) -> None:
    """Serve `tleg-tui WORDS` until interrupted.

    Raises InputError when textual-serve is missing, or the port cannot be had.
    """
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ImportError as error:
        raise InputError("--serve needs an optional package: pip install 'tleg[serve]'") from error
    _check_port(port)
    here = f"{HOST}:{port}"

    @web.middleware
    async def guard(
        request: "web.Request", handler: Callable[["web.Request"], Awaitable["web.StreamResponse"]]
    ) -> "web.StreamResponse":
        # Another page in the same browser can reach this port too; it cannot choose these two headers.
        if not allowed(request.headers.get("Host", ""), request.headers.get("Origin"), port):
            raise web.HTTPForbidden(text=f"tleg-tui answers http://{here} alone")
        response = await handler(request)
        if isinstance(response, web.Response) and response.content_type == "text/html" and response.text is not None:
            response.text = with_focus(without_foreign_links(response.text))
        return response

    class WorkbenchServer(Server):
        async def _make_app(self) -> "web.Application":
            app = await super()._make_app()
            app.middlewares.append(guard)
            return app

        async def on_startup(self, app: "web.Application") -> None:
            print(
                f"tleg-tui: open http://{here} in a browser; Ctrl-C ends it. "
                f"From another machine: ssh -L {port}:{here} THIS_MACHINE",
                file=sys.stderr,
                flush=True,
            )

        def initialize_logging(self) -> None:
            """Keep it quiet: one line says all."""

    # A browser's terminal is one, whatever this process was started from.
    WorkbenchServer(shlex.join([sys.executable, "-m", "tleg_tui", *words]), host=HOST, port=port, title="tleg").serve()


def allowed(host: str, origin: str | None, port: int) -> bool:
    """Whether a request came from our own page: by its Host and, where there is one, its Origin."""
    names = {f"{name}:{port}" for name in (HOST, "localhost")}
    return host in names and (origin is None or origin.removeprefix("http://") in names)


def without_foreign_links(page: str) -> str:
    """Return a page without links to other machines, such as fonts: it works offline, and tells nobody."""
    return re.sub(r"<link\b[^>]*href=\"https?://(?!127\.0\.0\.1|localhost)[^>]*>", "", page, flags=re.DOTALL)


def with_focus(page: str) -> str:
    """Return a page whose terminal has the keys from the beginning."""
    head, end, rest = page.partition("</head>")
    return head + _FOCUS + end + rest if end else page


def _check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise InputError(f"a port is 1 to 65535, not {port}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            reason = describe_os_error(error)
            raise InputError(f"port {port} of {HOST} cannot be had: {reason}; choose another with --port") from error
