"""Reading a label out of a reply."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.replies import ChatReply, TokenLogprob, TopLogprob, label_probabilities, parse_label, read_reply
from policies.cares import Label


@pytest.mark.parametrize(
    ("content", "label"),
    [
        ('{"label": "Refuse"}', Label.REFUSE),
        ('{"label": "Reject"}', Label.REFUSE),
        ("reject", Label.REFUSE),
        ("REFUSE.", Label.REFUSE),
        ("**Accept**", Label.ACCEPT),
        ("Safety_Judgment: Caution", Label.CAUTION),
        ("The label is: accepted.", Label.ACCEPT),
        ('```json\n{"label": "caution"}\n```', Label.CAUTION),
        ('"Refuse"', Label.REFUSE),
        ("Refuse or Accept", None),
        ("I would not Accept this", None),
        ("Maybe", None),
        ("", None),
        ("{}", None),
        ('{"label": 3}', None),
        ('{"label": "Deny"}', None),
        ('["Accept"]', None),
        ('{"label": "Acc', None),
        ("Accept" + " " * 2000, None),
    ],
)
def test_only_a_reply_that_is_a_label_is_one(content: str, label: Label | None) -> None:
    assert parse_label(content) is label


@given(st.text(max_size=60))
def test_any_reply_is_read_without_an_error(content: str) -> None:
    assert parse_label(content) in (None, *Label)


def _reply(**choice: object) -> ChatReply:
    return ChatReply.model_validate({"choices": [choice]})


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (ChatReply(), "no choice"),
        (_reply(message={"content": None, "refusal": "I can't judge this"}), "refused to judge"),
        (_reply(message={"content": ""}), "empty"),
        (_reply(message={"content": "Perhaps"}), "not one of the labels"),
        (_reply(message={"content": '{"label": "Ac'}, finish_reason="length"), "cut off"),
        (_reply(message={"content": "Refuse"}, finish_reason="length"), "cut off"),
        (_reply(message={"content": "Accept"}, finish_reason="content_filter"), "content filter"),
    ],
)
def test_a_reply_without_a_certain_label_has_a_reason(reply: ChatReply, reason: str) -> None:
    reading = read_reply(reply)
    assert reading.label is None
    assert reason in (reading.reason or "")


def test_complete_json_counts_even_at_the_token_limit() -> None:
    assert (
        read_reply(_reply(message={"content": '{"label":"Accept"}'}, finish_reason="length")).label
        is Label.ACCEPT
    )


def _token(text: str, tops: dict[str, float] | None = None) -> TokenLogprob:
    listed = [TopLogprob(token=token, logprob=math.log(share)) for token, share in (tops or {}).items()]
    return TokenLogprob(token=text, logprob=math.log((tops or {}).get(text, 1.0)), top_logprobs=listed)


def test_probabilities_come_from_the_token_in_which_the_label_begins() -> None:
    tokens = [
        _token('{"'),
        _token("label"),
        _token('":"'),
        _token("Ref", {"Ref": 0.6, "Acc": 0.3, "Zzz": 0.1}),
    ]
    tokens += [_token("use"), _token('"}')]
    shares = label_probabilities('{"label":"Refuse"}', tokens)
    assert shares is not None
    assert shares["Refuse"] == pytest.approx(0.6 / 0.9, abs=1e-5)
    assert shares["Accept"] == pytest.approx(0.3 / 0.9, abs=1e-5)
    assert 0 < shares["Caution"] < 1e-5
    assert math.fsum(shares.values()) == pytest.approx(1)


def test_spellings_of_one_label_add_up() -> None:
    shares = label_probabilities(
        "Refuse", [_token("Refuse", {"Refuse": 0.4, " refuse": 0.1, "Reject": 0.2, "Accept": 0.3})]
    )
    assert shares is not None
    assert shares["Refuse"] == pytest.approx(0.7, abs=1e-5)


def test_a_label_token_that_carries_the_quote_is_understood() -> None:
    tokens = [
        _token('{"label"'),
        _token(":"),
        _token(' "Acc', {' "Acc': 0.5, ' "Ref': 0.25, ' "C': 0.25}),
        _token('ept"}'),
    ]
    shares = label_probabilities('{"label": "Accept"}', tokens)
    assert shares is not None
    assert shares == pytest.approx({"Accept": 0.5, "Caution": 0.25, "Refuse": 0.25})


def test_useless_logprobs_give_no_probabilities() -> None:
    assert label_probabilities("Accept", [_token("zzz")]) is None
    assert label_probabilities("...", [_token("...")]) is None
