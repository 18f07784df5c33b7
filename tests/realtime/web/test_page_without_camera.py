"""The page on a machine without a camera."""

import pytest

from .pages import says


@pytest.fixture(scope="module")
def browser(launch):
    running = launch()
    yield running
    running.close()


def test_without_a_camera_there_is_a_sentence(open_page):
    page = open_page()
    page.click("#camera")
    assert says(page, "There is no") == "There is no camera. Connect one, or open files."
