"""Networks of the field, and what is known of their symmetries: the least that must be derived of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
import torchvision.models as zoo
from torch import Tensor, nn

from nid_cli.nets.calls import INPUT, Batch
from nid_cli.nets.description import Input
from tests.nets.modules import Block


class Known(NamedTuple):
    """``spaces``, ``moved``: the least number of spaces, and share of parameters moved."""

    build: Callable[[], nn.Module]
    input: Input
    spaces: int
    moved: float


def pictures(side: int) -> Input:
    """Coloured pictures."""
    return Input(INPUT, (Batch(), 3, side, side))


class Gpt2(nn.Module):
    """GPT-2 of two blocks: tokens in, logits out, embeddings tied to the last layer."""

    def __init__(self, width: int = 32, heads: int = 4, context: int = 8, vocabulary: int = 50) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(2))
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return self.lm_head(self.ln_f(x))


class _Resnet(nn.Module):
    """A residual block of a diffusion UNet, told the time."""

    def __init__(self, before: int, after: int, time: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, before), nn.Conv2d(before, after, 3, padding=1)
        self.time = nn.Linear(time, after)
        self.norm2, self.conv2 = nn.GroupNorm(4, after), nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x))) + self.time(F.silu(time))[:, :, None, None]
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class _Attention(nn.Module):
    def __init__(self, width: int, context: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k, self.to_v = nn.Linear(context, width, bias=False), nn.Linear(context, width, bias=False)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        parts = (self.to_q(x), self.to_k(context), self.to_v(context))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _Spatial(nn.Module):
    """Pixels attend to each other, then to the context; a gated layer follows."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.norm, self.proj_in, self.proj_out = (
            nn.GroupNorm(4, width),
            nn.Conv2d(width, width, 1),
            nn.Conv2d(width, width, 1),
        )
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn1, self.attn2 = _Attention(width, width), _Attention(width, context)
        self.gated, self.out = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        h = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        h = h + self.attn1(n := self.norm1(h), n)
        h = h + self.attn2(self.norm2(h), context)
        up, gate = self.gated(self.norm3(h)).chunk(2, dim=-1)
        h = h + self.out(up * F.gelu(gate))
        return x + self.proj_out(h.transpose(1, 2).unflatten(-1, x.shape[2:]))


class UNet(nn.Module):
    """A diffusion UNet of two levels: cross-attention to a learned context, skips that are concatenated, upsampling."""

    def __init__(self, width: int = 16, context: int = 12, time: int = 24) -> None:
        super().__init__()
        wide = 2 * width
        self.context = nn.Parameter(torch.randn(1, 5, context))
        self.time1, self.time2 = nn.Linear(width, time), nn.Linear(time, time)
        self.conv_in = nn.Conv2d(3, width, 3, padding=1)
        self.down1, self.attend1 = _Resnet(width, width, time), _Spatial(width, context)
        self.shrink = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.down2 = _Resnet(width, wide, time)
        self.mid1, self.attend, self.mid2 = (
            _Resnet(wide, wide, time),
            _Spatial(wide, context),
            _Resnet(wide, wide, time),
        )
        self.up2, self.grow = _Resnet(2 * wide, wide, time), nn.Conv2d(wide, wide, 3, padding=1)
        self.up1, self.attend2 = _Resnet(wide + width, width, time), _Spatial(width, context)
        self.norm_out, self.conv_out = nn.GroupNorm(4, width), nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        angles = 7.0 * torch.exp(-torch.arange(self.time1.in_features // 2, device=x.device) / 2.0)
        time = self.time2(F.silu(self.time1(torch.cat((angles.sin(), angles.cos()))[None])))
        context = self.context.expand(x.shape[0], -1, -1)
        skip0 = self.conv_in(x)
        skip1 = self.attend1(self.down1(skip0, time), context)
        skip2 = self.down2(self.shrink(skip1), time)
        h = self.mid2(self.attend(self.mid1(skip2, time), context), time)
        h = self.up2(torch.cat((h, skip2), dim=1), time)
        h = self.grow(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        h = self.attend2(self.up1(torch.cat((h, skip1), dim=1), time), context)
        return self.conv_out(F.silu(self.norm_out(h)))


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def _vit(**settings: int) -> nn.Module:
    module = zoo.VisionTransformer(**settings)  # type: ignore[arg-type]
    nn.init.normal_(module.heads.head.weight)  # type: ignore[union-attr, arg-type]  # which starts with zeros
    return module


_SMALL = {"image_size": 64, "patch_size": 16, "num_layers": 2, "num_heads": 4, "hidden_dim": 64, "mlp_dim": 128}
_B_16 = {"image_size": 64, "patch_size": 16, "num_layers": 12, "num_heads": 12, "hidden_dim": 768, "mlp_dim": 3072}

NETWORKS: dict[str, Known] = {
    "resnet18": Known(lambda: zoo.resnet18(), pictures(32), 12, 1.0),
    "resnet50": Known(lambda: zoo.resnet50(), pictures(32), 37, 1.0),
    "vgg11_bn": Known(lambda: zoo.vgg11_bn(), pictures(32), 10, 1.0),
    "densenet121": Known(lambda: zoo.densenet121(), pictures(32), 120, 1.0),
    "convnext_tiny": Known(lambda: zoo.convnext_tiny(), pictures(32), 22, 1.0),
    "mobilenet_v3_small": Known(lambda: zoo.mobilenet_v3_small(), pictures(32), 27, 1.0),
    "efficientnet_b0": Known(lambda: zoo.efficientnet_b0(), pictures(32), 40, 1.0),
    "googlenet": Known(lambda: zoo.googlenet(init_weights=False, aux_logits=False), pictures(32), 57, 1.0),
    "vit": Known(lambda: _vit(**_SMALL), pictures(64), 7, 0.995),
    "gpt2": Known(Gpt2, Input(INPUT, (Batch(), 8), "int64", 50), 9, 1.0),
    "encoder": Known(_encoder, Input(INPUT, (Batch(), 5, 32)), 6, 0.978),
    "unet": Known(UNet, pictures(16), 52, 0.93),
}
# Networks of full depth and width, which take longer.
LARGE: dict[str, Known] = {
    "vit_b_16": Known(lambda: _vit(**_B_16), pictures(64), 37, 0.99),
    "swin_t": Known(lambda: zoo.swin_t(), pictures(64), 1, 0.9),
    "squeezenet1_0": Known(lambda: zoo.squeezenet1_0(), pictures(64), 25, 0.999),
}
