"""What is compared: a config for both trainers, the shards, and how near they have to be."""

from dataclasses import dataclass, field

TINY = {
    "image": {"layers": [1, 1, 1, 1], "width": 16},
    "text": {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "max_position_embeddings": 32,
    },
    "embed_dim": 32,
    "dropout": 0.0,
}
WHOLE = TINY | {
    "image": "resnet50",
    "text": TINY["text"] | {"hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 512},
    "embed_dim": 64,
}
FROZEN, ALL = ["text", "projection"], ["image", "text", "projection"]
OPTIM = {"lr_image": 3e-4, "lr_text": 5e-4, "lr_projection": 2e-3, "clip_grad": 1.0}


@dataclass(frozen=True)
class Limits:
    """Greatest relative differences; `change` is that of a tensor's way since the start."""

    loss: float = 1e-6
    grad_norm: float = 1e-6
    change: float | None = 1e-4


@dataclass(frozen=True)
class Case:
    name: str
    config: dict
    limits: Limits = field(default_factory=Limits)
    twins: bool = False  # whether some images stand in several rows


def cases() -> list[Case]:
    return [*tiny(), *whole(), *single(), *half()]


def tiny() -> list[Case]:
    """70 steps in three stages."""
    linear = {"optim": {"schedule": "linear", "clip_grad": 0.0, "warmup": 0, "betas": [0.8, 0.95]}}
    constant = {"optim": {"schedule": "constant", "max_scale": 14.0, "weight_decay": 0.2}}
    return [
        case("infonce", three(20, 20, 30), {}),
        case("infonce, linear, smoothed, cls, windows", three(25, 15, 30), linear, SMOOTHED),
        case("infonce, constant, clamped, short last batch", three(30, 25, 15), constant, SHORT),
        case("infonce, scale fixed", three(5, 5, 5), {"optim": {"lr_scale": 0.0, "max_scale": 10}}),
        case("infonce, micro-batches", [stage("text", 15, FROZEN)], {"data": {"micro_batch": 4}}),
        case("multi_positive", three(20, 20, 30), MULTIPLE, twins=True),
        case("multi_positive, 2 captions", three(20, 20, 30), MULTIPLE, TWO, twins=True),
        case("siglip", three(20, 20, 30), kind("siglip")),
        case("infonce + matching", three(20, 20, 30), kind("infonce", matching=0.5)),
        case("siglip + matching", three(20, 20, 30), kind("siglip", matching=1.5, contrastive=0.7)),
    ]


def whole() -> list[Case]:
    """ResNet-50 and a small BERT: three steps with a frozen image tower, three with all trained."""
    stages = [stage("frozen", 3, FROZEN), stage("all", 3, ALL)]
    losses = {
        "infonce": {},
        "multi_positive": MULTIPLE,
        "siglip": kind("siglip"),
        "infonce + matching": kind("infonce", matching=0.5),
    }
    size = {"model": WHOLE, "data": {"batch": 8}}
    return [
        case(f"ResNet-50, {name}", stages, size, loss, twins=name == "multi_positive")
        for name, loss in losses.items()
    ]


def single() -> list[Case]:
    """In single precision."""
    near, far = Limits(1e-4, 1e-4, None), Limits(1e-4, 1e-2, None)
    frozen = [stage("frozen", 50, FROZEN)]
    fp32 = {"run": {"precision": "fp32"}}
    return [
        case("fp32, image frozen", frozen, fp32, limits=near),
        case("fp32, all trained", [stage("all", 8, ALL)], fp32, limits=far),
    ]


def half() -> list[Case]:
    """In autocast's bfloat16, eight bits of mantissa: what rounds otherwise moves a loss by 1e-3."""
    limits, bf16 = Limits(1e-2, 1e-1, None), {"run": {"precision": "bf16"}}
    return [case("bf16, image frozen", [stage("frozen", 20, FROZEN)], bf16, limits=limits)]


def faulty() -> Case:
    """Short, with every kind of stage: what planted faults have to show in."""
    return case("no fault", three(4, 4, 4), {"optim": {"warmup": 3}})


SMOOTHED = {
    "loss": {"label_smoothing": 0.1},
    "model": {"pooling": "cls"},
    "data": {"shuffle": "window:40"},
}
SHORT = {"data": {"drop_last": False}}
MULTIPLE = {"loss": {"kind": "multi_positive"}}
TWO = {"data": {"captions_per_image": 2}}


def kind(name: str, **more: float) -> dict:
    return {"loss": {"kind": name} | more}


def stage(name: str, steps: int, train: list[str], **rates: float) -> dict:
    return {"name": name, "steps": steps, "train": train} | rates


def three(first: int, second: int, third: int) -> list[dict]:
    top = ["projection", "image.layer4", "text.encoder.layer.1"]
    return [
        stage("projections", first, ["projection"], lr_projection=4e-3),
        stage("top", second, top, lr_text=1e-3),
        stage("all", third, ALL),
    ]


def case(
    name: str, stages: list[dict], *changes: dict, limits: Limits = Limits(), twins: bool = False
) -> Case:
    config = {
        "run": {"seed": 7, "precision": "fp64", "checkpoint_every": 0},
        "model": TINY,
        "data": {"batch": 16, "crop": 57, "max_tokens": 16},
        "loss": {},
        "optim": OPTIM | {"warmup": 5},
    }
    for change in changes:
        config |= {table: config[table] | keys for table, keys in change.items()}
    return Case(name, config | {"stage": stages}, limits, twins)
