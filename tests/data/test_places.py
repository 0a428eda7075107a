"""How large a pixel is and where it lies: what files of microscopes, scanners and maps say."""

import numpy as np
import pytest
import tifffile

from mrcnn.data.places import Map, Pixel, Place, find_place, parse_pixel

PICTURE = np.zeros((8, 16), np.uint8)


def written(folder, **options):
    tifffile.imwrite(folder / "x.tif", PICTURE, **options)
    return find_place(folder / "x.tif")


def geo(keys, scale=(0.5, 0.5, 0.0), ties=(0, 0, 0, 1000, 2000, 0), matrix=None):
    """Extra tags of a GeoTIFF."""
    directory = [1, 1, 0, len(keys)]
    for key, value in keys.items():
        directory += [key, 0, 1, value]
    tags = [(34735, "H", len(directory), directory, True)]
    if matrix is not None:
        return {"extratags": [*tags, (34264, "d", 16, matrix, True)]}
    return {"extratags": [*tags, (33550, "d", 3, scale, True), (33922, "d", len(ties), ties, True)]}


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"resolution": (40000, 40000), "resolutionunit": "CENTIMETER"}, Pixel(0.25, 0.25, "um")),
        ({"resolution": (600, 600), "resolutionunit": "INCH"}, Pixel(127 / 3, 127 / 3, "um")),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),  # what nobody has measured
        ({"resolution": (1, 1)}, None),
        (
            {"imagej": True, "resolution": (4, 2), "metadata": {"unit": "um"}},
            Pixel(0.25, 0.5, "um"),
        ),
        (
            {"imagej": True, "resolution": (4, 4), "metadata": {"unit": "\\u00B5m"}},
            Pixel(0.25, 0.25, "um"),
        ),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "pixel"}}, None),
        (
            {"ome": True, "metadata": {"PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm"}},
            Pixel(0.25, 0.25, "um"),
        ),
        ({"ome": True, "metadata": {"PhysicalSizeX": 2}}, Pixel(2, 2, "um")),
        ({"ome": True}, None),
    ],
)  # fmt: skip
def test_the_size_of_a_pixel(tmp_path, options, expected):
    place = written(tmp_path, **options)
    if expected is None:
        assert place == Place()
    else:
        assert place.map is None and place.pixel.unit == expected.unit
        assert (place.pixel.width, place.pixel.height) == pytest.approx(
            (expected.width, expected.height)
        )


METRES = {1024: 1, 1025: 1, 3072: 32633, 3076: 9001}


@pytest.mark.parametrize(
    "tags, corner, centre, epsg, metres",
    [
        (geo(METRES), (1000, 2000), (1004, 1998), 32633, 0.5),
        (geo(METRES | {1025: 2}), (999.75, 2000.25), (1003.75, 1998.25), 32633, 0.5),
        (geo({1024: 1, 3072: 32633}), (1000, 2000), (1004, 1998), 32633, 0.5),
        (geo({1024: 1, 3072: 2263, 3076: 9003}), (1000, 2000), (1004, 1998), 2263, 600 / 3937),
        (geo({1024: 1, 3072: 3857, 3076: 9001}), (1000, 2000), (1004, 1998), 3857, None),
        (geo({1024: 2, 2048: 4326}, (1, 1, 0)), (1000, 2000), (1008, 1996), 4326, None),
        (geo(METRES, ties=(8, 4, 0, 1000, 2000, 0)), (996, 2002), (1000, 2000), 32633, 0.5),
        (
            geo(METRES, matrix=[0, 0.5, 0, 10, 0.5, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 1]),
            (10, 20), (12, 24), 32633, 0.5,
        ),
        (geo({1024: 1, 3072: 32767, 3076: 9001}), (1000, 2000), (1004, 1998), None, 0.5),
    ],
)  # fmt: skip
def test_geotiff(tmp_path, tags, corner, centre, epsg, metres):
    place = written(tmp_path, **tags)
    points = np.array([[0, 0], [8, 4]])
    np.testing.assert_allclose(place.map.to_world(points), [corner, centre], atol=1e-9)
    np.testing.assert_allclose(place.map.to_pixels([corner, centre]), points, atol=1e-6)
    assert place.map.epsg == epsg
    assert (place.pixel and place.pixel.width) == (metres and pytest.approx(metres))


def test_a_turned_map_goes_there_and_back():
    turned = Map((0.3, 0.4, 5e5, 0.4, -0.3, 4e6))
    points = np.random.default_rng(0).uniform(0, 1000, (20, 2))
    np.testing.assert_allclose(turned.to_pixels(turned.to_world(points)), points, atol=1e-6)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("0.25um", Pixel(0.25, 0.25, "um")),
        ("250 nm", Pixel(0.25, 0.25, "um")),
        ("0.25µm", Pixel(0.25, 0.25, "um")),
        ("0.3m", Pixel(0.3, 0.3, "m")),
        ("5cm", Pixel(0.05, 0.05, "m")),
        ("0.25x0.5um", Pixel(0.25, 0.5, "um")),
    ],
)
def test_a_size_that_is_given(text, expected):
    pixel = parse_pixel(text)
    assert pixel.unit == expected.unit
    assert (pixel.width, pixel.height) == pytest.approx((expected.width, expected.height))


@pytest.mark.parametrize("text", ["0.25", "um", "0um", "-1um", "1e999m", "3 parsec", ""])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is no size of a pixel: write 0.25um"):
        parse_pixel(text)


def test_other_files_say_nothing(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "b.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
    assert find_place(tmp_path / "a.png") == find_place(tmp_path / "b.tif") == Place()
