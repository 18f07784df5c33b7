"""PyTorch checkpoints: read without running them, ported to our networks, and compared with PyTorch."""
