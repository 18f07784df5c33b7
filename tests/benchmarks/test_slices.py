import numpy as np
import pytest

from benchmarks.slices import Comparison, Cost


def slices(wall, cpu=None):
    return [Cost(*pair) for pair in zip(wall, cpu or wall, strict=True)]


def test_a_ratio_is_the_median_over_rounds():
    """In which a machine that is busy for a while slows both loops down."""
    compared = Comparison({"a": slices([2, 3.6, 2.2]), "b": slices([1, 1.8, 1])})
    assert compared.ratio("a", "b", "wall") == pytest.approx(2)
    assert compared.ratio("b", "a", "wall") == pytest.approx(1 / 2)
    assert compared.median("a", "wall") == 2.2
    assert compared.unsteady() == []


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_ratio_is_refused_if_slices_of_either_loop_differ_too_much(name):
    times = {"a": [1.0, 1.9], "b": [5.0, 5.0]}
    times[name][1] = 2.1 * times[name][0]
    compared = Comparison({key: slices(values, [1, 1]) for key, values in times.items()} | {"c": slices([1, 2])})
    assert compared.ratio("a", "b", "wall") is None
    assert compared.ratio("c", name, "wall") is None
    assert compared.ratio("a", "b", "cpu") == 1
    assert compared.unsteady() == [f"{name} (time ×2.1)"]
    assert compared.ratio("c", "c", "wall") == 1  # a factor of two is still taken


def test_cpu_time_is_judged_by_its_own_spread():
    compared = Comparison({"a": slices([1, 1], [1, 3]), "b": slices([2, 2], [0.5, 0])})
    assert compared.ratio("a", "b", "wall") == 0.5
    assert compared.ratio("a", "b", "cpu") is None
    assert compared.unsteady() == ["a (CPU time ×3.0)", "b (CPU time ×inf)"]


def test_slices_of_all_loops_are_run_in_turn():
    ran = []

    def loop(name):
        return lambda: ran.append(name) or Cost(len(ran), 1)

    compared = Comparison.in_turn({name: loop(name) for name in "abc"}, rounds=4, description="x")
    assert ran == list("abc") * 4
    np.testing.assert_array_equal([cost.wall for cost in compared.slices["b"]], [2, 5, 8, 11])


def test_a_table_has_milliseconds_and_spreads():
    cells = Comparison({"a": slices([0.02, 0.03, 0.025], [0.01, 0.012, 0.011])}).columns("a").split(" | ")
    assert cells == ["25.0", "1.50", "11.0", "1.20"]
