"""Model file and a camera in, labeled frames and rows out. `python -m realtime.webcam`.

A source (`sources`, `capture`) gives frames, a `Pipeline` finds the faces of a frame (`detect`), keeps them apart
(`track`) and names their expressions, `draw` paints them, and sinks (`record`, `tables`, `display`) keep or show the
result; `loop` joins them by threads (`stage`).
"""
