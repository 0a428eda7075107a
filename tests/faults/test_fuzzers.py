"""A few cases of each fuzzer; docs/reliability.md has the figures of long runs."""

import os
import signal

import pytest

from tests.faults import annotations, fuzzing, pictures, weights

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")


@pytest.mark.parametrize("kind", [annotations.Annotations, pictures.Pictures, weights.Weights])
def test_damaged_files_are_refused_or_read(kind):
    tally = fuzzing.run(kind, cases=150, seed=2026)
    assert tally.faults == [] and tally.outcomes.total() == 150
    assert 0 < tally.outcomes["refused"] < 150


class Bad(fuzzing.Attack):
    """Every kind of fault."""

    def case(self, rng):
        number = rng.randrange(4)
        if number == 0:
            raise KeyError("x")
        if number == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        if number == 2:
            fuzzing.time.sleep(60)
        return "fine"


def test_the_fuzzers_would_see_faults(monkeypatch):
    monkeypatch.setattr(fuzzing, "SECONDS", 2)
    tally = fuzzing.run(Bad, cases=12, seed=1)
    kinds = " ".join(tally.faults)
    assert "KeyError at" in kinds and "by signal 15" in kinds and "took more than 2 s" in kinds
    assert tally.outcomes.total() == 12 and tally.outcomes["fine"]
