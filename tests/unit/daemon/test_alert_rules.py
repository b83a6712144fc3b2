"""Alerts ask for metrics that exist, lead to runbooks that exist, and each is tried quiet and firing."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from daemon.metrics import metrics_text
from daemon.store.store import Store
from policies.records import Candidate
from tests.unit.daemon.history import make_history

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "prometheus" / "primum.rules.yml"
TESTS = RULES.with_name("primum.rules.test.yml")
PROMTOOL = shutil.which("promtool")

Rule = dict[str, object]


@pytest.fixture(scope="module")
def rules() -> list[Rule]:
    found = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert found
    return found


def test_rules_ask_for_metrics_and_states_that_exist(
    rules: list[Rule], store: Store, at: Callable[[float], datetime], candidate: Callable[..., Candidate]
) -> None:
    make_history(store, at(0), candidate("dpo"))
    text = metrics_text(store, serving=True).decode()
    families = {one.name: one for one in text_string_to_metric_families(text)}
    states = {sample.labels["state"] for sample in families["primum_cycles"].samples}
    for rule in rules:
        expression = str(rule["expr"])
        asked = set(re.findall(r"\bprimum_[a-z_]+", expression))
        assert asked <= set(families), rule["alert"]
        assert asked or "up{" in expression, rule["alert"]
        for named in re.findall(r'state=~?"([^"]+)"', expression):
            assert set(named.split("|")) <= states, rule["alert"]


def test_each_alert_leads_to_a_runbook(rules: list[Rule]) -> None:
    for rule in rules:
        assert (ROOT / rule["annotations"]["runbook"]).is_file(), rule["alert"]  # type: ignore[index]


def test_each_alert_is_tried_quiet_and_firing(rules: list[Rule]) -> None:
    tried: dict[str, set[bool]] = {}
    for group in yaml.safe_load(TESTS.read_text())["tests"]:
        for one in group["alert_rule_test"]:
            tried.setdefault(one["alertname"], set()).add(bool(one["exp_alerts"]))
    assert tried == {str(rule["alert"]): {True, False} for rule in rules}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed; apt install prometheus")
@pytest.mark.parametrize("arguments", [["check", "rules", RULES.name], ["test", "rules", TESTS.name]])
def test_promtool_agrees(arguments: list[str]) -> None:
    ended = subprocess.run(
        [str(PROMTOOL), *arguments], cwd=RULES.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
