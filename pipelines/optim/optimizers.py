"""Optimizers, with weight decay where it belongs."""

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pipelines.optim.params import OptimizationParams
from pipelines.optim.schedules import factor


def adamw(module: nn.Module, params: OptimizationParams, learning_rate: float) -> tuple[Optimizer, LRScheduler]:
    """AdamW (Loshchilov & Hutter 2019) and its schedule.

    Biases and LayerNorm, the parameters with one dimension, are not decayed (Devlin et al. 2019).
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.dim() > 1], "weight_decay": params.weight_decay},
        {"params": [parameter for parameter in trained if parameter.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = AdamW(groups, lr=learning_rate, betas=(0.9, params.beta2), eps=1e-8, fused=True)

    def schedule(update: int) -> float:
        return factor(params.schedule, update, warmup=params.warmup_updates, total=params.updates)

    return optimizer, LambdaLR(optimizer, schedule)
