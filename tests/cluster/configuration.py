"""The configuration files of the test cluster."""

from __future__ import annotations

from pathlib import Path

#: The machine where people log in and where slurmctld runs; jobs run on the others.
HEAD = "head"
ADDRESSES = {HEAD: "10.77.0.1", "n1": "10.77.0.11", "n2": "10.77.0.12"}
NODES = tuple(name for name in ADDRESSES if name != HEAD)

# MpiDefault: with pmix as the default, MPICH's mpiexec inside a job finds the variables of two launchers and fails.
# AuthInfo: a requeued job waits until the credentials of its first attempt have expired, by default for 2 minutes.
# The times are short so that tests of dead nodes and of killed jobs are quick.
_SLURM = """
ClusterName=braid
SlurmctldHost={head}({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire={expire}
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
TmpFS={folder}/tmp-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait={kill_wait}
SlurmdTimeout={slurmd_timeout}
MessageTimeout={message_timeout}
TCPTimeout=1
InactiveLimit=0
MinJobAge=7200
MaxArraySize=101
"""

#: A node that does not answer for so long is down, and its jobs have failed (s).
SLURMD_TIMEOUT = 5
#: A message that is not answered for so long is lost (s).
MESSAGE_TIMEOUT = 5
#: Between SIGTERM and SIGKILL of a job that is cancelled or out of time (s).
KILL_WAIT = 20
#: A requeued job waits for so long, and a step may take so long to start (s).
EXPIRE = 5


def write_configuration(folder: Path, *, cpus: int) -> Path:
    """Write all files into `folder`, and return the path of ``slurm.conf``."""
    for name in ("state", *(f"{sort}-{node}" for node in NODES for sort in ("spool", "tmp"))):
        (folder / name).mkdir()
    text = _SLURM.lstrip().format(
        head=HEAD,
        address=ADDRESSES[HEAD],
        folder=folder,
        expire=EXPIRE,
        kill_wait=KILL_WAIT,
        slurmd_timeout=SLURMD_TIMEOUT,
        message_timeout=MESSAGE_TIMEOUT,
    )
    for node in NODES:
        text += f"NodeName={node} NodeAddr={ADDRESSES[node]} CPUs={cpus} RealMemory=4000 State=UNKNOWN\n"
    text += "PartitionName=debug Nodes=ALL Default=YES MaxTime=60 State=UP OverSubscribe=NO\n"
    path = folder / "slurm.conf"
    path.write_text(text)
    (folder / "cgroup.conf").write_text("CgroupPlugin=autodetect\n")
    known = {"localhost": "127.0.0.1", **ADDRESSES}
    (folder / "hosts").write_text("".join(f"{address} {name}\n" for name, address in known.items()))
    return path
