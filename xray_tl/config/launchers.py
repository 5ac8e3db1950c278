"""Options of `hydra/launcher=slurm`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class SlurmConfig:
    """What the jobs of a sweep ask of Slurm, and which runs go into which job.

    Attributes:
        _target_: Class of the launcher; not to be changed.
        partition: Partition; `None`: the site's default.
        account: Account that is charged.
        qos: Quality of service.
        constraint: Features that a node must have, such as a GPU type.
        gres: Generic resources, such as `shard:1` or `gpu:a100:1`, in the place of `gpus_per_node`.
        gpus_per_node: GPUs of a job; jobs that compute on the CPU (`trainer=cpu`) ask for none.
        cpus_per_task: Cores of a job, and its number of threads: on a CPU they fix a result's last digits.
        mem_gb: Memory of a job in GB; `None`: the site's default.
        timeout_min: Time limit of a job in minutes, longer than an epoch and than a solved head.
        max_num_timeout: How often a job that reaches its time limit is queued again.
        signal_delay_s: Seconds before the time limit at which a job stops and is queued again.
        runs_per_job: Largest number of frozen runs that share a job, and with it imports, trunk and features.
        max_array: Largest length of a job array; `auto`: what the site allows.
        array_parallelism: How many jobs of an array run at once.
        wait: Wait for the jobs; else the command ends when they are submitted.
        setup: Shell commands before a job, such as `module load cuda`.
        additional_parameters: Further options of `sbatch`, by their long name; `None`: none.
        report: Options for the last job, which makes the report, in the place of those of the runs; `None`:
            none but one core and no GPU.
    """

    _target_: str = "hydra_plugins.xray_tl.slurm_launcher.SlurmLauncher"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gres: str | None = None
    gpus_per_node: int = 1
    cpus_per_task: int = 4
    mem_gb: float | None = None
    timeout_min: int = 240
    max_num_timeout: int = 5
    signal_delay_s: int = 90
    runs_per_job: int = 8
    max_array: Any = "auto"
    array_parallelism: int = 256
    wait: bool = True
    setup: list[str] = field(default_factory=list)
    additional_parameters: Any = None
    report: Any = None
