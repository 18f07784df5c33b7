"""Measures model files on labeled pictures: `python -m realtime.evaluate`."""
