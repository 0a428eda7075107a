"""The server itself: a socket, the application, and an end when it is asked for."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mrcnn.errors import UsageError
from mrcnn.serve.app import make_app
from mrcnn.serve.service import Service
from mrcnn.signals import interruptible

_IDLE = 15  # seconds that a connection may stay open without a request
_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s"
)


class PatientProtocol(H11Protocol):
    """HTTP for clients that begin a request and don't end it: after some seconds they are let go.

    uvicorn waits without end for the head of a request, and for the rest of a body that was
    answered before it had come in. (A body that is being read has a time limit of its own.)
    """

    seconds = 20.0
    _alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._quiet()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if not self._owes_us():
            self._quiet()
        elif self._alarm is None:
            self._alarm = self.loop.call_later(self.seconds, self._let_go)

    def _owes_us(self) -> bool:
        answered = self.cycle is None or self.cycle.response_complete
        begun = self.cycle is None or bool(self.conn.trailing_data[0])
        theirs = self.conn.their_state
        return answered and ((theirs is h11.IDLE and begun) or theirs is h11.SEND_BODY)

    def _quiet(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _let_go(self) -> None:
        self._alarm = None
        if self.transport.is_closing():
            return
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            text = b'{"detail": "The request didn\'t come in within %g s."}' % self.seconds
            self.transport.write(_LATE % (len(text), text))
        self.transport.close()


class Server(uvicorn.Server):
    """A service on a socket; `run_until_stopped`, or in a thread of its own `run_here`.

    port: 0 takes a free one; `address` says which. ready: is called once requests are taken.
    Raises UsageError where the address can't be had.
    """

    def __init__(
        self, service: Service, host: str, port: int, ready: Callable[[str], None] | None = None
    ) -> None:
        self._listening, self._ready = _bound(host, port), ready
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{self._listening.getsockname()[1]}"
        seconds = {"seconds": service.limits.body_seconds}
        super().__init__(
            uvicorn.Config(
                make_app(service),
                http=type("Protocol", (PatientProtocol,), seconds),
                ws="none",
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_IDLE,
                timeout_graceful_shutdown=round(service.limits.seconds) + 1,
                limit_concurrency=8 * service.limits.queue,
            )
        )

    def run_until_stopped(self) -> None:
        """Answer requests until Ctrl-C, SIGTERM or SIGHUP; what is under way then is finished."""
        with contextlib.suppress(KeyboardInterrupt), interruptible():
            self.run_here()

    def run_here(self) -> None:
        """Answer requests until `should_exit` is set."""
        with self._listening:
            self.run(sockets=[self._listening])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, and then say so."""
        await super().startup(sockets)
        if self._ready and not self.should_exit:
            self._ready(self.address)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        reason = error.strerror or error
        raise UsageError(
            f"can't listen on {host}, port {port}: {reason}. Give another --port (0 takes one that "
            "is free), or an address that this computer has (--host)."
        ) from None
    return listening
