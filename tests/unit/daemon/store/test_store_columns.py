"""Column types: what PostgreSQL cannot keep as it is comes back as it was."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql, sqlite

from daemon.store.columns import AnyText

LETTERS = "a\x00\ue07f\ue07e"


@given(st.text(st.sampled_from(LETTERS)))
@example("\ue07f\ue07e")
@example("\x00\ue07f\x00")
def test_any_text_comes_back_from_postgresql_and_holds_no_nul_there(text: str) -> None:
    kept = AnyText().process_bind_param(text, postgresql.dialect())
    assert kept is not None
    assert "\x00" not in kept
    assert AnyText().process_result_value(kept, postgresql.dialect()) == text


@pytest.mark.parametrize("text", [None, "", LETTERS])
def test_sqlite_keeps_text_as_it_is(text: str | None) -> None:
    assert AnyText().process_bind_param(text, sqlite.dialect()) == text
    assert AnyText().process_result_value(text, sqlite.dialect()) == text
