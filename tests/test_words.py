"""Names in sentences."""

import pytest

from mrcnn.words import printable


@pytest.mark.parametrize(
    "name, shown",
    [
        ("Zelle 細胞.png", "Zelle 細胞.png"),
        ("a\nb\x1b[31m", "a\\nb\\x1b[31m"),
        ("half \ud800", "half \\ud800"),
        ("bytes \udcff.png", "bytes \\udcff.png"),  # how Python shows a name that is no UTF-8
    ],
)
def test_printable(name, shown):
    assert printable(name) == shown
    printable(name).encode()


def test_printable_in_another_encoding():
    assert printable("細胞.png", "cp1252") == "\\u7d30\\u80de.png"
