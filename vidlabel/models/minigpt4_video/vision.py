"""The vision tower: EVA ViT (pre-norm blocks, class token, learned positions) without its final norm and head.

Norms and the residual stream are float32 whatever the weights' type; matrix products run in the weights' type. That
is what the reference does in half precision, and in float32 it changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidlabel.models.minigpt4_video.config import VisionConfig


class LayerNorm(nn.LayerNorm):
    """Computes in float32 and returns float32."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        return F.layer_norm(input.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps)


class Attention(nn.Module):
    """Self-attention with a bias on queries and values only."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(config.embed_dim, 3 * config.embed_dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(config.embed_dim))
        self.v_bias = nn.Parameter(torch.zeros(config.embed_dim))
        self.proj = nn.Linear(config.embed_dim, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:  # (B, N, D)
        num_rows, num_tokens, dim = x.shape
        bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias.to(x.dtype))
        q, k, v = qkv.view(num_rows, num_tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)  # each (B, h, N, d)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(num_rows, num_tokens, dim))
        return out


class MLP(nn.Module):
    """Two layers with the exact (erf) GELU between."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.embed_dim, config.mlp_hidden)
        self.fc2 = nn.Linear(config.mlp_hidden, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm1 = LayerNorm(config.embed_dim, eps=config.norm_eps)
        self.attn = Attention(config)
        self.norm2 = LayerNorm(config.embed_dim, eps=config.norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor) -> Tensor:  # float32 in and out
        dtype = self.attn.qkv.weight.dtype
        x = x + self.attn(self.norm1(x).to(dtype))
        out: Tensor = x + self.mlp(self.norm2(x).to(dtype))
        return out


class PatchEmbed(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.embed_dim, kernel_size=config.patch_size, stride=config.patch_size)

    def forward(self, images: Tensor) -> Tensor:  # (N, 3, S, S) -> (N, patches, D)
        out: Tensor = self.proj(images.to(self.proj.weight.dtype)).flatten(2).transpose(1, 2)
        return out


class VisionTower(nn.Module):
    """`(N, 3, S, S)` normalised images to `(N, 1 + patches, D)` tokens, the class token first."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.num_patches, config.embed_dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1:] != (3, self.config.image_size, self.config.image_size):
            raise ValueError(f"images are (N, 3, S, S) with S = {self.config.image_size}, got {tuple(images.shape)}")
        patches = self.patch_embed(images).float()
        x = torch.cat([self.cls_token.float().expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed.float()
        for block in self.blocks:
            x = block(x)
        return x


def initialise(tower: VisionTower) -> None:
    """Random weights to train from: truncated normal, deeper blocks' outputs scaled down."""
    for module in tower.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.trunc_normal_(tower.cls_token, std=0.02)
    nn.init.trunc_normal_(tower.pos_embed, std=0.02)
    with torch.no_grad():
        for depth, block in enumerate(tower.blocks, start=1):
            assert isinstance(block, Block)
            block.attn.proj.weight.div_((2 * depth) ** 0.5)
            block.mlp.fc2.weight.div_((2 * depth) ** 0.5)


def interpolate_pos_embed(pos_embed: Tensor, num_patches: int) -> Tensor:
    """Position embeddings `(1, 1 + old, D)` resized to another square grid, float32; the class token's stays."""
    old_side, side = int((pos_embed.shape[1] - 1) ** 0.5), int(num_patches**0.5)
    if old_side == side:
        return pos_embed
    dim = pos_embed.shape[2]
    grid = pos_embed[:, 1:].reshape(1, old_side, old_side, dim).permute(0, 3, 1, 2).float()
    grid = F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
    resized = grid.permute(0, 2, 3, 1).reshape(1, side * side, dim)
    return torch.cat([pos_embed[:, :1].float(), resized], dim=1)


def pool_tokens(tokens: Tensor, pool_size: int) -> Tensor:
    """Joins consecutive patches (raster order) into one token: (N, P, D) -> (N, P / pool, pool * D)."""
    num_rows, num_patches, dim = tokens.shape
    return tokens.reshape(num_rows, num_patches // pool_size, pool_size * dim)
