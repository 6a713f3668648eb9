"""The loop: a batch in, weights moved, a line out."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from trainer import optimise
from trainer.clip import Clip
from trainer.config import completed
from trainer.losses import Pairs, loss
from trainer.shards import Batch


class Trainer:
    """Computes where the model lies, in the precision of its tensors, or in autocast's."""

    def __init__(
        self,
        model: Clip,
        config: dict,
        steps_per_epoch: int,
        *,
        fused: bool = False,
        autocast: torch.dtype | None = None,
        compiled: bool = False,
    ):
        config = completed(config)
        self.model, self.config = model, config
        self.stages = optimise.stages(config, steps_per_epoch)
        self.total = sum(stage.steps for stage in self.stages)
        self.steps_per_epoch = steps_per_epoch
        self.optimiser = optimise.adamw(model, config["optim"], fused)
        self.autocast = autocast
        self.towers = torch.compile(model) if compiled else model
        self.stage = None

    def run(self, batches: Iterable[Batch]) -> list[dict]:
        steps = enumerate(zip(optimise.each_step(self.stages), batches))
        return [self.line(step, stage, batch) for step, (stage, batch) in steps]

    def line(self, step: int, stage: optimise.Stage, batch: Batch) -> dict:
        values = self.step(step, stage, batch)
        place = {"step": step, "epoch": step // self.steps_per_epoch, "stage": stage.name}
        return place | {name: float(value) for name, value in values.items()}

    def step(self, step: int, stage: optimise.Stage, batch: Batch) -> dict[str, Tensor | float]:
        """Loss, rates and scale are from before the update, the norm from before clipping."""
        if stage is not self.stage:
            self.model.train_only(stage.train)
            self.stage = stage
        rates = self.set_rates(step, stage)
        self.optimiser.zero_grad(set_to_none=True)
        scale, value = self.model.logit_scale.detach().exp(), self.loss(batch)
        value.backward()
        norm = self.clip_gradients()
        self.optimiser.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=math.log(self.config["optim"]["max_scale"]))
        return {"loss": value.detach(), "grad_norm": norm, "scale": scale, **rates}

    def loss(self, batch: Batch) -> Tensor:
        device = batch.pixels.device.type
        with torch.autocast(device, self.autocast, enabled=self.autocast is not None):
            images, texts = self.towers(batch.pixels, batch.ids, batch.mask)
        scale = self.model.logit_scale
        pairs = Pairs(images.to(scale), texts.to(scale), batch.right, batch.own)
        return loss(self.model, pairs, self.config["loss"])

    def set_rates(self, step: int, stage: optimise.Stage) -> dict[str, float]:
        """Gives back what the log says: 0 for a tower that is frozen."""
        optim = self.config["optim"]
        factor = optimise.factor(step, optim["warmup"], self.total, optim["schedule"])
        logged = dict.fromkeys(optimise.RATES[:3], 0.0)
        for group in self.optimiser.param_groups:
            group["lr"] = stage.rates[group["rate"]] * factor
            if group["rate"] in logged and any(p.requires_grad for p in group["params"]):
                logged[group["rate"]] = group["lr"]
        return logged

    def clip_gradients(self) -> Tensor:
        trained = [p for p in self.model.parameters() if p.grad is not None]
        most = self.config["optim"]["clip_grad"]
        norm = torch.nn.utils.get_total_norm([p.grad for p in trained])
        if most:
            torch.nn.utils.clip_grads_with_norm_(trained, most, norm)
        return norm
