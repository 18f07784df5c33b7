"""The live loop: a model file and a camera in, labeled frames and tables out. `python -m realtime.webcam`.

A source (`sources`, `capture`) yields frames. A `Pipeline` finds the faces in each frame (`detect`), tracks them
(`track`) and recognizes their expressions. `draw` draws the results, and sinks (`record`, `tables`, `display`) keep or
show them. `loop` connects all of them by threads (`stage`).
"""
