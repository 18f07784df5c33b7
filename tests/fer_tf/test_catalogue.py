import pytest

from fer_tf import catalogue

pytest.importorskip("keras")


def test_each_name_is_implemented_and_each_implementation_named():
    from fer_tf.preprocessing import filters

    assert tuple(filters.FILTERS) == catalogue.FILTERS
    assert len(set(catalogue.DATASETS)) == 9
    for name, architecture in catalogue.ARCHITECTURES.items():
        assert architecture.build(catalogue.channels("original", name)).name == name
