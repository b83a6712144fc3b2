"""Settings: every shipped file loads, mistakes are told all at once and by name, secrets stay out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from daemon.cycle.training_asks import read_context
from daemon.settings import Settings, find_file, load_settings
from policies.errors import ConfigurationError
from policies.validation.config import load_gates

CONFIGS = Path(__file__).parents[3] / "configs"
OTHERS = {
    "gates.yaml": load_gates,
    "worked_examples.yaml": read_context,
    "over_cautious_examples.yaml": read_context,
}
SMALL = {"judging": {"train": "rules", "validate": "rules", "registry": {"rules": {"kind": "rules"}}}}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("PRIMUM_")]:
        monkeypatch.delenv(name)


def write(folder: Path, **changes: object) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **changes}))
    return path


def wrong(folder: Path, **changes: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(write(folder, **changes))
    assert "\n" not in str(caught.value), "an error is one line"
    return str(caught.value)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_file_loads(path: Path) -> None:
    if (read := OTHERS.get(path.name)) is not None:
        assert read(path)
        return
    settings = load_settings(path)
    assert settings.gates.is_file()
    assert settings.sampling.worked_examples.is_file()


def test_unknown_keys_are_errors_at_every_depth(tmp_path: Path) -> None:
    assert "sed: unknown setting" in wrong(tmp_path, sed=1)
    assert "model.nam: unknown setting" in wrong(tmp_path, model={"nam": "x"})
    found = wrong(tmp_path, training={"candidates": {"dpo": {"method": "dpo", "lr": 1}}})
    assert "training.candidates.dpo.lr: unknown setting" in found


def test_all_errors_are_told_together(tmp_path: Path) -> None:
    found = wrong(
        tmp_path,
        sed=1,
        model={"batch_size": 0},
        engine={"kind": "openai"},
        schedule={"poll_s": -1},
        training={"candidates": {"x": {"method": "ppo"}}},
    )
    for key in (
        "sed",
        "model.batch_size",
        "engine.base_url",
        "schedule.poll_s",
        "training.candidates.x.method",
    ):
        assert key in found
    assert "config.yaml" in found


@pytest.mark.parametrize("key", ["train", "validate", "second"])
def test_judge_that_is_not_registered_is_named(tmp_path: Path, key: str) -> None:
    judging = {**SMALL["judging"], key: "nobody"}
    found = wrong(tmp_path, judging=judging)
    assert f"judging.{key}: no judge 'nobody'" in found
    assert "rules" in found, "the known ones are told"


def test_panel_of_strangers_and_incomplete_judges_are_refused(tmp_path: Path) -> None:
    registry = {"rules": {"kind": "rules"}, "panel": {"kind": "panel", "members": {"a": 1, "b": 1}}}
    found = wrong(tmp_path, judging={**SMALL["judging"], "registry": registry})
    assert "judging.registry.panel.members: unknown judges ['a', 'b']" in found
    for judge, reason in (
        ({"kind": "local"}, "needs model"),
        ({"kind": "guard", "model": "m"}, "needs guard_kind"),
        ({"kind": "panel", "members": {"rules": 1}}, "at least two members"),
        ({"kind": "rules", "label_bias": {"Accept": 1}}, "label_bias is for judges of kind local"),
        ({"kind": "self", "layers": 16}, "layers is for judges of kind local"),
        ({"kind": "rules", "cap_usd": 3}, "cap_usd is for judges of kind openai; leave it out"),
        ({"kind": "self", "model": "m"}, "model is for judges of kind local or openai or guard"),
        ({"kind": "local", "model": "m", "layers": 0}, "layers"),
        ({"kind": "local", "model": "m", "label_bias": {"Accept": math.nan}}, "finite numbers"),
        ({"kind": "local", "model": "m", "label_bias": {"Allow": 1}}, "label_bias.Allow"),
    ):
        registry = {"rules": {"kind": "rules"}, "other": judge}
        assert reason in wrong(tmp_path, judging={**SMALL["judging"], "registry": registry})


@pytest.mark.parametrize(
    ("section", "given", "reason"),
    [
        ("prompts", {"train": 0.9, "selection": 0.9, "sealed": 0.1}, "prompts: train, selection and sealed"),
        ("sampling", {"method_weights": {"direct": -1, "indirect": 2}}, "sampling.method_weights: must be"),
        ("sampling", {"harmful_method_weights": {"direct": 0}}, "sampling.harmful_method_weights: must be"),
        ("sampling", {"level_shares": {0: 0.0}}, "sampling.level_shares: must be numbers of 0 or more"),
    ],
)
def test_shares_that_make_no_whole_are_refused(
    tmp_path: Path, section: str, given: dict[str, Any], reason: str
) -> None:
    assert reason in wrong(tmp_path, **{section: given})


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PRIMUM_WEB__PROT", "9", "environment variable PRIMUM_WEB__PROT: web.prot: unknown setting"),
        ("PRIMUM_WEB__PORT", "abc", "environment variable PRIMUM_WEB__PORT: web.port: Input should be"),
        ("PRIMUM_SEED", "x", "environment variable PRIMUM_SEED: seed: Input should be"),
    ],
)
def test_what_a_variable_gets_wrong_is_told_by_its_name_beside_the_files_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("PRIMUM_SAMPLNG", "1")
    monkeypatch.setenv("PRIMUM_ENGINE_API_KEY", "k")
    found = wrong(tmp_path, sed=1)
    assert told in found
    assert "config.yaml: sed: unknown setting" in found
    assert "PRIMUM_SAMPLNG is no setting" in found
    assert "API_KEY" not in found


def test_a_database_with_its_password_in_a_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    found = wrong(tmp_path, database_url="postgresql://a:hush-hush@db/primum")
    assert "export PRIMUM_DATABASE_URL" in found
    assert "hush-hush" not in found


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read: Is a directory"):
        load_settings(tmp_path)


def test_prompts_that_are_not_asked_for_a_refusal_must_borrow_one(tmp_path: Path) -> None:
    sampling = {"contrast_prompts": 64}
    assert "set training.borrow_refusals" in wrong(tmp_path, sampling=sampling)
    path = write(tmp_path, sampling=sampling, training={"borrow_refusals": True})
    assert load_settings(path).sampling.contrast_prompts == 64


@pytest.mark.parametrize("name", ["", "../dpo", "a b", "-x", "report", "incumbent", "compared", "d" * 41])
def test_a_candidate_is_not_named_like_a_path_or_like_what_stands_beside_it(
    tmp_path: Path, name: str
) -> None:
    found = wrong(tmp_path, training={"candidates": {name: {"method": "dpo"}}})
    assert f"training.candidates: {name!r} cannot be a candidate's name" in " ".join(found.split())


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ({"method": "kto", "decision_tokens": 4}, "decision_tokens belongs to dpo"),
        ({"method": "dpo", "decision_tokens": 9, "answer_tokens": 8}, "lower decision_tokens"),
        ({"method": "kto", "reference_weight": 0.5}, "reference_weight belongs to dpo"),
        ({"method": "dpo", "whole_share": 0.2}, "whole_share without answer_tokens"),
        ({"method": "kto", "batch_size": 1}, "batch_size of at least 2"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(
    tmp_path: Path, recipe: dict[str, object], reason: str
) -> None:
    assert reason in wrong(tmp_path, training={"candidates": {"x": recipe}})


def test_unknown_level_and_method_are_named(tmp_path: Path) -> None:
    assert "unknown levels [7]" in wrong(tmp_path, sampling={"level_shares": {7: 1}})
    for name in ("method_weights", "harmless_method_weights", "harmful_method_weights"):
        told = wrong(tmp_path, sampling={name: {"telepathy": 1}})
        assert f"sampling.{name}: unknown methods ['telepathy']" in told


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "just words", "a: \x00"])
def test_file_that_is_no_mapping_is_one_readable_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"config\.yaml: (not valid YAML|must be a mapping)"):
        load_settings(path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml does not exist"):
        load_settings(tmp_path / "nowhere.yaml")
    assert "gates-of-nowhere.yaml does not exist" in wrong(tmp_path, gates="gates-of-nowhere.yaml")


def test_files_are_found_beside_the_configuration_first(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text((CONFIGS / "gates.yaml").read_text())
    assert load_settings(write(tmp_path, gates="mine.yaml")).gates == tmp_path / "mine.yaml"
    assert find_file(Path("configs/gates.yaml"), beside=tmp_path / "config.yaml") == CONFIGS / "gates.yaml"


def test_limits_that_leave_too_few_to_train_on_are_refused(tmp_path: Path) -> None:
    told = wrong(tmp_path, training={"max_pairs": 15})
    assert "training.max_pairs is 15, but training.least = 16 asks for 16" in told
    told = wrong(tmp_path, training={"max_examples": 31})
    assert "training.max_examples is 31, but training.least = 16 asks for 32" in told
    made = load_settings(write(tmp_path, training={"max_pairs": 8, "max_examples": 16, "least": 8}))
    assert (made.training.max_pairs, made.training.max_examples) == (8, 16)


def test_race_is_on_and_one_look_switches_it_off(tmp_path: Path) -> None:
    race = load_settings(write(tmp_path)).validation.race
    assert (race.looks, race.error) == (4, 0.05)
    assert load_settings(write(tmp_path, validation={"race": {"looks": 1}})).validation.race.looks == 1
    told = wrong(tmp_path, validation={"race": {"looks": 0, "error": 1.0, "lok": 2}})
    for name in ("looks", "error", "lok: unknown setting"):
        assert f"validation.race.{name}" in told


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, seed=1, model={"batch_size": 2, "threads": 3})
    monkeypatch.setenv("PRIMUM_SEED", "99")
    monkeypatch.setenv("PRIMUM_MODEL__BATCH_SIZE", "5")
    settings = load_settings(path)
    assert (settings.seed, settings.model.batch_size) == (99, 5)
    assert settings.model.threads == 3, "the rest of the section stays as the file has it"


def test_unknown_name_in_the_environment_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIMUM_MODEL__BATCHSIZE", "5")
    assert "model.batchsize: unknown setting" in wrong(tmp_path)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PRIMUM_DATADIR", "PRIMUM_DATA_DIR"),
        ("PRIMUM_WEB_PORT", "PRIMUM_WEB__PORT"),
        ("PRIMUM_JUDGING_VALIDATE", "PRIMUM_JUDGING__VALIDATE"),
        ("PRIMUM_ENGIN_API_KEY", "PRIMUM_ENGINE_API_KEY"),
        ("primum_sed", "PRIMUM_SEED"),
    ],
)
def test_misspelt_variable_is_an_error_that_names_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "hush-hush")
    found = wrong(tmp_path)
    assert f"environment variable {name} is no setting; did you mean {meant}?" in found
    assert "hush-hush" not in found


def test_all_misspelt_variables_are_told_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIMUM_ZZZ", "1")
    monkeypatch.setenv("PRIMUM_SED", "1")
    assert "PRIMUM_SED is no setting; did you mean PRIMUM_SEED?" in wrong(tmp_path)
    assert "PRIMUM_ZZZ is no setting; unset it" in wrong(tmp_path)


def test_secrets_that_the_configuration_names_are_no_misspellings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIMUM_REFEREE_KEY", "hush-hush")
    assert "PRIMUM_REFEREE_KEY is no setting" in wrong(tmp_path)
    registry = {"rules": {"kind": "rules"}, "r": {"kind": "openai", "api_key_env": "PRIMUM_REFEREE_KEY"}}
    assert load_settings(write(tmp_path, judging={**SMALL["judging"], "registry": registry}))


def test_variables_that_kubernetes_makes_of_services_are_no_misspellings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("PRIMUM_SERVICE_HOST", "10.0.0.7"),
        ("PRIMUM_SERVICE_PORT", "8300"),
        ("PRIMUM_SERVICE_PORT_HTTP", "8300"),
        ("PRIMUM_PORT", "tcp://10.0.0.7:8300"),
        ("PRIMUM_PORT_8300_TCP", "tcp://10.0.0.7:8300"),
        ("PRIMUM_PORT_8300_TCP_ADDR", "10.0.0.7"),
        ("PRIMUM_WEB_PORT", "tcp://10.0.0.7:8300"),
    ):
        monkeypatch.setenv(name, value)
    assert load_settings(write(tmp_path)).web.port == 8300


@pytest.mark.parametrize(
    "url",
    ["https://user:hush-hush@host/v1", "http://hush-hush@host", "http://host/v1?key=hush-hush"],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    registry = {"rules": {"kind": "rules"}, "far": {"kind": "openai", "base_url": url}}
    found = wrong(
        tmp_path,
        engine={"kind": "openai", "base_url": url},
        judging={**SMALL["judging"], "registry": registry},
    )
    for key in ("engine.base_url", "judging.registry.far.base_url"):
        assert f"{key}: must hold neither user, password nor query; api_key_env names" in found
    assert "hush-hush" not in found


@pytest.mark.parametrize("url", ["host:8000/v1", "user:hush-hush@host", "ftp://host", ""])
def test_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    found = wrong(tmp_path, engine={"base_url": url})
    assert "engine.base_url: must be an address as http://host:8000/v1" in found
    assert "hush-hush" not in found


@pytest.mark.parametrize("line", ["0 3 * *", "61 3 * * *", "0 3 * * someday", ""])
def test_schedule_that_is_no_cron_line_is_refused_with_the_other_errors(tmp_path: Path, line: str) -> None:
    found = wrong(tmp_path, sed=1, schedule={"cron": line})
    assert f"schedule.cron: {line!r}" in found
    assert found.count("schedule.cron") == 1
    assert "sed: unknown setting" in found


def test_command_line_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIMUM_DATA_DIR", "/from/environment")
    assert load_settings(write(tmp_path)).data_dir == Path("/from/environment")
    assert load_settings(write(tmp_path), data_dir=tmp_path / "x").data_dir == tmp_path / "x"


def test_no_secret_is_in_what_a_cycle_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIMUM_DATABASE_URL", "postgresql://primum:hush-hush@db/primum")
    monkeypatch.setenv("PRIMUM_ENGINE_API_KEY", "key-hush-hush")
    monkeypatch.setenv("OPENAI_API_KEY", "other-hush-hush")
    settings = load_settings(CONFIGS / "vllm.yaml")
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value().endswith("@db/primum")
    assert "hush-hush" not in json.dumps(settings.public())
    assert "hush-hush" not in repr(settings)


def test_wrong_database_url_is_not_repeated_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIMUM_DATABASE_URL", "hush-hush")
    assert "hush-hush" not in wrong(tmp_path, sed=1)


def test_digest_follows_settings_and_not_places_or_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = load_settings(write(tmp_path)).digest
    assert load_settings(write(tmp_path), data_dir=tmp_path / "elsewhere").digest == digest
    assert load_settings(write(tmp_path, seed=5)).digest != digest
    monkeypatch.setenv("PRIMUM_DATABASE_URL", "postgresql://a@b/c")
    assert load_settings(write(tmp_path)).digest == digest


def test_recorded_settings_make_the_same_settings_again(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, seed=5))
    assert Settings(**settings.public()).public() == settings.public()
