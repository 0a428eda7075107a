"""A few cases of each attack on a training; docs/reliability.md has the figures of long runs."""

import os

import pytest

from tests.faults.attack import CASES

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")

ATTACKS = [("kills", 20), ("stops", 12), ("disks", 8)]


@pytest.mark.parametrize(("name", "cases"), ATTACKS, ids=[name for name, _ in ATTACKS])
def test_what_is_promised_of_a_training(name, cases, tmp_path):
    attack = pytest.importorskip(f"tests.faults.{name}").attack
    assert attack(cases, 2026, tmp_path)[CASES] >= cases
