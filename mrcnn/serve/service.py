"""One model with all that stands between it and a request."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from mrcnn.data.pictures import NoPicture, PictureError, decode_picture
from mrcnn.serve.label_studio import LabelStudio
from mrcnn.serve.limits import Limits, Places, Refused, busy
from mrcnn.serve.metrics import Metrics
from mrcnn.serve.worker import Found, Model, Worker


class Service:
    """One model with its worker, its limits and its counts.

    name: of the model, as users know it. threshold: least score where a request says none.
    of_classes: the same for some classes, by name. lowest: score below which the model finds
    nothing. note: what users must know of the results.
    """

    def __init__(
        self,
        model: Model,
        name: str = "mrcnn",
        threshold: float = 0.5,
        limits: Limits | None = None,
        token: str | None = None,
        note: str = "",
        label_studio: LabelStudio | None = None,
        lowest: float = 0,
        of_classes: Mapping[str, float] | None = None,
    ) -> None:
        self.name, self.threshold, self.lowest = name, threshold, lowest
        self.token, self.note, self.of_classes = token, note, dict(of_classes or {})
        self.limits = limits or Limits()
        self.class_names = list(model.class_names or ["BG"])
        self.metrics = Metrics()
        self.worker = Worker(model, self.limits.batch, self.metrics.ran)
        self.metrics.gauges["mrcnn_waiting_pictures"] = lambda: self.worker.waiting
        self.label_studio = label_studio or LabelStudio()
        # A picture is unpacked by one thread (Pillow's warnings are the whole process's), and
        # answers are packed by another: so many big arrays are there at a time, and no more.
        self._unpacker, self._packer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._incoming = Places(4 * self.limits.queue, "for requests that come in")
        self._inside = Places(self.limits.queue, "for pictures")

    def least(self, threshold: float | None = None) -> np.ndarray:
        """The score from which an instance of each class id counts: that asked for, or its own."""
        names = self.class_names
        if threshold is not None:
            return np.full(len(names), threshold)
        return np.array([self.of_classes.get(name, self.threshold) for name in names])

    def name_of(self, class_id: int) -> str:
        """The class's name, a number where nobody knows it."""
        known = 0 <= class_id < len(self.class_names)
        return self.class_names[class_id] if known else f"class {class_id}"

    # -- From a request to a picture --------------------------------------------------------

    async def body(self, request: Request) -> tuple[bytes, str]:
        """What was sent, and its file name where the request has one. Raises Refused."""
        most = self.limits.bytes
        too_large = Refused(
            413, f"The request has more than {self.limits.megabytes:g} MB, the most that is taken."
        )
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            raise too_large
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await request.receive()
            received += len(message.get("body", b""))
            if received > most:
                raise too_large
            return message

        counting = Request(request.scope, counted)
        try:
            with self._incoming:
                async with asyncio.timeout(self.limits.body_seconds):
                    if "multipart/form-data" in request.headers.get("content-type", ""):
                        return await _file_of_form(counting)
                    return await counting.body(), ""
        except TimeoutError:
            raise Refused(
                408,
                f"The request didn't come in within {self.limits.body_seconds:g} s.",
                {"Connection": "close"},
            ) from None
        except ClientDisconnect:
            raise Refused(400, "The request broke off.", {"Connection": "close"}) from None

    async def detect(self, request: Request, data: bytes, shown: str) -> Found:
        """The instances in the bytes of a picture. Raises Refused."""
        with self._inside:
            picture = await self.unpack(data, shown)
            future = self.worker.submit(picture)
            del picture, data
            return await self._result(request, future, shown)

    async def unpack(self, data: bytes, shown: str) -> np.ndarray:
        """The picture in some bytes. Raises Refused."""
        try:
            return await self._in(self._unpacker, decode_picture, data, shown, self.limits.pixels)
        except NoPicture as error:
            raise Refused(415, str(error)) from None
        except PictureError as error:
            raise Refused(422, str(error)) from None

    async def pack(self, function: Callable, *args: Any) -> Any:
        """Call what makes an answer, away from the event loop."""
        return await self._in(self._packer, function, *args)

    async def _in(self, pool: ThreadPoolExecutor, function: Callable, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(pool, function, *args)

    async def _result(self, request: Request, future: Future, shown: str) -> Found:
        waiting = asyncio.wrap_future(future)
        gone = asyncio.create_task(_until_gone(request))
        try:
            await asyncio.wait(
                {waiting, gone},
                timeout=self.limits.seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if waiting.done():
                return waiting.result()
        except (ValueError, MemoryError) as error:  # says what is wrong with the picture
            raise Refused(422, f"{shown}: {error}") from None
        except asyncio.CancelledError:
            if future.cancelled():
                raise busy("The server is stopping.") from None
            raise
        finally:
            gone.cancel()
            future.cancel()
        if gone.done() and not gone.cancelled():
            raise Refused(400, "Nobody waits for the answer any more.")
        raise busy(f"It took longer than {self.limits.seconds:g} s.")

    # -- The life of a server -----------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def life(self, _: FastAPI) -> AsyncIterator[None]:
        """Begin before the first request and end after the last."""
        self.worker.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self.worker.stop)
            self._unpacker.shutdown(wait=False, cancel_futures=True)
            self._packer.shutdown(wait=False, cancel_futures=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _file_of_form(request: Request) -> tuple[bytes, str]:
    try:
        async with request.form(max_files=1, max_fields=20) as form:
            files = [value for value in form.values() if isinstance(value, UploadFile)]
            if not files:
                raise Refused(422, "The form has no file: send the picture as one of its parts.")
            return await files[0].read(), files[0].filename or ""
    except HTTPException as error:
        raise Refused(422, f"The form can't be read: {error.detail}") from None
