"""What a file says of itself is changed, and nothing else."""

import numpy as np
import pytest

from mrcnn.weights.errors import WeightsError
from mrcnn.weights.files import open_weights
from mrcnn.weights.inspection import inspect_weights
from mrcnn.weights.writing import update_description


def contents(path):
    with open_weights(path) as file:
        return file.format, {key: tensor.read() for key, tensor in file.tensors.items()}


def test_the_description_changes_and_the_tensors_stay(small_file):
    before = contents(small_file)
    update_description(small_file, {"class_confidence": {"scores": [0, 0.5, 0.6, 0.7]}})
    assert inspect_weights(small_file).class_confidence == [0, 0.5, 0.6, 0.7]
    # A second time, with more than HDF5 keeps in one attribute, and then with less again.
    for notes in ("n" * 100_000, "short"):
        update_description(small_file, {"notes": notes})
        info = inspect_weights(small_file)
        assert info.description["notes"] == notes and info.class_confidence[1] == 0.5
    format, tensors = contents(small_file)
    assert format == before[0] and list(tensors) == list(before[1])
    for key, values in tensors.items():
        np.testing.assert_array_equal(values, before[1][key])
    assert [path.name for path in small_file.parent.iterdir()] == [small_file.name]


@pytest.mark.parametrize("scores", [[0, 0.5], "0.5", [0, 0.5, 2, 0.5], [0, None, 0.5, 0.5], None])
def test_scores_that_are_none_do_not_count(small_file, scores):
    update_description(small_file, {"class_confidence": {"scores": scores}})
    assert inspect_weights(small_file).class_confidence is None


def test_no_weight_file_is_changed(tmp_path):
    path = tmp_path / "notes.h5"
    path.write_text("none")
    with pytest.raises(WeightsError):
        update_description(path, {"a": 1})
    assert path.read_text() == "none"
