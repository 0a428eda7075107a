"""How much is taken from whoever asks, and what is said when it is too much."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """Bounds of one server; each protects its memory or its time.

    megabytes: of a request's body. megapixels: of a picture. queue: pictures that are worked on
    or wait. seconds: that a picture may wait and be worked on. body_seconds: until a request has
    come in whole. batch: pictures of one size that go through the model together.
    """

    megabytes: float = 32
    megapixels: float = 40
    queue: int = 32
    seconds: float = 120
    body_seconds: float = 20
    batch: int = 2

    @property
    def bytes(self) -> int:
        """Of a body."""
        return round(self.megabytes * 2**20)

    @property
    def pixels(self) -> int:
        """Of a picture."""
        return round(self.megapixels * 10**6)


@dataclass
class Refused(Exception):
    """A request that isn't carried out: HTTP's status, and a sentence for whoever asked."""

    status: int
    sentence: str
    headers: Mapping[str, str] = field(default_factory=dict)


def busy(sentence: str) -> Refused:
    """Refused for now; a client that comes back later may be luckier."""
    return Refused(503, sentence, {"Retry-After": "2"})


class Places:
    """A number of places; `with places:` takes one, or raises Refused where none is free.

    Only the event loop asks, so there is no lock.
    """

    def __init__(self, count: int, what: str) -> None:
        self.count, self.taken = count, 0
        self._sentence = f"The server is busy: all {count} places {what} are taken. Try again."

    def __enter__(self) -> None:
        if self.taken >= self.count:
            raise busy(self._sentence)
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self.taken -= 1
