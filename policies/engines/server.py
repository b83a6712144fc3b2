"""The embedded policy server as a process: TransformersEngine behind chat_app's endpoints.

Run as `python -m policies.engines.server --model DIR --port 0 --ready-file FILE [--adapters-dir DIR]`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from policies.engines.batcher import ChatEngine
from policies.engines.chat_app import create_app
from policies.errors import EngineError, PrimumError

API_KEY_VARIABLE = "PRIMUM_ENGINE_API_KEY"


class _Server(uvicorn.Server):
    """Says in a file that it answers, once it does."""

    def __init__(self, config: uvicorn.Config, *, ready_file: Path | None, port: int) -> None:
        super().__init__(config)
        self._ready_file, self._port = ready_file, port

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready_file is not None and not self.should_exit:
            write_ready_file(self._ready_file, port=self._port)


def write_ready_file(path: Path, *, port: int) -> None:
    """Put {"port", "pid"} in place by rename: a reader finds all of it or nothing."""
    partial_path = path.with_name(f"{path.name}.{os.getpid()}")
    partial_path.write_text(json.dumps({"port": port, "pid": os.getpid()}))
    partial_path.replace(path)


def exit_with_parent(parent: int, *, every_s: float = 1.0) -> None:
    """End this process soon after `parent` has died.

    The parent's id is polled: PR_SET_PDEATHSIG would fire when the *thread* that started us ends.
    """

    def watch() -> None:
        never = threading.Event()
        while os.getppid() == parent:
            never.wait(every_s)
        os.kill(os.getpid(), signal.SIGTERM)
        never.wait(10.0)
        os._exit(1)  # a hung generation must not keep an orphan alive

    threading.Thread(target=watch, name="primum-parent-watch", daemon=True).start()


def build_engine(model: Path, *, threads: int | None, dtype: str, batch_size: int) -> ChatEngine:
    """The real engine. torch is imported here and nowhere above."""
    from policies.engines.transformers_engine import TransformersEngine

    return TransformersEngine(model_path=model, threads=threads, dtype=dtype, batch_size=batch_size)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="policies.engines.server", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--served-model-name", default="base", help="name under which the base answers")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port; the ready file tells it")
    parser.add_argument("--ready-file", type=Path, help="written when the server can answer")
    parser.add_argument("--adapters-dir", type=Path, help="only adapters beneath this folder can be loaded")
    parser.add_argument("--parent-pid", type=int, help="exit when this process is no longer our parent")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or the parent's death. The API key is read from PRIMUM_ENGINE_API_KEY."""
    args = _arguments(argv)
    if args.parent_pid is not None:
        exit_with_parent(args.parent_pid)
    listener = socket.socket(socket.AF_INET6 if ":" in args.host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((args.host, args.port))
        engine = build_engine(args.model, threads=args.threads, dtype=args.dtype, batch_size=args.batch_size)
    except (OSError, PrimumError) as error:
        sys.stderr.write(f"policy server: {error}\n")
        return EngineError.exit_code
    app = create_app(
        engine,
        base_name=args.served_model_name,
        base_root=str(args.model),
        adapters_dir=args.adapters_dir,
        api_key=os.environ.get(API_KEY_VARIABLE) or None,
        batch_size=args.batch_size,
        seed=args.seed,
    )
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5)
    server = _Server(config, ready_file=args.ready_file, port=listener.getsockname()[1])
    try:
        server.run(sockets=[listener])
    finally:
        app.state.batcher.close()
        engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
