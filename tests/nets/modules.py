"""Small torch modules that networks are taken in from: families of the field, and forms that are hard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
import torchvision.models as zoo
from torch import Tensor, nn

from nid_cli.nets.calls import Batch
from nid_cli.nets.description import Input

PICTURES = (Input("x", (Batch(), 3, 32, 32)),)
ROWS = (Input("x", (Batch(), 5, 16)),)
TOKENS = (Input("tokens", (Batch(), 5), "int64", 11),)


class Of(nn.Module):
    """A module of a function of two linear layers and its inputs."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 16)
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = (
            part.view(n, t, self.heads, d // self.heads).transpose(1, 2)
            for part in self.qkv(self.ln_1(x)).split(d, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.drop(self.proj(y.transpose(1, 2).contiguous().view(n, t, d)))
        return x + self.drop(self.fc2(F.gelu(self.fc1(self.ln_2(x)))))


class Gpt(nn.Module):
    """GPT-2 in small: tokens in, embeddings tied to the last layer, outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(11, 16), nn.Embedding(5, 16)
        self.blocks = nn.ModuleList(Block(16, 2) for _ in range(2))
        self.ln_f, self.lm_head = nn.LayerNorm(16), nn.Linear(16, 11, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        x = self.ln_f(x)
        return {"logits": self.lm_head(x), "hidden": x}


class Constants(nn.Module):
    """Constants of the code: a buffer that no state dictionary has, a lifted tensor, and what is computed apart."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 16)
        self.register_buffer("mask", torch.ones(5, 5).tril(), persistent=False)
        self.register_buffer("scale", torch.full((16,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            angles = torch.arange(5, dtype=torch.float32)[:, None] * torch.tensor([0.5, 0.25])
        turned = self.mask @ self.fc(x * self.scale)
        return turned * angles.cos().mean()


class Normed(nn.Module):
    """Batch norms of all kinds, instance norms and dropouts, in place where they can be."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.3),
            nn.Conv2d(6, 6, 3),
            nn.InstanceNorm2d(6, affine=True, track_running_stats=True),
            nn.Hardswish(inplace=True),
            nn.Conv2d(6, 4, 3),
            nn.BatchNorm2d(4, track_running_stats=False),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.BatchNorm1d(16),
            nn.AlphaDropout(0.2),
            nn.Dropout(0.5, inplace=True),
            nn.Linear(16, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def _residual_in_place(own: Of, x: Tensor) -> Tensor:
    h = own.a(x)
    return h + own.b(F.relu(h, inplace=True))


def _view_changed(own: Of, x: Tensor) -> Tensor:
    h = own.a(x)
    h[:, :2] = 0.5
    h[..., 3].mul_(2.0)
    return own.b(h)


class Entangled(nn.Module):
    """Views changed in place, beside a batch norm and a dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.drop, self.b = nn.Linear(16, 16), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.a(x))
        h[:, 0].sigmoid_()
        return self.b(self.drop(h))


def _view_read(own: Of, x: Tensor) -> Tensor:
    h = own.a(x)
    rows = h.view(-1, 16)
    h.relu_()
    return own.b(rows).view(-1, 5, 16)


def _detour(own: Of, x: Tensor) -> Tensor:
    h = own.a(x)
    kept = h.clone()
    same = h.detach()
    h += 1.0
    return own.b(kept) * same + h.contiguous().tanh_()


def _changed_input(own: Of, x: Tensor) -> Tensor:
    x *= 2.0
    return own.a(x) + x


def _numbered(own: Of, x: Tensor) -> Tensor:
    angles = torch.exp(-torch.arange(16, device=x.device) / 2.0)
    return own.b(F.relu(own.a(x) * angles.sin()))


IN_PLACE = {
    "residual": _residual_in_place,
    "view changed": _view_changed,
    "view read": _view_read,
    "detour": _detour,
    "input": _changed_input,
}

MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[Input, ...]]] = {
    "resnet18": (lambda: zoo.resnet18(weights=None), PICTURES),
    "mobilenet": (lambda: zoo.mobilenet_v3_small(weights=None), PICTURES),
    "vit": (lambda: zoo.VisionTransformer(32, 16, 1, 2, 16, 32, dropout=0.1, attention_dropout=0.1), PICTURES),
    "googlenet": (lambda: zoo.googlenet(weights=None, init_weights=False, aux_logits=False), PICTURES),
    "encoder": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1, enable_nested_tensor=False
        ),
        ROWS,
    ),
    "gpt": (Gpt, TOKENS),
    "entangled": (Entangled, ROWS),
    "constants": (Constants, ROWS),
    "norms": (Normed, PICTURES),
    "numbered": (lambda: Of(_numbered), ROWS),
    "lstm": (lambda: _Recurrent(), ROWS),
    **{name: (lambda f=function: Of(f), ROWS) for name, function in IN_PLACE.items()},  # type: ignore[misc]
}


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(16, 8, 2, batch_first=True, dropout=0.2), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.lstm(x)[0][:, -1])
