import os
import signal
import sys
from types import SimpleNamespace

import pytest

from fer_tf.cluster import connected
from fer_tf.errors import UserError


@pytest.fixture
def ray(monkeypatch):
    """Stands for Ray; keeps how it was started, and whether it was ended."""
    for name in ("USAGE_STATS_ENABLED", "ENABLE_WINDOWS_OR_OSX_CLUSTER", "DEDUP_LOGS_SKIP_REGEX"):
        monkeypatch.setenv(f"RAY_{name}", "1")  # to be restored, too
    module = SimpleNamespace(ended=False)
    module.init = lambda address, **options: vars(module).update(address=address, options=options)
    module.cluster_resources = lambda: {"CPU": 6.0}
    module.shutdown = lambda: vars(module).update(ended=True)
    monkeypatch.setitem(sys.modules, "ray", module)
    return module


def test_on_this_machine_it_is_quiet_and_closed(ray):
    with connected(None, 3) as (module, workers):
        assert (module, workers) == (ray, 3)
        assert (ray.address, ray.options["num_cpus"]) == ("local", 3)
        assert ray.options["include_dashboard"] is False
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert ray.ended


def test_by_default_each_processor_has_a_worker(ray, monkeypatch):
    monkeypatch.setattr("fer_tf.cluster._check_reachable", lambda address: None)
    with connected(None, None) as (_, workers):
        assert workers == os.cpu_count()
    with connected("host:1", None) as (_, workers):
        assert (ray.address, workers) == ("host:1", 6)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1", "host:port"])
def test_no_cluster_is_said_at_once(ray, address):
    with pytest.raises(UserError, match=f"--address {address}: no cluster there"), connected(address, None):
        pass
    assert not hasattr(ray, "address")


@pytest.mark.skipif(os.name == "nt", reason="there, SIGTERM ends a process at once")
def test_sigterm_is_as_ctrl_c(ray):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), connected(None, 1):
        signal.raise_signal(signal.SIGTERM)
    assert ray.ended
    assert signal.getsignal(signal.SIGTERM) == before
