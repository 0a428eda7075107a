"""The page that shows what paths there are: OpenAPI as plain HTML, without a script."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mrcnn: paths</title>
<link rel="stylesheet" href="page.css">
<link rel="icon" href="icon.svg">
<main class="reference">
<h1>Paths of this server</h1>
<p>A machine reads <a href="openapi.json">openapi.json</a>; people may prefer
<a href="./">the page</a>.</p>
"""


def as_html(schema: Mapping[str, Any]) -> str:
    """An OpenAPI schema as a page."""
    return _HEAD + "".join(_sections(schema)) + "</main>\n</html>\n"


def _sections(schema: Mapping[str, Any]) -> Iterator[str]:
    tag = None
    for path, methods in schema["paths"].items():
        for method, about in methods.items():
            first = about.get("tags", ["Other"])[0]
            if first != tag:
                tag = first
                yield f"<h2>{escape(tag)}</h2>\n"
            yield from _operation(path, method, about)


def _operation(path: str, method: str, about: Mapping[str, Any]) -> Iterator[str]:
    name = f"{method.upper()} {path}"
    yield f"<section><h3><code>{escape(name)}</code></h3>\n<p>{escape(about['summary'])}.</p>\n"
    if about.get("description"):
        yield f"<p>{escape(about['description'])}</p>\n"
    if body := about.get("requestBody"):
        kinds = ", ".join(body["content"])
        text = body.get("description", "")
        yield f"<p><b>Body</b> ({escape(kinds)}) {escape(text)}</p>\n"
    rows = [(p["name"], p.get("description", "")) for p in about.get("parameters", [])]
    yield from _table("Parameter", rows)
    answers = about["responses"].items()
    rows = [(code, answer["description"]) for code, answer in answers if code != "200"]
    yield from _table("Other answers", rows)
    yield "</section>\n"


def _table(title: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    if not rows:
        return
    yield f"<table><caption>{title}</caption>\n"
    for name, text in rows:
        yield f"<tr><th scope=row><code>{escape(name)}</code></th><td>{escape(text)}</td></tr>\n"
    yield "</table>\n"
