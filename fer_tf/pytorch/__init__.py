"""PyTorch checkpoints: read without running them, ported to our networks, and proven against PyTorch."""
