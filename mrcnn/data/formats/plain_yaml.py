"""The part of YAML that describes data sets: names and values, lists and tables of one level.

    path: ../cells           # a comment
    train: [a/images, "b/images"]
    names:
      0: leaf
      1: fruit

Values stay text. What goes deeper, or is of another kind, is passed over.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mrcnn.data.formats.files import read_text

Value = str | list[str] | dict[str, str]

_KEY = re.compile(r"""("[^"]*"|'[^']*'|[^\s:#'"\[\]{},-][^:#]*?)\s*:(?:\s+(.*)|)$""")
_MOST_LINES = 20_000  # of one bracket; what is longer was never closed


def read_yaml(path: Path) -> dict[str, Value]:
    """The values of a file by name. Raises FormatError if it can't be read."""
    lines = [_without_comment(line) for line in read_text(path).splitlines()]
    found: dict[str, Value] = {}
    at = 0
    while at < len(lines):
        entry = _KEY.match(lines[at])
        at += 1
        if entry is None:
            continue
        key, rest = _plain(entry[1]), (entry[2] or "").strip()
        end = at
        while end < len(lines) and (
            not lines[end] or lines[end][0] in " \t" or _is_item(lines[end])
        ):
            end += 1
        below = [line for line in lines[at:end] if line.strip()]
        if rest[:1] in ("[", "{"):
            text = rest
            while not _is_closed(text) and at < min(len(lines), end + _MOST_LINES):
                text += f" {lines[at].strip()}"
                at += 1
            found[key] = _in_brackets(text)
        elif rest and rest[0] not in "|>&*!":
            found[key] = _plain(rest)
        elif not rest and below:
            found[key] = _block(below)
    return found


def _is_item(line: str) -> bool:
    text = line.lstrip()
    return text == "-" or text.startswith("- ")


def _block(lines: list[str]) -> Value:
    """A list or a table from its indented lines; those that are indented further are left out."""
    depth = min(len(line) - len(line.lstrip()) for line in lines)
    own = [line[depth:] for line in lines if len(line) - len(line.lstrip()) == depth]
    if _is_item(own[0]):
        return [_plain(line[1:]) for line in own if _is_item(line)]
    pairs = [entry for line in own if (entry := _KEY.match(line))]
    return {_plain(entry[1]): _plain(entry[2] or "") for entry in pairs}


def _in_brackets(text: str) -> Value:
    closing = {"[": "]", "{": "}"}[text[0]]
    items = list(_split(text[1:].rstrip().removesuffix(closing)))
    if text[0] == "[":
        return [_plain(item) for item in items]
    pairs = [item.partition(":") for item in items]
    return {_plain(key): _plain(value) for key, _, value in pairs}


def _split(text: str) -> Iterator[str]:
    """What stands between the commas that are in no quotes and no bracket."""
    depth, quote, start = 0, "", 0
    for at, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and not text[start:at].strip(" :0123456789{["):
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and depth <= 0:
            yield text[start:at]
            start = at + 1
    if text[start:].strip():
        yield text[start:]


def _is_closed(text: str) -> bool:
    """Whether the bracket that a text begins with is closed in it."""
    return text.rstrip()[-1:] in ("]", "}") and len(text) > 1


def _plain(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace("''", "'") if text[0] == "'" else text[1:-1].replace('\\"', '"')
    return text


def _without_comment(line: str) -> str:
    quote = ""
    for at, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and (at == 0 or line[at - 1] in " [{,:\t"):
            quote = character
        elif character == "#" and (at == 0 or line[at - 1] in " \t"):
            return line[:at].rstrip()
    return line.rstrip()
