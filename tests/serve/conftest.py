"""A server for the tests of a file."""

import pytest
from shape_server import serving


@pytest.fixture(scope="module")
def client():
    """What asks a server that finds three shapes in every picture."""
    with serving() as client:
        yield client
