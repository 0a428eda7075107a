"""What README.md, its like and docs/ hold: their commands, their Python blocks, their links."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
FRONT = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
PAGES = [*FRONT, *sorted((ROOT / "docs").glob("*.md"))]


def name(page: Path) -> str:
    return page.name


def blocks(page: Path, language: str) -> list[str]:
    """The contents of a page's blocks of one language, in order."""
    text = page.read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """The command lines of a page, one by one, without their comments."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    single = [part for line in lines for part in line.split(" && ")]
    found = [re.sub(r"\s+#.*", "", part).strip() for part in single]
    return [command for command in found if command]


def words(command: str) -> list[str]:
    """A command line as a shell would take it apart."""
    return shlex.split(command)


def prose(page: Path) -> str:
    """A page without its blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    """What a page links to inside the repository, pictures included."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [link for link in found if not link.startswith(("http://", "https://"))]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}
