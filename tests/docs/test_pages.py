"""README.md and docs/: Python blocks run, links lead somewhere, settings exist."""

import re

import matplotlib
import pytest
from pages import PAGES, ROOT, anchors, blocks, links, name
from small_network import SmallConfig

from mrcnn.config import Config

# Its blocks speak of a script's names; tests/compat/test_guide.py runs them with these.
ELSEWHERE = ["coming-from-matterport.md"]
WITH_PYTHON = [page for page in PAGES if blocks(page, "python") and page.name not in ELSEWHERE]


@pytest.fixture
def small(monkeypatch, eager, small_weights):
    """A Config whose defaults make a small network, one step an epoch and no download."""
    from mrcnn.model import MaskRCNN

    settings = {n: value for n, value in vars(SmallConfig).items() if n.isupper()}
    settings |= {"STEPS_PER_EPOCH": 1, "VALIDATION_STEPS": 1}
    for setting, value in settings.items():
        monkeypatch.setattr(Config, setting, value)
    train = MaskRCNN.train

    def train_an_epoch(self, *args, epochs, **kwargs):
        return train(self, *args, epochs=self.epoch + 1, **kwargs)

    monkeypatch.setattr(MaskRCNN, "train", train_an_epoch)
    monkeypatch.setattr(MaskRCNN, "get_imagenet_weights", lambda self: str(small_weights))


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_python_blocks(page, place, small):
    matplotlib.use("Agg")  # display_instances would open a window
    names = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_linked_from_the_readme():
    linked = {(ROOT / link).resolve() for link in links(ROOT / "README.md")}
    assert {page for page in PAGES if page.name != "README.md"} <= linked


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_settings_exist(page):
    names = r"`((?!TF_|CUDA_)[A-Z][A-Z0-9]*_[A-Z0-9_]+|NAME|BACKBONE)\b"  # those are TensorFlow's
    shown = re.findall(names, page.read_text("utf-8"))
    assert [setting for setting in shown if not hasattr(Config, setting)] == []
