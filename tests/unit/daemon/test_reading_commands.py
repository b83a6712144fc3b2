"""`cycle flips`, `methods` and `label`: what people read, and what they say of it."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from daemon.cli import primum
from daemon.reading import compared
from daemon.store.store import Store
from policies.cares import Label
from policies.errors import DataError, StateError
from policies.records import Policy
from policies.validation.flips import printable
from policies.validation.human import human_codes, settle
from policies.validation.tables import align
from tests.unit.daemon.decided import AT, BASE, HOSTILE, decided_cycle

Run = Callable[..., Result]


@pytest.fixture
def data_dir(tmp_path: Path, empty: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copyfile(empty, folder / "primum.sqlite3")
    return folder


@pytest.fixture
def opened(data_dir: Path) -> Iterator[Store]:
    with Store.open(data_dir / "primum.sqlite3") as store:
        yield store


@pytest.fixture
def run(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "200")
    config = tmp_path / "config.yaml"
    config.write_text(
        "judging: {train: rules, validate: rules, second: null, registry: {rules: {kind: rules}}}\n"
    )
    place = ["--config", str(config), "--data-dir", str(data_dir)]

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(primum, [*arguments, *place], standalone_mode=False)

    return invoke


def safe(text: str) -> bool:
    return printable(text) == text


# --- show ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lean", "where"),
    [
        (0.25, "leaning 0.25 towards answering"),
        (-0.125, "leaning 0.12 towards refusing"),
        (0.0, "as training left it"),
    ],
)
def test_it_is_told_where_candidates_were_moved_to(run: Run, opened: Store, lean: float, where: str) -> None:
    cycle = decided_cycle(opened)
    assert "held-out" not in run("cycle", "show", "1").stdout
    leaning = {"chosen": lean, "target_err": 0.05, "prompts": 160, "err": 0.04375, "tried": []}
    opened.cycles.start_stage(cycle.id, "train", AT)
    detail = {"dpo": {"lean": leaning}, "kto": {"error": "the loss is not a number"}}
    opened.cycles.finish_stage(cycle.id, "train", AT, detail=detail)
    told = run("cycle", "show", "1").stdout
    assert f"dpo, {where}, refuses 4.4 % of 160 held-out harmless prompts" in told
    assert "target_err 0.05" in told
    assert "kto, " not in told


# --- flips --------------------------------------------------------------------------------------------


def test_flips_are_listed_worst_first_with_both_answers_and_nothing_a_terminal_obeys(
    run: Run, opened: Store
) -> None:
    decided_cycle(opened)
    body = json.loads(run("cycle", "flips", "1", "--json").stdout)
    assert (body["cycle"], body["candidate"], body["blinded"]) == (1, "dpo", False)
    assert len(body["flips"]) == 45
    assert body["flips"][-1]["after"].startswith(HOSTILE)
    assert body["flips"][0]["before"].startswith("incumbent Accept")
    harms = [flip["harm"] for flip in body["flips"]]
    assert harms == sorted(harms, reverse=True)
    for form in ("md", "jsonl", "csv"):
        done = run("cycle", "flips", "1", "--format", form)
        assert done.exit_code == 0
        assert "incumbent Accept" in done.stdout
        assert safe(done.stdout)


def test_blinded_list_names_nobody_and_its_key_is_a_file_of_its_own(
    run: Run, opened: Store, data_dir: Path, tmp_path: Path
) -> None:
    decided_cycle(opened, text="something")
    output = tmp_path / "out" / "list.csv"
    done = run("cycle", "flips", "1", "--blinded", "--output", str(output))
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert set(rows[0]) == {"number", "prompt", "answer_a", "answer_b"}
    assert output.stat().st_mode & 0o077 == 0
    (key_file,) = (data_dir / "cycles" / "1" / "report").glob("flips-dpo.key-*.json")
    assert str(key_file) in done.stderr
    assert key_file.stat().st_mode & 0o077 == 0
    key = json.loads(key_file.read_text())
    assert key["candidate"] == "dpo"
    for row, entry in zip(rows, key["key"], strict=True):
        assert row["number"] == str(entry["number"])
        assert row[f"answer_{entry['candidate']}"].startswith("something Refuse")
    assert {entry["candidate"] for entry in key["key"]} == {"a", "b"}


def test_blinded_order_is_the_same_again_and_another_with_another_seed(
    run: Run, opened: Store, tmp_path: Path
) -> None:
    decided_cycle(opened)
    key = str(tmp_path / "key.json")
    first, again = (run("cycle", "flips", "1", "--blinded", "--json").stdout for _ in range(2))
    assert first == again
    assert 'candidate": "a' not in first
    other = run("cycle", "flips", "1", "--blinded", "--json", "--seed", "5", "--key", key)
    assert other.stdout != first
    assert json.loads((tmp_path / "key.json").read_text())["seed"] == 5


def test_format_follows_the_file_and_an_unreachable_file_is_one_line(
    run: Run, opened: Store, tmp_path: Path
) -> None:
    decided_cycle(opened)
    output = tmp_path / "list.jsonl"
    assert run("cycle", "flips", "1", "--output", str(output)).exit_code == 0
    assert json.loads(output.read_text().splitlines()[0])["before_label"] == "Accept"
    (tmp_path / "file").write_text("")
    done = run("cycle", "flips", "1", "--output", str(tmp_path / "file" / "list.md"))
    assert isinstance(done.exception, DataError)
    assert "cannot be written" in str(done.exception)


def test_unknown_candidate_and_undecided_cycle_are_state_errors(run: Run, opened: Store) -> None:
    cycle = opened.cycles.create(incumbent=BASE, seed=7, config_digest="c" * 64, config={}, at=AT)
    undecided = run("cycle", "flips", str(cycle.id)).exception
    assert isinstance(undecided, StateError)
    assert "not decided" in str(undecided)
    opened.cycles.advance(cycle.id, "running", "no_winner", "decide", AT)
    done = decided_cycle(opened)
    unknown = run("cycle", "flips", str(done.id), "--candidate", "../../etc").exception
    assert isinstance(unknown, StateError)
    assert "candidates: dpo" in str(unknown)


@pytest.mark.parametrize("arguments", [("--seed", "1"), ("--key", "k"), ("--json", "--format", "md")])
def test_options_that_do_not_go_together_are_usage_errors(
    run: Run, opened: Store, arguments: tuple[str, ...]
) -> None:
    assert isinstance(run("cycle", "flips", "1", *arguments).exception, click.UsageError)


# --- methods ------------------------------------------------------------------------------------------


def test_methods_of_all_decided_cycles_by_both_judges_with_winner_and_picture(
    run: Run, opened: Store, tmp_path: Path
) -> None:
    first = decided_cycle(opened)
    opened.releases.reject(
        first.id, bound_digest=Policy(BASE.base_digest, "a" * 64).digest, who="x", reason="x", at=AT
    )
    decided_cycle(opened, "kto", "d")
    folder = tmp_path / "pictures"
    body = json.loads(run("methods", "--json", "--output", str(folder)).stdout)
    assert body["wins"] == {"dpo": 1, "kto": 1}
    told = [(one["cycle"], one["method"], one["judge"], one["state"]) for one in body["points"]]
    assert told == [
        (1, "dpo", "validation judge (embedded)", "rejected"),
        (1, "dpo", "reference judge (refusal rules)", "rejected"),
        (2, "kto", "validation judge (embedded)", "waiting_for_approval"),
        (2, "kto", "reference judge (refusal rules)", "waiting_for_approval"),
    ]
    assert all((one["ss"], one["err"], one["winner"]) == (1.0, 0.0, True) for one in body["points"])
    assert {path.name for path in folder.iterdir()} == {
        "methods_over_cycles.svg",
        "methods_over_cycles.png",
    }
    shown = run("methods").stdout
    assert "Cycles won, of 2 decided: dpo 1, kto 1" in shown
    assert "1.000" in shown


def test_methods_before_the_first_decision_are_said_to_be_none(run: Run) -> None:
    done = run("methods")
    assert (done.exit_code, "No cycle has been decided yet" in done.stdout) == (0, True)
    assert json.loads(run("methods", "--json").stdout)["points"] == []


def test_decisions_kept_before_second_signals_were_are_still_shown(run: Run, opened: Store) -> None:
    decided_cycle(opened, with_second=False)
    (point,) = json.loads(run("methods", "--json").stdout)["points"]
    assert point["judge"] == "validation judge (embedded)"


# --- labels -------------------------------------------------------------------------------------------


def filled(path: Path, label: str = "Accept", who: str = "ada") -> None:
    """The sheet with everything labelled alike."""
    if path.suffix == ".csv":
        rows = list(csv.DictReader(path.open(newline="")))
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(row | {"label": label, "who": who} for row in rows)
    else:
        lines = [json.loads(line) | {"label": label, "who": who} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_sheet_is_drawn_labelled_imported_and_reaches_the_rows_of_the_decision(
    run: Run, opened: Store, tmp_path: Path
) -> None:
    cycle = decided_cycle(opened)
    sheet = tmp_path / "sheet.jsonl"
    done = run("label", "sample", "1", "--prompts", "30", "--output", str(sheet))
    assert "60 answers to 30 prompts" in done.stdout
    assert sheet.stat().st_mode & 0o077 == 0
    rows = [json.loads(line) for line in sheet.read_text().splitlines()]
    assert set(rows[0]) == {"prompt", "answer", "label", "who"}
    filled(sheet)
    body = json.loads(run("label", "import", str(sheet), "--json").stdout)
    assert body == {"rows": 60, "answers": 60, "unknown_rows": []}
    pair = compared(opened, cycle, None)
    people = settle((one.answer_digest, one.label) for one in opened.evidence.labels())
    codes = human_codes(pair.before, pair.after, people)
    assert (codes.rows, align(pair.before, pair.after).rows) == (30, 60)
    more = run("label", "sample", "1", "--prompts", "40", "--output", str(sheet))
    assert "20 answers to 40 prompts" in more.stdout


def test_sheet_for_a_spreadsheet_holds_no_formula_and_comes_back(
    run: Run, opened: Store, tmp_path: Path
) -> None:
    decided_cycle(opened, text="=HYPERLINK(1)")
    sheet = tmp_path / "sheet.csv"
    run("label", "sample", "1", "--prompts", "60", "--output", str(sheet))
    assert sum(row["answer"].startswith("'=") for row in csv.DictReader(sheet.open(newline=""))) == 60
    filled(sheet)
    assert json.loads(run("label", "import", str(sheet), "--json").stdout)["answers"] == 120


def test_rows_of_no_stored_answer_are_named_and_left_out_but_not_shown(
    run: Run, opened: Store, tmp_path: Path
) -> None:
    decided_cycle(opened)
    file = tmp_path / "labels.jsonl"
    unknown = {"prompt": "question 1", "answer": "a private trouble", "label": "Accept"}
    known = {"prompt": "question 1", "answer": "incumbent Accept 1", "label": "reject"}
    file.write_text("".join(json.dumps(row) + "\n" for row in (unknown, known)))
    done = run("label", "import", str(file), "--who", "bo")
    assert "1 labels of 1 stored answers are kept" in done.stdout
    assert "rows 1" in done.stderr
    assert "private" not in done.output
    (kept,) = opened.evidence.labels()
    assert (kept.label, kept.who) == (Label.REFUSE, "bo")
    file.write_text(json.dumps(unknown) + "\n")
    refused = run("label", "import", str(file)).exception
    assert isinstance(refused, DataError)
    assert "private" not in str(refused)
    assert run("label", "import", str(tmp_path / "nowhere.jsonl")).exception is not None


def test_a_person_corrects_their_label_and_the_list_shows_no_texts(
    run: Run, opened: Store, tmp_path: Path
) -> None:
    decided_cycle(opened)
    file = tmp_path / "labels.jsonl"
    assert "No labels yet" in run("label", "list").stdout
    for label, who in (("Accept", "ada\u001b[31m"), ("Refuse", "ada\u001b[31m"), ("Accept", "bo")):
        row = {"prompt": "question 1", "answer": "incumbent Accept 1", "label": label, "who": who}
        file.write_text(json.dumps(row) + "\n")
        assert run("label", "import", str(file)).exit_code == 0
    shown = run("label", "list").stdout
    assert "2 labels of 1 answers by 2 people: nothing settled; 1 without a majority" in shown
    assert "incumbent" not in shown
    assert safe(shown)
    assert [one["label"] for one in json.loads(run("label", "list", "--json").stdout)] == ["Refuse", "Accept"]


def test_a_name_too_long_for_the_record_names_its_row(run: Run, opened: Store, tmp_path: Path) -> None:
    decided_cycle(opened)
    file = tmp_path / "labels.jsonl"
    row = {"prompt": "question 1", "answer": "incumbent Accept 1", "label": "Accept", "who": "x" * 300}
    file.write_text(json.dumps(row) + "\n")
    refused = run("label", "import", str(file)).exception
    assert isinstance(refused, DataError)
    assert "row 1: who is longer" in str(refused)
