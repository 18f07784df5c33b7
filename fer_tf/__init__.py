"""The vocabulary of the toolkit: classes, model files, FER-2013, filters, data sets and networks."""

import os

# Since version 1.29, onnxruntime tells its makers of each process, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
