# Both targets do everything from a bare checkout: virtual environment, install, run.
PYTHON ?= python3
DEMO_VENV = .venv/demo
TEST_VENV = .venv/test

.PHONY: demo test lint clean

# The live loop, installed without TensorFlow, on a clip that is made on the fly.
demo: $(DEMO_VENV)/installed
	$(DEMO_VENV)/bin/python -m realtime.webcam --source demo --no-window --output demo/demo.mp4 --csv demo/demo.csv

test: $(TEST_VENV)/installed lint
	$(TEST_VENV)/bin/python -m pytest

lint: $(TEST_VENV)/installed
	$(TEST_VENV)/bin/ruff check
	$(TEST_VENV)/bin/ruff format --check

$(DEMO_VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install --quiet --editable ".[demo]"
	touch $@

# torch first: left to the resolver, Linux would get its CUDA build and gigabytes with it.
$(TEST_VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(TEST_VENV)
	$(TEST_VENV)/bin/python -m pip install --quiet torch==2.13.0
	$(TEST_VENV)/bin/python -m pip install --quiet --editable ".[test]"
	touch $@

clean:
	rm -rf .venv build demo *.egg-info
