"""Parts of a Llama decoder layer, for those that compute one in their own way.

Answering (policies.engines.answering_layers) and training (policies.training.written_layer) both write a
layer out instead of calling its modules; what they hold in common stands here. The numbers are those of
transformers' and PEFT's modules but for rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from policies.engines.lora import is_plain

Adapter = tuple[torch.Tensor, torch.Tensor, float]  # A (rank, in), B (out, rank), scaling
Adapters = tuple[tuple[Adapter | None, ...], ...]


def plain_layers(decoder: Any) -> list[LlamaDecoderLayer]:
    """The layers of `decoder` that compute as is told here: all of a Llama's, none of another decoder's."""
    config = decoder.config
    known = config.model_type == "llama" and config.hidden_act == "silu"
    return [layer for layer in decoder.layers if known and type(layer) is LlamaDecoderLayer]


def groups_of(layer: LlamaDecoderLayer) -> tuple[tuple[Any, ...], ...]:
    """A layer's linear modules, by their input."""
    attention, mlp = layer.self_attn, layer.mlp
    return (
        (attention.q_proj, attention.k_proj, attention.v_proj),
        (attention.o_proj,),
        (mlp.gate_proj, mlp.up_proj),
        (mlp.down_proj,),
    )


def base_of(module: Any) -> Any:
    """The linear module itself, under an adapter or not."""
    return module.base_layer if isinstance(module, LoraLinear) else module


def adapters_of(layer: LlamaDecoderLayer) -> Adapters | None:
    """Each linear module's, in `groups_of`'s order, None for one without.

    None in all where something is not plain: biases, dropout, DoRA, several or merged adapters, weights of
    the base that are trained.
    """
    told = []
    for group in groups_of(layer):
        found = [_adapter_of(module) for module in group]
        if not all(plain for plain, _ in found):
            return None
        told.append(tuple(adapter for _, adapter in found))
    return tuple(told)


def _adapter_of(module: Any) -> tuple[bool, Adapter | None]:
    """(whether it is plain, its adapter if one is active)."""
    base = base_of(module)
    if type(base) is not torch.nn.Linear or base.bias is not None or base.weight.requires_grad:
        return False, None
    if base is module:
        return True, None
    if type(module) is not LoraLinear or module.merged:
        return False, None
    names = [name for name in module.active_adapters if name in module.lora_A]
    if module.disable_adapters or not names:
        return True, None
    if len(names) > 1 or not is_plain(module, names[0]):
        return False, None
    name = names[0]
    return True, (module.lora_A[name].weight, module.lora_B[name].weight, module.scaling[name])


def heads_of(layer: LlamaDecoderLayer) -> tuple[int, int, int]:
    """(heads, groups of them that share keys, size of a head)."""
    attention = layer.self_attn
    heads = int(attention.config.num_attention_heads)
    return heads, heads // int(attention.num_key_value_groups), int(attention.head_dim)


def rms_norm(x: torch.Tensor, norm: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """As LlamaRMSNorm has it: (T, size) and, in fp32, what each token was multiplied by, (T, 1)."""
    whole = x.float()
    scale = torch.linalg.vector_norm(whole, dim=-1, keepdim=True).square_().div_(x.shape[-1])
    scale.add_(norm.variance_epsilon).rsqrt_()
    return (whole * scale).to(x.dtype).mul_(norm.weight.detach()), scale


def rotated(
    states: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, back: bool = False
) -> torch.Tensor:
    """Rotary positions on (…, heads, size); `back` for their gradient."""
    half = states.shape[-1] // 2
    low, high = states[..., :half], states[..., half:]
    sines = (sine[..., half:], sine[..., :half]) if back else (sine[..., :half], sine[..., half:])
    sign = 1 if back else -1
    told = states * cosine
    told[..., :half].addcmul_(high, sines[0], value=sign)
    told[..., half:].addcmul_(low, sines[1], value=-sign)
    return told
