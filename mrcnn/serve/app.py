"""The web application: which path does what."""

import asyncio
import io
import json
import time
from importlib import resources
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from PIL import Image
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mrcnn import __version__
from mrcnn.data.writers import WRITERS
from mrcnn.serve import guard, reference
from mrcnn.serve.answers import above, as_json, safe_name
from mrcnn.serve.labels import label_file
from mrcnn.serve.limits import Refused
from mrcnn.serve.service import Service
from mrcnn.serve.worker import Found

_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_PICTURE = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "The bytes of a picture file (JPEG, PNG, TIFF, WebP, ..), whatever the "
        "Content-Type says; or a form of multipart/form-data with one file.",
        "content": {"image/*": _PICTURE, "multipart/form-data": {"schema": {"type": "object"}}},
    }
}
_JSON_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}
_REFUSED = {
    401: "The token is missing or wrong.",
    408: "The request didn't come in whole in time.",
    413: "The body has too many bytes.",
    415: "That is no picture.",
    422: "A picture that is damaged or has too many pixels, or a wrong parameter.",
    503: "All places are taken, or it took too long: try again after Retry-After.",
}
_RESPONSES: dict[int | str, dict[str, Any]] = {k: {"description": v} for k, v in _REFUSED.items()}

Threshold = Annotated[
    float | None,
    Query(ge=0, le=1, description="Least score of an instance; without it, the model's own."),
]
Name = Annotated[str, Query(max_length=500, description="The picture's file name.")]


def make_app(service: Service) -> FastAPI:
    """The application around a service."""
    app = FastAPI(
        title="mrcnn",
        version=__version__,
        description="Instances in pictures: class, score, box and mask.",
        docs_url=None,  # FastAPI's pages load scripts from elsewhere; ours is below
        redoc_url=None,
        lifespan=service.life,
    )
    _add_page(app)
    _add_detection(app, service)
    _add_state(app, service)
    _add_label_studio(app, service)

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return JSONResponse({"detail": error.sentence}, error.status, error.headers)

    @app.exception_handler(RequestValidationError)
    async def wrong(_: Request, error: RequestValidationError) -> Response:
        found = [f"{row['loc'][-1]}: {row['msg']}" for row in error.errors()]
        return JSONResponse({"detail": f"{'; '.join(found)}."}, 422)

    app.add_middleware(_Gate, service=service)
    return app


class _Gate:
    """Before and after every request: who asks, what is counted, what browsers are told."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = [(k.lower().encode(), v.encode()) for k, v in guard.SECURITY.items()]
                message["headers"] = [*message.get("headers", []), *more]
            await send(message)

        try:
            guard.check(scope["path"], Headers(scope=scope), self.service.token)
        except Refused as error:
            answer = JSONResponse({"detail": error.sentence}, error.status, dict(error.headers))
            await answer(scope, receive, sending)
        else:
            await self.app(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            metrics = self.service.metrics
            metrics.count("mrcnn_requests_total", path=route, status=str(status))
            if route == "/v1/detect" and status < 400:
                metrics.observe("mrcnn_request_seconds", time.perf_counter() - began)


# -- What there is --------------------------------------------------------------------------


def _add_page(app: FastAPI) -> None:
    folder = resources.files("mrcnn.serve") / "page"

    def add(path: str, name: str, kind: str) -> None:
        content = (folder / name).read_bytes()

        @app.get(path, include_in_schema=False)
        async def get() -> Response:
            return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    for path, (name, kind) in _PAGE.items():
        add(path, name, kind)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(reference.as_html(app.openapi()))


def _add_detection(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/detect", summary="Find the instances in a picture", responses=_RESPONSES,
        openapi_extra=_BODY, tags=["Detection"],
    )  # fmt: skip
    async def detect(request: Request, threshold: Threshold = None, name: Name = "") -> Response:
        """Gives a COCO file of one picture: images, categories, annotations (bbox [x, y, width,
        height] in pixels, score, area, segmentation as compressed RLE) and info."""
        data, sent_name = await service.body(request)
        file_name = safe_name(name or sent_name)
        shown = file_name or "the picture"
        began = time.perf_counter()
        found = await service.detect(request, data, shown)
        by_class = service.of_classes if threshold is None else {}
        info: dict[str, Any] = {
            "model": service.name,
            "threshold": by_class or (service.threshold if threshold is None else threshold),
            "seconds": round(time.perf_counter() - began, 3),
            "limited": bool(getattr(found, "limited", False)),
        }
        if service.note:
            info["note"] = service.note
        text, class_ids = await service.pack(
            _answer, found, service.least(threshold), service, file_name or "picture", info
        )
        service.metrics.count("mrcnn_pictures_total")
        for class_id in class_ids:
            service.metrics.count("mrcnn_instances_total", **{"class": service.name_of(class_id)})
        return Response(text, media_type="application/json")

    @app.post(
        "/v1/labels/{to}", summary="Make a labelling tool's file of what was found",
        responses=_RESPONSES, openapi_extra=_JSON_BODY, tags=["Detection"],
    )  # fmt: skip
    async def labels(
        request: Request,
        to: Annotated[str, Path(description=f"One of {', '.join(WRITERS)}.")],
    ) -> Response:
        """Takes the JSON of /v1/detect, one with several images, too. Gives a file, or an archive
        (zip) of several."""
        content = _as_object((await service.body(request))[0])
        file = await service.pack(label_file, content, to, service.limits.pixels)
        headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
        return Response(file.content, media_type=file.kind, headers=headers)

    @app.post(
        "/v1/picture", summary="A picture as PNG, upright, for browsers that can't show its kind",
        responses=_RESPONSES, openapi_extra=_BODY, tags=["Detection"],
    )  # fmt: skip
    async def picture(request: Request) -> Response:
        data, name = await service.body(request)
        unpacked = await service.unpack(data, safe_name(name) or "the picture")
        return Response(await service.pack(_as_png, unpacked), media_type="image/png")


def _answer(
    found: Found, least: np.ndarray, service: Service, file_name: str, info: dict[str, Any]
) -> tuple[bytes, list[int]]:
    kept = above(found, least)
    content = as_json(kept, service.class_names, file_name, info)
    return json.dumps(content).encode(), kept["class_ids"].tolist()


def _as_png(picture: np.ndarray) -> bytes:
    if picture.dtype != np.uint8:  # as bright as its brightest
        low, high = float(picture.min()), float(picture.max())
        picture = ((picture - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    held = io.BytesIO()
    Image.fromarray(picture).save(held, "PNG", compress_level=1)
    return held.getvalue()


def _as_object(data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refused(422, f"The body is no JSON: {error}.") from None
    if not isinstance(content, dict):
        raise Refused(422, "The body is JSON, but no object.")
    return content


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/v1/model", summary="The model, its classes and the limits", tags=["State"])
    async def model() -> dict[str, Any]:
        limits = service.limits
        return {
            "name": service.name,
            "version": __version__,
            "note": service.note,
            "class_names": service.class_names[1:],
            "threshold": service.threshold,
            "lowest": service.lowest,
            "of_classes": service.of_classes,
            "label_formats": list(WRITERS),
            "limits": {"bytes": limits.bytes, "pixels": limits.pixels, "seconds": limits.seconds},
        }

    @app.get("/healthz", summary="Is it up?", tags=["State"])
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", summary="Counts and times for Prometheus", tags=["State"])
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_label_studio(app: FastAPI, service: Service) -> None:
    studio, tags = service.label_studio, ["Label Studio"]

    @app.get("/health", summary="Is it up?", tags=tags)
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": service.name}

    @app.post("/setup", summary="A project connects", openapi_extra=_JSON_BODY, tags=tags)
    async def setup(request: Request) -> dict[str, str]:
        _as_object((await service.body(request))[0])
        return {"model_version": service.name}

    @app.get("/versions", summary="The one version there is", tags=tags)
    @app.post("/versions", summary="The same", operation_id="versions_post", tags=tags)
    async def versions() -> dict[str, list[str]]:
        return {"versions": [service.name]}

    @app.post("/webhook", summary="Something happened; nothing is done", tags=tags)
    async def webhook(request: Request) -> JSONResponse:
        _as_object((await service.body(request))[0])
        return JSONResponse({"status": "ok", "result": {}}, 201)

    @app.post(
        "/predict", summary="Predictions for tasks", responses=_RESPONSES,
        openapi_extra=_JSON_BODY, tags=tags,
    )  # fmt: skip
    async def predict(request: Request) -> dict[str, Any]:
        """Finds the picture of each task and gives brush masks, polygons or rectangles, whatever
        the project's labelling interface has."""
        content = _as_object((await service.body(request))[0])
        tasks, control = studio.read(content, service.class_names)
        results = []
        for task in tasks:
            try:
                results.append(await one(request, task, control))
            except Refused as error:
                if len(tasks) == 1 or error.status == 503:
                    raise
                results.append({"result": [], "score": 0.0, "error": error.sentence})
        if tasks and all("error" in result for result in results):
            raise Refused(422, results[0]["error"])
        return {"results": [result | {"model_version": service.name} for result in results]}

    async def one(request: Request, task: Any, control: Any) -> dict[str, Any]:
        data = await asyncio.to_thread(studio.picture, task, control, service.limits)
        found = await service.detect(request, data, f"The picture of task {task.id}")
        kept = above(found, service.least())
        return await service.pack(studio.result, kept, control)
