import pytest

from fer_tf import names

pytest.importorskip("keras")


def test_each_name_is_implemented_and_each_implementation_named():
    from fer_tf import datasets, filters, models

    assert tuple(filters.FILTERS) == names.FILTERS
    assert tuple(models.ARCHITECTURES) == tuple(datasets.LAYOUTS) == names.ARCHITECTURES
    assert len(set(names.DATASETS)) == 9
