"""The process: listens, reloads, and leaves without losing a request.

SIGHUP         reload every model, whether it changed or not
SIGTERM        leave: for a second readiness is refused while answers go on, each with `Connection: close`; then no
               new connection is taken, and the process ends when the last answer is sent
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn

from trunkline.errors import EnvironmentFault, ParamsError
from trunkline.service.app import Service
from trunkline.service.connection import Connection
from trunkline.service.guard import is_this_machine
from trunkline.service.limits import Limits
from trunkline.service.shelf import Place, Say, Shelf

LOOK = 1.0  # seconds between two looks at the models' files
LAST_WORD = 0.2  # seconds for the first bytes of those who connected last
FAREWELL = 1.0  # seconds of answers with `Connection: close`, so that no client writes to a connection just closed
IDLE = 75  # seconds a connection without requests is kept
HEADER = 1 << 16  # bytes
BACKLOG = 1024  # connections that wait to be taken
SHORTEST_TOKEN = 16  # characters


class Settings(NamedTuple):
    """What the command line says of a service."""

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None
    threads: int = 1
    limits: Limits = Limits()
    watch: bool = True
    access_log: bool = False


def serve(places: list[Place], settings: Settings, say: Say) -> int:
    """Serve models until a signal comes.

    Args:
        places: Where the models lie.
        settings: Address, token, limits.
        say: Told a line at each start, reload and stop.

    Returns:
        0.

    Raises:
        ParamsError: An address that others reach without a token, or a token that is easily guessed.
        ArtifactError: A model is refused.
        EnvironmentFault: The address is taken or not of this machine.
    """
    refuse_open_door(settings)
    shelf = Shelf(places, settings.threads, say)
    service = Service(shelf, settings.limits, settings.token, say if settings.access_log else None)
    with _listen(settings.host, settings.port) as listener:
        Server(service, settings.watch, say).run([listener])
    say("stopped")
    return 0


def read_token(path: Path) -> str:
    """Read the token that callers must show.

    Raises:
        ParamsError: The file cannot be read.
    """
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise ParamsError(f"--token-file {path}: cannot be read ({fault}); give a file that holds the token") from fault


def refuse_open_door(settings: Settings) -> None:
    """Refuse settings under which strangers could ask.

    Raises:
        ParamsError: An address that others reach without a token, or a token that is easily guessed.
    """
    if settings.token is None and not is_this_machine(settings.host):
        raise ParamsError(
            f"--host {settings.host}: others reach this address; set TRUNKLINE_TOKEN or --token-file, "
            "or leave out --host"
        )
    if settings.token is not None and not (len(settings.token) >= SHORTEST_TOKEN and settings.token.isascii()):
        raise ParamsError(
            f"the token has {len(settings.token)} characters; use at least {SHORTEST_TOKEN} of ASCII, "
            "such as `openssl rand -hex 32` prints"
        )


def _waiting(listener: socket.socket) -> Iterator[socket.socket]:
    """Yield the connections that nobody has taken yet."""
    with contextlib.suppress(BlockingIOError):
        while True:
            yield listener.accept()[0]


class Server(uvicorn.Server):
    """uvicorn with our signals.

    Args:
        service: What is served.
        watch: Whether models are reloaded when their files change.
        say: Told a line when it begins to leave.
    """

    def __init__(self, service: Service, watch: bool, say: Say) -> None:
        connection = type("Connection", (Connection,), {"header_seconds": service.limits.seconds})
        super().__init__(
            uvicorn.Config(
                service.app,
                http=connection,
                ws="none",
                loop="auto",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=IDLE,
                timeout_graceful_shutdown=round(service.limits.seconds) + 1,
                h11_max_incomplete_event_size=HEADER,
            )
        )
        self.service, self.watch, self.say = service, watch, say
        self.reloading = threading.Lock()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say where; signals are heard by now."""
        await super().startup(sockets)
        for listener in sockets or []:
            host, port = listener.getsockname()[:2]
            self.say(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take everybody who has connected by now, then nobody; end when the last answer is sent."""
        loop = asyncio.get_running_loop()
        for listener in sockets or []:
            loop.remove_reader(listener.fileno())
        await asyncio.sleep(LAST_WORD)  # whom asyncio has accepted gets a connection first; a closed server gives none
        links = [link for listener in sockets or [] for link in _waiting(listener)]
        for server in self.servers:
            server.close()  # at once: who connects between the last look and this is turned away without an answer
        for link in links:
            await loop.connect_accepted_socket(self._connection, link)
        await asyncio.sleep(LAST_WORD)  # uvicorn closes at once whoever has connected and not asked yet
        await super().shutdown(sockets)

    def _connection(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        connection: asyncio.Protocol = kind(self.config, self.server_state, self.lifespan.state)
        return connection

    async def main_loop(self) -> None:
        """Run until it is time to leave, looking at the models' files meanwhile."""
        watching = asyncio.create_task(self._watch()) if self.watch else None
        await super().main_loop()
        if watching:
            watching.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                await asyncio.to_thread(self._alone, self.service.shelf.look)
            except Exception as fault:  # the next look may succeed; without a watcher no promotion would be followed
                self.service.shelf.say(f"could not look at the models' files: {fault}")

    def _alone(self, work: Callable[[], None]) -> None:
        with self.reloading:
            work()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listen to signals while it runs, in the main thread, the only one that can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        answers = {signal.SIGTERM: self.leave, signal.SIGINT: self.leave, signal.SIGHUP: self.reload}
        for number, answer in answers.items():
            loop.add_signal_handler(number, answer)
        try:
            yield
        finally:
            for number in answers:
                loop.remove_signal_handler(number)

    def reload(self) -> None:
        """Reload every model beside the answers that are being given."""
        asyncio.get_running_loop().run_in_executor(None, self._alone, self.service.shelf.reload)

    def leave(self) -> None:
        """Begin to leave; asked again, leave at once."""
        if self.service.leaving:
            self.should_exit = self.force_exit = True
            return
        self.service.leaving = True
        self.say("leaving: no longer ready")
        asyncio.get_running_loop().call_later(FAREWELL, setattr, self, "should_exit", True)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.ExitStack() as undo:
            listener = undo.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)  # who comes before the event loop runs waits, and is not refused
            undo.pop_all()
            return listener
    except OSError as fault:
        raise EnvironmentFault(
            f"{host}:{port}: cannot be listened on ({fault.strerror}); use --host, --port"
        ) from fault
