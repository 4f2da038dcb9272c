"""`spatialbot serve`: a checkpoint as a policy server that speaks openpi's websocket protocol."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from spatialbot_policy.process_tuning import tune_process
from spatialbot_policy.serving.access import load_api_key, server_tls
from spatialbot_policy.serving.key_maps import load_key_map
from spatialbot_policy.serving.settings import ServerLimits, ServerSettings

if TYPE_CHECKING:
    from spatialbot_policy.inference.settings import EngineSettings
    from spatialbot_policy.serving.server import PolicyServer

_log = logging.getLogger("spatialbot.serve")


@dataclass(frozen=True)
class ServeArguments:
    """Serve a checkpoint to robots and to programs written for openpi; docs/serving.md tells more.

    The API key comes from --api-key-file or the environment variable SPATIALBOT_API_KEY.
    """

    checkpoint: Path = Path("checkpoints/tiny")
    """Directory of the checkpoint."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for every one of this machine."""
    port: int = 8000
    """Port to listen on; 0 takes a free one and logs it."""
    keys: str = "native"
    """Keys of the observations: native, droid, libero, or a file like config/serve/droid.yaml."""
    api_key_file: Path | None = None
    """File with the key that clients must present; without one and the variable, everybody is admitted."""
    tls_cert: Path | None = None
    """Certificate for TLS, PEM."""
    tls_key: Path | None = None
    """Private key of --tls-cert, PEM."""
    device: str = "cpu"
    """Where the policy runs: cpu, cuda."""
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"
    """float32, bfloat16, or auto: what is faster here."""
    decoding: Literal["checkpoint", "sequential", "parallel"] = "checkpoint"
    """checkpoint: as it was trained; or sequential, parallel."""
    compile: bool = False
    """Translate the model before serving: minutes more to start, less for each step."""
    threads: int | None = None
    """CPU threads of the policy; all cores when not given."""
    limits: Annotated[ServerLimits, tyro.conf.arg(name="")] = field(default_factory=ServerLimits)
    """What clients may cost."""


def main(argv: list[str]) -> int:
    """Run the verb until SIGTERM or SIGINT; returns 0 when all clients were sent away in order."""
    arguments = tyro.cli(ServeArguments, args=argv, prog="spatialbot serve")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # strangers' broken handshakes, with traceback
    settings = ServerSettings(
        host=arguments.host,
        port=arguments.port,
        keys=load_key_map(arguments.keys),
        api_key=load_api_key(arguments.api_key_file),
        tls=server_tls(arguments.tls_cert, arguments.tls_key),
        limits=arguments.limits,
    )
    tune_process()
    from spatialbot_policy.serving.host import EngineHost
    from spatialbot_policy.serving.server import PolicyServer

    _log.info("loading %s", arguments.checkpoint)
    host = EngineHost.load(arguments.checkpoint, _engine_settings(arguments))
    server = PolicyServer(host, settings)
    _log.info("checkpoint %s is loaded; it answers a first time", host.fingerprint[:12])
    asyncio.run(_serve(server, settings, host.warm_up))
    return 0


def _engine_settings(arguments: ServeArguments) -> EngineSettings:
    from spatialbot_policy.inference.settings import EngineSettings  # torch takes seconds to import

    return EngineSettings(
        device=arguments.device,
        dtype=arguments.dtype,
        decoding=arguments.decoding,
        compile=arguments.compile,
        threads=arguments.threads,
    )


async def _serve(server: PolicyServer, settings: ServerSettings, warm_up: Callable[[], None]) -> None:
    """Serve until told to end, once for in order, twice for at once."""
    ending = asyncio.Event()

    def told_to_end(number: int) -> None:
        if ending.is_set():
            _log.warning("told to end again: ending at once")
            logging.shutdown()
            os._exit(128 + number)  # a policy at work would keep an orderly exit waiting
        ending.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_end, number)
    await server.start(warm_up)
    _log.info("serving on %s://%s:%d", "wss" if settings.tls else "ws", settings.host, server.port)
    if settings.api_key is None and not _is_loopback(settings.host):
        _log.warning("everybody who reaches %s can use the policy; set an API key", settings.host)
    await ending.wait()
    await server.drain()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
