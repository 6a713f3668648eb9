"""Makes the golden files beside it: what PyTorch, torchvision and Hugging Face compute.

    pip install torch==2.11.0 torchvision==0.26.0 transformers==5.24.0 safetensors numpy
    python tests/data/golden/make.py

Weights and inputs are not stored: both sides fill tensors by the same integer formula (`noise`), so a file holds only
results. A gradient is kept as its largest magnitude, root mean square, mean and eight of its entries: no number of
these is larger than the first, so "to 1e-5" means "of the tensor's largest gradient".
"""

import math
import pathlib

import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

HERE = pathlib.Path(__file__).parent
MASK = 0x7FFFFFFF


def noise(name, *shape):
    """Numbers in [-1, 1), exact in float64, from the name and the position."""
    seed = 2166136261
    for byte in name.encode():
        seed = ((seed ^ byte) * 16777619) & 0xFFFFFFFF
    h = (torch.arange(math.prod(shape), dtype=torch.int64) * 2654435761 + seed) & MASK
    for shift, factor in ((15, 739982445), (13, 695872825)):
        h = ((h ^ (h >> shift)) * factor) & MASK
    return ((h ^ (h >> 16)).double() / 2**30 - 1).reshape(shape)


def weight(name, shape):
    """A plausible value for a variable of this name."""
    xs = noise(name, *shape)
    if name == "logit_scale":
        return torch.full(shape, 2.0, dtype=torch.float64)
    if len(shape) >= 2:
        return xs * math.sqrt((6 if len(shape) == 4 else 3) / math.prod(shape[1:]))
    if name.endswith("bn3.weight"):
        return 0.25 + 0.05 * xs
    if name.endswith(("weight", "running_var")):
        return 1 + 0.25 * xs
    return 0.1 * xs


def fill(module, prefix):
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                tensor.copy_(weight(prefix + name, tuple(tensor.shape)))


def summary(tensor):
    flat = tensor.detach().double().flatten()
    entries = [flat[i * (flat.numel() - 1) // 7] for i in range(8)]
    return torch.stack([flat.abs().max(), flat.square().mean().sqrt(), flat.mean(), *entries])


def gradients(module, prefix):
    return {f"grad.{prefix}{name}": summary(p.grad) for name, p in module.named_parameters() if p.grad is not None}


def statistics(module, prefix):
    return {f"after.{prefix}{name}": summary(b) for name, b in module.named_buffers() if "running" in name}


def tokens(batch, length, vocabulary):
    """Rows of falling length, ended by pads (0)."""
    ids = ((noise("tokens", batch, length) + 1) / 2 * (vocabulary - 1)).long() + 1
    real = torch.tensor([max(2, length - 3 * row) for row in range(batch)])
    mask = (torch.arange(length)[None] < real[:, None]).long()
    return ids * mask, mask


def resnet(layers, width):
    """torchvision's, which fixes 64 base planes, with others."""

    class Resnet(torchvision.models.ResNet):
        def _make_layer(self, block, planes, blocks, **options):
            if planes == 64:
                self.inplanes = width
                self.conv1 = torch.nn.Conv2d(3, width, 7, 2, 3, bias=False)
                self.bn1 = torch.nn.BatchNorm2d(width)
            return super()._make_layer(block, planes * width // 64, blocks, **options)

    model = Resnet(torchvision.models.resnet.Bottleneck, layers)
    model.fc = torch.nn.Identity()
    return model


def bert(hidden, layers, heads, vocabulary=211, positions=40):
    config = BertConfig(
        vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=4 * hidden, max_position_embeddings=positions,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )
    return BertModel(config, add_pooling_layer=False)


def resnet50_case(train, side, images="images", margin=0.0):
    """Refuses if an input of a ReLU is nearer to its kink than `margin`."""
    model = resnet([3, 4, 6, 3], 64).double().train(train)
    fill(model, "image.")
    nearest = []
    for module in model.modules():
        if isinstance(module, torch.nn.ReLU):
            module.register_forward_pre_hook(lambda _, xs: nearest.append(xs[0].detach().abs().min().item()))
    features = model(noise(images, 2, 3, side, side) * 2)
    assert min(nearest) >= margin, min(nearest)
    (features * noise("cotangent", *features.shape)).sum().backward()
    return {"features": features.detach(), **gradients(model, "image."), **statistics(model, "image.")}


def bert_case(hidden, layers, heads):
    model = bert(hidden, layers, heads).double()
    fill(model, "text.")
    ids, mask = tokens(3, 17, 211)
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    (mean * noise("cotangent", *mean.shape)).sum().backward()
    return {"mean": mean.detach(), "cls": states[:, 0].detach(), "states": summary(states * mask[..., None]), **gradients(model, "text.")}


class Clip(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.image = resnet([1, 1, 1, 1], 16)
        self.text = bert(32, 2, 4)
        self.image_projection = torch.nn.Linear(512, 24, bias=False)
        self.text_projection = torch.nn.Linear(32, 24, bias=False)
        self.logit_scale = torch.nn.Parameter(torch.zeros(()))

    def forward(self, pixels, ids, mask, smoothing):
        mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], dtype=torch.float64)
        images = ((pixels.double() / 255 - mean) / deviation).permute(0, 3, 1, 2)
        states = self.text(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        image = F.normalize(self.image_projection(self.image(images)), dim=-1)
        text = F.normalize(self.text_projection(pooled), dim=-1)
        logits = self.logit_scale.exp() * image @ text.T
        right = torch.arange(len(logits))
        loss = sum(F.cross_entropy(l, right, label_smoothing=smoothing) for l in (logits, logits.T)) / 2
        return image, text, loss


def clip_case(smoothing):
    model = Clip().double().train()
    fill(model, "")
    pixels = ((noise("pixels", 4, 64, 64, 3) + 1) * 128).floor().to(torch.uint8)
    ids, mask = tokens(4, 12, 211)
    image, text, loss = model(pixels, ids, mask, smoothing)
    loss.backward()
    return {"image": image.detach(), "text": text.detach(), "loss": loss.detach(), **gradients(model, ""), **statistics(model, "")}


def infonce(image, text, parts, smoothing=0.0):
    logits = parts["scale"] * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    right = torch.arange(len(logits))
    return sum(F.cross_entropy(l, right, label_smoothing=smoothing) for l in (logits, logits.T)) / 2


def multi_positive(image, text, parts, smoothing=0.0):
    logits = parts["scale"] * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    positives = parts["positives"].double()
    pairs = (logits, positives), (logits.T, positives.T)
    return sum(F.cross_entropy(l, p / p.sum(1, keepdim=True), label_smoothing=smoothing) for l, p in pairs) / 2


def siglip(image, text, parts):
    logits = parts["scale"] * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T + parts["bias"]
    z = 2 * torch.eye(len(logits), dtype=torch.float64) - 1
    return -F.logsigmoid(z * logits).sum() / len(logits)


def matching(image, text, parts):
    """The true pairs, each image with its hardest wrong text, each text with its hardest wrong image."""
    cosines = F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    wrong = cosines.detach().masked_fill(parts["positives"], -math.inf)
    pairs = [(t // parts["captions"], t, 1.0) for t in range(len(text))]
    pairs += [(i, wrong[i].argmax().item(), 0.0) for i in range(len(image))]
    pairs += [(wrong[:, t].argmax().item(), t, 0.0) for t in range(len(text))]
    costs = []
    for i, t, target in pairs:
        u, v = image[i], text[t]
        logit = parts["head"](torch.cat([u, v, u * v, (u - v).abs()]))[0]
        costs.append(F.binary_cross_entropy_with_logits(logit, torch.tensor(target, dtype=torch.float64)))
    return sum(costs) / len(costs)


def loss_case(loss, captions=1, **options):
    """Seven images, two of one source, and what a loss of their projections costs; all its gradients."""
    sources, width = [0, 1, 2, 1, 3, 4, 5], 8
    image, text = noise("image", 7, width).requires_grad_(), noise("text", 7 * captions, width).requires_grad_()
    of_text = [s for s in sources for _ in range(captions)]
    scale, bias = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (3.0, -2.0))
    head = torch.nn.Sequential(torch.nn.Linear(4 * width, width), torch.nn.GELU(), torch.nn.Linear(width, 1)).double()
    fill(head, "matching.")
    positives = torch.tensor(sources)[:, None] == torch.tensor(of_text)[None]
    parts = {"scale": scale, "bias": bias, "positives": positives, "captions": captions, "head": head}
    cost = loss(image, text, parts, **options)
    cost.backward()
    tensors = {"image": image, "text": text, "scale": scale, "bias": bias, **{f"matching.{n}": p for n, p in head.named_parameters()}}
    return {"loss": cost.detach(), **{f"grad.{name}": tensor.grad for name, tensor in tensors.items() if tensor.grad is not None}}


def adamw_case(clip):
    """Five steps of three parameters; the second trains from the third step on."""
    shapes = {"matrix": (5, 7), "late": (3, 4), "vector": (6,)}
    params = {name: torch.nn.Parameter(noise(name, *shape)) for name, shape in shapes.items()}
    groups = [{"params": [params["matrix"], params["late"]]}, {"params": [params["vector"]], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.1)
    results = {}
    for step in range(5):
        for group in optimiser.param_groups:
            group["lr"] = 0.01 * (step + 1)
        live = {name: p for name, p in params.items() if name != "late" or step >= 2}
        for name, p in live.items():
            p.grad = noise(f"{name} {step}", *shapes[name])
        if clip:
            results[f"norm.{step}"] = torch.nn.utils.clip_grad_norm_(live.values(), clip)
        optimiser.step()
    results |= {name: p.detach() for name, p in params.items()}
    for name, p in params.items():
        results |= {f"{name}.{key}": value.double() for key, value in optimiser.state[p].items()}
    return results


CASES = {
    "resnet50-eval-224": lambda: resnet50_case(False, 224),
    # Chosen among many for its margin: rounding to single precision (1e-6 here) puts no activation on the other side of
    # a ReLU, so that single precision has the same gradients on every machine.
    "resnet50-eval-32": lambda: resnet50_case(False, 32, "images 33", 2.5e-5),
    "resnet50-train-97": lambda: resnet50_case(True, 97),
    "bert-2x128": lambda: bert_case(128, 2, 4),
    "bert-6x64": lambda: bert_case(64, 6, 2),
    "bert-12x96": lambda: bert_case(96, 12, 12),
    "clip": lambda: clip_case(0.0),
    "clip-smoothed": lambda: clip_case(0.1),
    "loss-infonce": lambda: loss_case(infonce, smoothing=0.1),
    "loss-multi-positive": lambda: loss_case(multi_positive, captions=3),
    "loss-multi-positive-smoothed": lambda: loss_case(multi_positive, captions=2, smoothing=0.1),
    "loss-siglip": lambda: loss_case(siglip),
    "loss-matching": lambda: loss_case(matching),
    "loss-matching-3": lambda: loss_case(matching, captions=3),
    "adamw": lambda: adamw_case(0.0),
    "adamw-clipped": lambda: adamw_case(1.5),
}

if __name__ == "__main__":
    for name, case in CASES.items():
        results = {key: value.contiguous() for key, value in sorted(case().items())}
        save_file(results, HERE / f"{name}.safetensors")
