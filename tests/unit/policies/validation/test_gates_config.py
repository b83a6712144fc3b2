"""The gates file: complete, strict, and telling where it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.errors import ConfigurationError
from policies.validation.config import GateConfig, Gates, Margin, gates_from, load_gates
from policies.validation.gates import GATES
from tests.unit.policies.validation.experiments import GATES_FILE


def body() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(GATES_FILE.read_text(encoding="utf-8"))
    return found


def test_shipped_file_loads_and_names_every_gate_that_exists() -> None:
    assert isinstance(load_gates(GATES_FILE), GateConfig)
    assert set(Gates.model_fields) == set(GATES)


@pytest.mark.parametrize("gate", Gates.model_fields)
def test_every_gate_has_to_be_there(gate: str) -> None:
    given = body()
    del given["gates"][gate]
    with pytest.raises(ConfigurationError, match=rf"gates\.{gate} is missing"):
        gates_from(given)


def test_unknown_gate_and_unknown_setting_are_named_together() -> None:
    given = body()
    given["gates"]["vibes"] = {}
    given["gates"]["kl_cap"]["maximum"] = 2
    with pytest.raises(ConfigurationError) as caught:
        gates_from(given, "my.yaml")
    assert "my.yaml: " in str(caught.value)
    assert "gates.vibes is an unknown gate" in str(caught.value)
    assert "gates.kl_cap.maximum is unknown" in str(caught.value)


@pytest.mark.parametrize(
    ("gate", "key", "value"),
    [
        ("ss_superiority", "effect", float("nan")),
        ("ss_superiority", "effect", 0),
        ("err_noninferiority", "err_max", 1.2),
        ("unscored_cap", "max", "much"),
        ("kl_cap", "max", float("inf")),
        ("subgroups", "alpha", 1.0),
    ],
)
def test_values_out_of_range_are_errors(gate: str, key: str, value: Any) -> None:
    given = body()
    given["gates"][gate][key] = value
    with pytest.raises(ConfigurationError, match=rf"gates\.{gate}\.{key}"):
        gates_from(given)


def test_spending_that_needs_a_number_of_cycles_says_so() -> None:
    given = body()
    given["alpha"] = {"budget": 0.05, "spending": "pocock"}
    with pytest.raises(ConfigurationError, match="cycles"):
        gates_from(given)


def test_cap_on_err_may_be_left_open() -> None:
    given = body()
    given["gates"]["err_noninferiority"]["err_max"] = None
    assert gates_from(given).gates.err_noninferiority.err_max is None


@pytest.mark.parametrize("text", ["", "- 1\n", "gates: ["])
def test_other_files_are_turned_away(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"gates\.yaml"):
        load_gates(path)


def test_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_gates(tmp_path / "none.yaml")


def test_margin_is_wider_with_few_prompts() -> None:
    margin = Margin(standard=0.05, few=0.15, few_prompts=300)
    assert (margin.at(299), margin.at(300)) == (0.15, 0.05)


def test_alpha_of_all_cycles_stays_within_the_budget() -> None:
    config = load_gates(GATES_FILE)
    assert sum(config.alpha_for(cycle) for cycle in range(1, 200)) <= config.alpha.budget
