"""The benchmarks run, on their smallest settings; what they count and feed in is right.

Measurements happen in this process instead of one of their own, which would load TensorFlow for
each; one test goes the real way.
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from small_network import SmallConfig

FOLDER = Path(__file__).parents[1] / "benchmarks"
SHARED = ("common", "networks", "arrays", "torch_side")
FEW = ["--rounds", "1", "--calls", "1", "--threads", "1"]
SMALL = ["--backbones", "resnet18_half", "--sides", "64"]


@pytest.fixture
def load(monkeypatch):
    """A function from a script's name to its module."""
    monkeypatch.syspath_prepend(str(FOLDER))

    scripts = {}

    def module(name):
        if name in SHARED:
            return importlib.import_module(name)
        if name not in scripts:  # under a name of its own: "training" is a folder of tests, too
            path = FOLDER / f"{name}.py"
            spec = importlib.util.spec_from_file_location(f"benchmark_{name}", path)
            scripts[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(scripts[name])
        return scripts[name]

    yield module
    for name in SHARED:
        sys.modules.pop(name, None)


@pytest.fixture
def run_main(load, monkeypatch, tmp_path):
    """A function that runs a script's command line here and gives what it wrote as JSON."""

    def run(name, *options):
        script, common, networks = load(name), load("common"), load("networks")
        monkeypatch.setattr(networks, "Config", SmallConfig)  # narrow heads
        # TensorFlow has started and takes no number of threads any more.
        monkeypatch.setattr(networks, "fix_threads", lambda threads: None)

        def measure_here(job):
            setting = json.loads(json.dumps(job.setting))
            return json.loads(json.dumps({"peak MB": 1.0, **script.measure(**setting)}))

        monkeypatch.setattr(common, "run", measure_here)
        monkeypatch.setattr(sys, "argv", [name, *options, *FEW, "--out", str(tmp_path)])
        script.main()
        return json.loads((tmp_path / f"{name}.json").read_text())

    return run


@pytest.mark.slow  # four networks are built and timed; what it prints is looked at when it is used
def test_inference(run_main):
    options = ["--batches", "2", "--proposals", "60", "--instances", "7", "--no-torch"]
    result = run_main("inference", *SMALL, *options)
    (row,) = result["whole_calls"]
    assert (row["proposals"], row["detections"]) == (60, 7)
    assert row["median s"] > 0
    (stages,) = result["percent_of_the_time_by_stage"]
    names = ["backbone", "FPN", "RPN", "proposals", "ROIAlign", "heads", "NMS"]
    shares = [stages[name] for name in ["molding", *names, "paste"]]
    assert sum(shares) == pytest.approx(100)


@pytest.mark.slow
def test_training_has_its_wished_regions(run_main):
    options = ["--settings", "resnet18_half:64:1:4", "--rois", "30", "--layers", "heads"]
    (row,) = run_main("training", *options, "--no-torch")["steps"]
    assert np.isfinite(row["loss"])
    assert row["positives"] == 9  # int(30 * ROI_POSITIVE_RATIO)
    assert 25 <= row["rois"] <= 30  # negatives follow the positives that there are


def test_input(run_main):
    options = ["--sides", "64", "--instances", "3", "--sources", "48x80", "--masks", "crops"]
    options += ["--makers", "loop", "1 process"]
    rows = run_main("input", *options)["pictures_a_second"]
    assert [row["maker"] for row in rows] == ["loop", "1 process"]
    assert all(row["pictures/s"] > 0 for row in rows)


@pytest.mark.slow
def test_roofline(run_main):
    result = run_main("roofline", *SMALL, "--proposals", "60", "--largest", "64")
    rows = {row["stage"]: row for row in result["stages"]}
    assert rows["backbone"]["GFLOP"] > 0
    assert rows["molding"]["GFLOP"] is None
    assert all(row["GFLOP/s"] > 0 for row in result["peak_of_this_machine"])


@pytest.mark.slow
def test_scaling_draws_what_it_measured(run_main, load, monkeypatch, tmp_path):
    few = {"side": 64, "batch": 1, "proposals": 60, "instances": 7}
    monkeypatch.setattr(load("scaling"), "STANDARD", few)
    options = ["--backbone", "resnet18_half", "--only", "proposals", "--proposals", "30", "50"]
    rows = run_main("scaling", *options)["proposals"]
    assert [row["proposals"] for row in rows] == [row["proposed"] for row in rows] == [30, 50]
    assert (tmp_path / "scaling_proposals.png").stat().st_size > 1000


def test_startup(run_main):
    (row,) = run_main("startup", "--backbone", "resnet18_half", "--sides", "64")["waiting"]
    assert row["import to first s"] >= row["first detect s"] > 0


def test_a_measurement_has_a_process_of_its_own(load):
    common = load("common")
    setting = {"side": 64, "instances": 2, "source": "same", "masks": "full", "maker": "loop"}
    result = common.run(common.Job(FOLDER / "input.py", {**setting, "calls": 1, "threads": 1}))
    assert result["seconds"][0] > 0
    assert result["peak MB"] > 50  # Python with NumPy alone


def test_a_failed_measurement_ends_with_its_error(load, tmp_path):
    common = load("common")
    script = tmp_path / "broken.py"
    script.write_text("raise ValueError('no such backbone')")
    with pytest.raises(SystemExit, match="no such backbone"):
        common.run(common.Job(script, {"threads": 1}))


def test_programs_take_turns(load, monkeypatch):
    common, order = load("common"), []

    def run(job):
        order.append(job.setting["name"])
        return {"seconds": [float(len(order))], "peak MB": float(len(order)), "found": 3}

    monkeypatch.setattr(common, "run", run)
    jobs = {name: common.Job(FOLDER, {"name": name}) for name in "AB"}
    results = common.interleaved(jobs, rounds=3)
    assert order == list("ABABAB")
    assert results["A"]["median s"] == 3.0  # of rounds 1, 3 and 5
    assert results["B"]["peak MB"] == 6.0
    assert results["B"]["found"] == 3


def test_gflop_of_known_layers(load):
    import keras
    from keras import layers as KL

    networks = load("networks")
    import tensorflow as tf

    x = KL.Input((5, 5, 4))
    y = KL.Conv2D(8, 3, padding="same")(x)  # 2 * 25 * 3 * 3 * 4 * 8 = 14,400
    y = KL.Conv2DTranspose(6, 2, strides=2)(y)  # 2 * 25 * 2 * 2 * 8 * 6 = 9,600
    y = KL.Dense(3)(KL.Flatten()(y))  # 2 * 10 * 10 * 6 * 3 = 3,600
    counted = networks.graph_gflop(keras.Model(x, y), [tf.TensorSpec([None, 5, 5, 4])], rows=2)
    assert counted == pytest.approx(2 * (14_400 + 9_600 + 3_600) / 1e9)


def test_gflop_of_resnet50_is_that_of_its_paper(load):
    """He et al. 2016, table 1: 3.8e9 multiply-adds at 224x224. 3%: it is printed to two digits."""
    import keras
    import tensorflow as tf

    from mrcnn.nn.backbone import resnet_graph

    networks = load("networks")
    image = keras.Input((224, 224, 3))
    model = keras.Model(image, resnet_graph(image, "resnet50", stage5=True)[-1])
    counted = networks.graph_gflop(model, [tf.TensorSpec([1, 224, 224, 3])])
    assert counted == pytest.approx(2 * 3.8, rel=0.03)


def test_scene_and_candidates_fit_together(load):
    from mrcnn.geometry.boxes import compute_overlaps, extract_bboxes

    common = load("common")
    assert common.scene(64, 6, width=96)[0].shape == (64, 96, 3)
    _, boxes, masks = common.scene(64, 6)
    np.testing.assert_array_equal(boxes, extract_bboxes(masks))
    made_up = common.candidates(boxes, 100, 64)
    assert (compute_overlaps(made_up[:50], boxes).max(axis=1) > 0.5).all()
    assert (made_up[:, 2:] > made_up[:, :2]).all()


def test_table(load):
    rows = [{"program": "a", "s": 0.12345, "MB": 1234.5}, {"program": "bb", "s": 2.0}]
    expected = "program      s    MB\na        0.123  1234\nbb           2     -"
    assert load("common").table(rows) == expected


def test_torchvision_side(load):
    pytest.importorskip("torchvision")
    torch_side = load("torch_side")
    setting = {"backbone": "resnet18", "side": 128, "batch": 1, "calls": 1}
    places = {"proposals": 60, "instances": 7}
    found = torch_side.inference(**setting, **places, stages=False)
    assert (found["proposals"], found["detections"]) == (60, 7)
    stages = torch_side.inference(**setting, **places, stages=True)["stages"]
    assert min(stages[name] for name in ("backbone", "FPN", "RPN", "ROIAlign", "heads")) > 0
    step = torch_side.training(**setting, classes=4, layers="heads", rois=30)
    assert (step["rois"], step["positives"]) == (30, 9)


def test_the_simulation_gives_back_what_was_measured(load, monkeypatch, capsys):
    script = load("scale_model")
    for what, measured, simulated in script.check():
        assert simulated == pytest.approx(measured, rel=0.35), what
    for words in (["--check"], [], ["--pictures", "1e7", "--workers", "64", "--detect", "1.22"]):
        monkeypatch.setattr(sys, "argv", ["scale_model", *words])
        script.main()
    assert "| 10,000,000 | 64 |" in capsys.readouterr().out
    one = script.Machines(1000, 1, lost_every=0)
    assert script.simulate(one).seconds == pytest.approx(1000 * one.picture + one.start, rel=0.05)


def test_a_job_is_measured_from_its_first_part_on(load, tmp_path):
    pytest.importorskip("pyarrow")
    script = load("jobs")
    script.write_pictures(tmp_path / "pictures", 160)
    found = script.measure("local", tmp_path / "pictures", 0.0, 1)
    assert found["processor_ms_a_picture"] > 0 and found["bytes_a_picture"] > 20


def test_a_large_tiff_gives_all_its_discs(load, capsys):
    load("tiles").measure_tiff(600)
    assert "100 of 100 discs" in capsys.readouterr().out
