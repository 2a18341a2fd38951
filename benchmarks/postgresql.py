"""A PostgreSQL server for one measurement: made in a temporary folder, on a loopback port, and gone afterwards."""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Where Debian keeps the programs of each version, beside the PATH.
DEBIAN = "/usr/lib/postgresql"


class NoServerError(Exception):
    """There is no server to be had here; the message says why."""


def find_program(name: str) -> str:
    """Return the path of a program of the server."""
    found = shutil.which(name) or next(iter(sorted(glob.glob(f"{DEBIAN}/*/bin/{name}"), reverse=True)), None)
    if found is None:
        raise NoServerError(f"there is no {name} here (apt-get install postgresql)")
    return found


@contextlib.contextmanager
def server(place: Path | None, *, connections: int, patience: float = 30.0) -> Iterator[str]:
    """Start a server; yield what psycopg connects to.

    Its settings are those of the distribution, but for the number of connections. It asks for a password, as other
    people may be on the machine.
    """
    try:
        import psycopg
    except ImportError as error:
        raise NoServerError(f"psycopg is not installed ({error}): pip install 'braid_hpc[bench]'") from error
    initdb, postgres = find_program("initdb"), find_program("postgres")
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="braid-bench-pg-", dir=place)).resolve()
    try:
        password = secrets.token_hex(16)
        (folder / "password").write_text(password)
        (folder / "password").chmod(0o600)
        if user:
            os.chown(folder, user["user"], user["group"])
            os.chown(folder / "password", user["user"], user["group"])
        data = folder / "data"
        command = [initdb, "-D", data, "-U", "bench", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}"]
        _succeed([*command, "-E", "UTF8", "--locale=C", "--no-sync"], folder, user)
        port = _free_port()
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": connections}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (folder / "said").open("wb") as said:
            process = subprocess.Popen(
                [postgres, "-D", data, "-p", str(port), *options],
                cwd=folder,
                stdout=said,
                stderr=said,
                stdin=subprocess.DEVNULL,
                preexec_fn=_end_with_parent,
                **user,
            )
        try:
            address = f"host=127.0.0.1 port={port} user=bench password={password} dbname=postgres"
            until = time.monotonic() + patience
            while True:
                try:
                    psycopg.connect(address, connect_timeout=5).close()
                    break
                except psycopg.OperationalError as error:
                    if process.poll() is not None or time.monotonic() > until:
                        text = (folder / "said").read_text(errors="replace").strip().splitlines()
                        raise NoServerError(f"it did not begin: {(text or [str(error)])[-1]}") from error
                    time.sleep(0.1)
            yield address
        finally:
            _end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> dict[str, Any]:
    """Return who the server runs as: it refuses to be root's."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise NoServerError("it refuses to run as root, and there is no user postgres and no user nobody")


def _succeed(command: list[Any], folder: Path, user: dict[str, Any]) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, **user)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"it ended with {done.returncode}"]
        raise NoServerError(f"{Path(command[0]).name}: {said[-1]}")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def _end_with_parent() -> None:
    """Have the server end when the benchmark is killed: PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it: connections are cut, and what was committed is written."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
