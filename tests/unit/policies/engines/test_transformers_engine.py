"""The engine in this process, on a tiny random model: batching, sharing and adapters change no answer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from policies.engines import transformers_engine
from policies.engines.adapters import adapter_digest
from policies.engines.models import load_base, model_digest, pick_dtype
from policies.engines.transformers_engine import SeededSampler, TransformersEngine
from policies.errors import DataError, EngineError
from policies.records import Ask, Context, Policy, Prompt, Sampling
from tests.tiny import make_tiny_adapter, make_tokenizer

TEXTS = (
    "Why?",
    "How much of it may an adult take in one day?",
    "a",
    "What are the signs of a stroke, and when",
)
WORKED = Context(
    "worked", (("user", "May I?"), ("assistant", "You may not."), ("user", "So?"), ("assistant", "No."))
)


def engine(folder: Path, *, batch_size: int = 8, keep: int = 2) -> TransformersEngine:
    return TransformersEngine(model_path=folder, dtype="float32", batch_size=batch_size, keep=keep)


def asks(sampling: Sampling) -> list[Ask]:
    return [Ask(Prompt(text, 0, text), sampling, seed) for seed, text in enumerate(TEXTS)]


def texts(engine: TransformersEngine, policy: Policy, asked: list[Ask]) -> dict[str, str]:
    return {response.key: response.text for response in engine.generate(policy, asked)}


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> Policy:
    return Policy(model_digest(tiny_model))


@pytest.fixture(scope="module")
def adapted(tiny_model: Path, tiny_adapter: Path) -> Policy:
    return Policy(model_digest(tiny_model), adapter_digest(tiny_adapter), tiny_adapter)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("context", [Context(), WORKED], ids=["plain", "worked"])
def test_an_answer_does_not_depend_on_its_batch(
    tiny_model: Path, base: Policy, temperature: float, context: Context
) -> None:
    asked = asks(Sampling(12, temperature, 20, context))
    together = texts(engine(tiny_model), base, asked)
    alone: dict[str, str] = {}
    for ask in reversed(asked):
        alone |= texts(engine(tiny_model, batch_size=1), base, [ask])
    assert together == alone
    assert len(set(together.values())) > 1


@pytest.mark.parametrize("share_heads", [False, True])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_lanes_change_no_answer(
    tiny_model: Path,
    adapted: Policy,
    monkeypatch: pytest.MonkeyPatch,
    temperature: float,
    share_heads: bool,
) -> None:
    monkeypatch.setattr("policies.engines.transformers_engine._LEAST_ROWS", 1)
    told = []
    for lanes in (1, 2):
        made = TransformersEngine(
            model_path=tiny_model, dtype="float32", batch_size=4, share_heads=share_heads
        )
        made.lanes.count = lanes
        asked = asks(Sampling(12, temperature, 20, WORKED))
        answers = [*made.generate(adapted, asked), *made.generate(Policy(adapted.base_digest), asked)]
        told.append({one.key: (one.text, one.tokens, one.finish_reason) for one in answers})
    assert told[0] == told[1]
    assert len(set(told[0].values())) > 4


def test_shared_context_gives_the_answers_of_the_whole_conversation(tiny_model: Path, base: Policy) -> None:
    shared = engine(tiny_model)
    conversations = [[{"role": "user", "content": text}] for text in TEXTS]
    prefix = [{"role": role, "content": content} for role, content in WORKED.messages]
    sampling = {"max_new_tokens": 12, "temperature": 0.0, "top_k": 1, "seeds": [0] * len(TEXTS)}
    once = dict(shared.complete(base, conversations, prefix=prefix, **sampling))
    whole = dict(shared.complete(base, [[*prefix, *messages] for messages in conversations], **sampling))
    assert once == whole


def test_long_conversations_are_not_answered_side_by_side(
    tiny_model: Path, base: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, asked = engine(tiny_model), asks(Sampling(12, 0.0, 1, Context()))
    seen: list[tuple[int, ...]] = []
    laid_out = transformers_engine.laid_out

    def counted(rows: list[list[int]], *args: Any) -> Any:
        seen.append(tuple(map(len, rows)))
        return laid_out(rows, *args)

    monkeypatch.setattr(transformers_engine, "laid_out", counted)
    together = texts(made, base, asked)
    monkeypatch.setattr(transformers_engine, "_MOST_SEEN", 1)
    assert texts(made, base, asked) == together
    assert list(map(len, seen)) == [len(TEXTS), *[1] * len(TEXTS)]


def test_what_the_model_has_no_places_for_is_the_askers_error(tiny_model: Path) -> None:
    made = engine(tiny_model)
    asked = [{"role": "user", "content": "word " * 500}]
    taken = len(made._ids(asked, True))
    made.check(asked, max_new_tokens=4096 - taken)
    with pytest.raises(DataError, match=rf"take {taken} tokens and the answer up to {4097 - taken}, .* 4096"):
        made.check(asked, max_new_tokens=4097 - taken)


def test_what_the_chat_template_refuses_is_the_askers_error(tiny_model: Path) -> None:
    made = engine(tiny_model)
    made._tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(DataError, match="roles must alternate"):
        made.check([{"role": "user", "content": "a"}], max_new_tokens=1)


def test_a_sliding_window_sees_text_and_no_padding(tiny_model: Path, tmp_path: Path) -> None:
    """Of what all questions begin with, padding behind it would push a part out of the window."""
    torch.manual_seed(3)
    tokenizer = make_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    given = MistralConfig(
        vocab_size=len(tokenizer),
        num_key_value_heads=2,
        sliding_window=24,
        initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        **sizes,
    )
    MistralForCausalLM(given).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    base, asked = Policy(model_digest(tmp_path)), asks(Sampling(12, 0.0, 1, WORKED))
    together = texts(engine(tmp_path), base, asked)
    alone: dict[str, str] = {}
    for ask in asked:
        alone |= texts(engine(tmp_path, batch_size=1), base, [ask])
    assert together == alone
    assert len(set(together.values())) > 1


def test_a_conversation_with_a_system_message_is_answered_as_alone(tiny_model: Path, base: Policy) -> None:
    made = engine(tiny_model)
    conversations = [
        [{"role": "user", "content": TEXTS[0]}],
        [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": TEXTS[0]}],
    ]
    sampling = {"max_new_tokens": 12, "temperature": 0.0, "top_k": 1}
    together = dict(made.complete(base, conversations, seeds=[0, 0], **sampling))
    for index, conversation in enumerate(conversations):
        assert dict(made.complete(base, [conversation], seeds=[0], **sampling)) == {0: together[index]}
    assert together[0] != together[1]


def test_the_vocabulary_projection_gets_rows_in_one_piece(tiny_model: Path, tiny_adapter: Path) -> None:
    made, pieces = engine(tiny_model), list[bool]()
    policy = Policy(made.base_digest, adapter_digest(tiny_adapter), tiny_adapter)
    head = made.model_for(policy).get_output_embeddings()
    head.register_forward_hook(lambda _module, given, _made: pieces.append(given[0].is_contiguous()))
    texts(made, policy, asks(Sampling(4)))
    assert pieces
    assert all(pieces)


def test_another_seed_is_another_sample(tiny_model: Path, base: Policy) -> None:
    made = engine(tiny_model)
    prompt, sampling = Prompt("Why?", 0, "Why?"), Sampling(12, 1.0, 50)
    found = texts(made, base, [Ask(prompt, sampling, seed) for seed in range(4)])
    assert len(set(found.values())) == 4


def test_sampling_follows_the_softmax_of_the_best_k() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, 5.0, -1.0]])
    counts = torch.zeros(5)
    draws = 4000
    sampler = SeededSampler(list(range(draws)), temperature=2.0, top_k=3)
    chosen = sampler(torch.zeros(draws, 1, dtype=torch.long), logits.expand(draws, -1)).argmax(-1)
    counts.scatter_add_(0, chosen, torch.ones(draws))
    expected = torch.tensor([2.0, 1.0, 5.0]).div(2.0).softmax(-1)
    assert counts[2] == counts[4] == 0
    torch.testing.assert_close(counts[[0, 1, 3]] / draws, expected, atol=0.03, rtol=0)


def test_every_ask_is_answered_once_under_its_own_key(tiny_model: Path, base: Policy) -> None:
    asked = [*asks(Sampling(4)), *asks(Sampling(4, 1.0, 50, WORKED))]
    found = list(engine(tiny_model, batch_size=3).generate(base, asked))
    assert sorted(one.key for one in found) == sorted(ask.key(base.digest) for ask in asked)
    by_key = {one.key: one for one in found}
    for ask in asked:
        one = by_key[ask.key(base.digest)]
        assert (one.prompt_digest, one.seed) == (ask.prompt.digest, ask.seed)
        assert one.context_name == ask.sampling.context.name


def test_answers_cut_off_by_the_limit_say_so(tiny_model: Path, base: Policy) -> None:
    made = engine(tiny_model)
    for response in made.generate(base, asks(Sampling(3))):
        assert response.finish_reason == ("length" if response.tokens == 3 else "stop")


def test_an_answer_ends_before_its_end_token(tiny_model: Path) -> None:
    made = engine(tiny_model)
    end = made._tokenizer.eos_token_id
    letters = made._tokenizer("no", add_special_tokens=False)["input_ids"]
    done = made._completion([*letters, end, *letters], 5, 8)
    assert (done.text, done.finish_reason, done.tokens) == ("no", "stop", len(letters))


def test_adapter_changes_answers_and_leaves_the_base_as_it_was(
    tiny_model: Path, base: Policy, adapted: Policy
) -> None:
    made = engine(tiny_model)
    asked = asks(Sampling(12))
    before = texts(made, base, asked)
    weights = {name: value.clone() for name, value in made.model_for(base).state_dict().items()}
    changed = texts(made, adapted, asked)
    assert set(changed.values()) != set(before.values())
    assert texts(made, base, asked) == before
    after = made.model_for(base).state_dict()
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[name], value) for name, value in weights.items())


def test_adapter_is_not_merged_into_the_weights(
    tiny_model: Path, tiny_adapter: Path, adapted: Policy
) -> None:
    made = engine(tiny_model)
    model = made.model_for(adapted)
    ids = torch.tensor([[5, 6, 7, 8]])
    reference = merged_logits(tiny_model, tiny_adapter, ids)
    torch.testing.assert_close(model(input_ids=ids).logits, reference, atol=1e-4, rtol=1e-4)
    assert any("lora_A" in name for name, _ in model.named_parameters())
    base_weight = made.model_for(Policy(adapted.base_digest)).model.layers[0].self_attn.q_proj.weight
    assert any(parameter is base_weight for parameter in model.parameters()), "the base's tensors are shared"


def merged_logits(model: Path, adapter: Path, ids: torch.Tensor) -> torch.Tensor:
    """W + (alpha / r) B A, by PEFT's own merge in fp32: an independent way to the same function."""
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    merged = PeftModel.from_pretrained(
        LlamaForCausalLM.from_pretrained(model), str(adapter)
    ).merge_and_unload()
    return merged(input_ids=ids).logits


def test_more_adapters_than_are_kept_still_answer_as_themselves(
    tiny_model: Path, base: Policy, tmp_path: Path
) -> None:
    made = engine(tiny_model, keep=1)
    policies = []
    for number in range(3):
        folder = make_tiny_adapter(tiny_model, tmp_path / str(number), seed=number)
        policies.append(Policy(base.base_digest, adapter_digest(folder), folder))
    asked = asks(Sampling(8))
    first = [texts(made, policy, asked) for policy in policies]
    assert [texts(made, policy, asked) for policy in policies] == first
    assert len({tuple(found.values()) for found in first}) == 3


def test_adapter_that_does_not_fit_is_refused(tiny_model: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    made = engine(tiny_model)
    with pytest.raises(EngineError, match="holds no adapter_model"):
        made.load_adapter("empty", tmp_path)
    shutil.copytree(tiny_adapter, tmp_path / "broken")
    (tmp_path / "broken" / "adapter_model.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(EngineError, match="does not fit the base model"):
        made.load_adapter("broken", tmp_path / "broken")
    assert made.adapters == set()


def test_policy_whose_adapter_has_no_folder_is_refused(tiny_model: Path, base: Policy) -> None:
    with pytest.raises(EngineError, match="folder is not known"):
        engine(tiny_model).model_for(Policy(base.base_digest, "f" * 64))


def test_folder_without_a_model_is_one_readable_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be loaded"):
        load_base(tmp_path, dtype="float32", device="cpu")


def test_unknown_dtype_is_refused() -> None:
    with pytest.raises(EngineError, match="unknown dtype 'float8000'"):
        pick_dtype("float8000", "cpu")


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"avx2": True, "cpu_name": "AMD EPYC"}, torch.float32),
        ({"amx_bf16": False, "avx512_bf16": True, "cpu_name": "AMD EPYC"}, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": True, "cpu_name": "Intel Xeon"}, torch.float32),
        ({"amx_bf16": True, "avx512_bf16": True, "cpu_name": "Intel Xeon"}, torch.bfloat16),
        ({"bf16": True}, torch.bfloat16),
    ],
)
def test_automatic_dtype_is_what_the_processor_multiplies_faster(
    capabilities: dict[str, bool | str], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert pick_dtype("auto", "cpu") is dtype


def test_digest_of_a_model_follows_its_bytes(tiny_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    assert model_digest(copy) == model_digest(tiny_model)
    template = copy / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert model_digest(copy) != model_digest(tiny_model)
