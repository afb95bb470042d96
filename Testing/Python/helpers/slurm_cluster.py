"""A Slurm of one node on the loopback interface, for tests."""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")

_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=64000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """Return the programs that are not installed."""
    return [name for name in PROGRAMS if _which(name) is None]


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@contextmanager
def slurm(folder: Path, cores: int = 2) -> Iterator[dict[str, str]]:
    """Run a cluster of this computer; yield the variables with which its commands find it.

    Args:
        folder: Empty folder for keys, sockets, state and logs.
        cores: Cores of the node, whether or not the computer has them.

    Raises:
        TimeoutError: If the node is not ready in time.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(64))
    key.chmod(0o600)
    settings = {
        "host": platform.node().partition(".")[0],
        "ports": _free_ports(2),
        "user": getpass.getuser(),
        "folder": folder,
        "cores": cores,
    }
    configuration = folder / "slurm.conf"
    configuration.write_text(_CONFIGURATION.format(**settings), encoding="utf-8")
    variables = {"SLURM_CONF": str(configuration)}
    with contextlib.ExitStack() as stack:
        for name, words in (
            ("munged", _munge_words(folder)),
            ("slurmctld", ["-D", "-i"]),
            ("slurmd", ["-D"]),
        ):
            stack.enter_context(_daemon(folder, [_which(name), *words], variables))
        _wait_until_idle(variables)
        try:
            yield variables
        finally:
            # A step whose controller has ended waits for it.
            _run(variables, "scancel", f"--user={getpass.getuser()}")
            _wait_until_idle(variables)


def _munge_words(folder: Path) -> list[str]:
    names = ("key-file", "socket", "pid-file", "log-file", "seed-file")
    files = ("munge.key", "munge.socket", "munge.pid", "munge.log", "munge.seed")
    paths = [f"--{name}={folder / file}" for name, file in zip(names, files, strict=True)]
    return ["--foreground", "--force", "--num-threads=1", *paths]


@contextmanager
def _daemon(folder: Path, command: list[str], variables: dict[str, str]) -> Iterator[None]:
    log = folder / f"{Path(command[0]).name}.out"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _run(variables: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _wait_until_idle(variables: dict[str, str], seconds: float = 60.0) -> None:
    """Wait until the node is ready and has no jobs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done = _run(variables, "sinfo", "-h", "-o", "%t")
        if done.stdout.strip() == "idle" and not _run(variables, "squeue", "-h").stdout.strip():
            return
        time.sleep(0.2)
    raise TimeoutError(f"the node is {done.stdout.strip() or done.stderr.strip()}")
