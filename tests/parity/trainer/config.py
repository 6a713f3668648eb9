"""Defaults of the keys that are compared."""

DEFAULTS = {
    "run": {"seed": 0},
    "model": {"image": "resnet50", "text": {}, "embed_dim": 512, "pooling": "mean", "dropout": 0.1},
    "data": {"batch": 64, "crop": 224, "max_tokens": None},
    "loss": {"kind": "infonce", "contrastive": 1.0, "matching": 0.0, "label_smoothing": 0.0},
    "optim": {
        "lr_image": 1e-5,
        "lr_text": 2e-5,
        "lr_projection": 5e-4,
        "weight_decay": 0.01,
        "betas": [0.9, 0.999],
        "eps": 1e-8,
        "warmup": 0,
        "schedule": "cosine",
        "clip_grad": 0.0,
        "max_scale": 100,
    },
}


def completed(config: dict) -> dict:
    """The config with every default that it leaves out."""
    return {
        **config,
        **{table: keys | config.get(table, {}) for table, keys in DEFAULTS.items()},
    }
