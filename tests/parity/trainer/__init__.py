"""A second trainer, in PyTorch: what docs say of training, written down once more and plainly.

It exists to be compared with `train` (tests/parity) and timed beside it (benches/train and
benches/gpu), and was written from the definitions, not from the Rust sources.
"""
