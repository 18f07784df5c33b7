"""Model file and a camera in, labelled frames and rows out. `python -m realtime.webcam`.

A source (`capture`) gives frames, a `Pipeline` finds the faces of a frame (`detect`) and names their
expressions, `draw` paints them, and sinks (`record`, `display`) keep or show the result.
"""
