"""A second trainer, in PyTorch: what docs say of training, written down once more and plainly.

It exists to be compared with `train` (tests/parity) and timed beside it (benches/train, benches/gpu).
It knows nothing of the Rust sources.
"""
