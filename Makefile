# Both targets do everything from a bare checkout: virtual environment, install, run.
PYTHON ?= python3
DEMO_VENV = .venv/demo
TEST_VENV = .venv/test

.PHONY: demo test lint types clean

# The live loop, installed without TensorFlow, on a clip that is made on the fly.
demo: $(DEMO_VENV)/installed
	$(DEMO_VENV)/bin/python -m realtime.webcam --source demo --no-window --output demo/demo.mp4 --csv demo/demo.csv

test: $(TEST_VENV)/installed lint
	$(TEST_VENV)/bin/python -m pytest -n auto --dist worksteal

lint: $(TEST_VENV)/installed types
	$(TEST_VENV)/bin/ruff check
	$(TEST_VENV)/bin/ruff format --check

# In a checkout mypy does not find the rooms that lie beside fer_tf, and does not say so. In the linked tree they are
# inside fer_tf, as in a wheel.
types: $(TEST_VENV)/installed
	rm -rf build/typed
	mkdir -p build/typed/fer_tf
	ln -s $(addprefix $(CURDIR)/,$(wildcard fer_tf/*) train export realtime weights) build/typed/fer_tf
	cd build/typed && $(abspath $(TEST_VENV))/bin/mypy --config-file $(CURDIR)/pyproject.toml \
		--cache-dir $(CURDIR)/build/mypy --package fer_tf

$(DEMO_VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install --quiet --editable ".[demo]"
	touch $@

# torch first and by its version, so that a CPU build of it that is at hand is taken, and nothing later pulls another;
# from PyPI, Linux on x86-64 gets the CUDA build.
$(TEST_VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(TEST_VENV)
	$(TEST_VENV)/bin/python -m pip install --quiet torch==2.13.0
	$(TEST_VENV)/bin/python -m pip install --quiet --editable ".[test]"
	touch $@

clean:
	rm -rf .venv build demo *.egg-info
