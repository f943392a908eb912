"""What an agent's processes really do, as the kernel tells it: files, programs, network, and attempts at more.

Enters: a command to run, or cgroups to watch. Leaves: `Seen`s in order, an account of a run with what a `Decider`
says of each thing, a report. Called by: the command line, the sensor. It must never touch what is not in a cgroup
that it was told to watch, lose a record silently, or say that it sees what its self-test did not prove.
"""

from typing import TYPE_CHECKING

from agentguard.core import KernelError

if TYPE_CHECKING:
    from agentguard.kernel._brake import Brake
    from agentguard.kernel._cgroups import PARENT, Cgroup, container_of, find_mount, own_path
    from agentguard.kernel._check import Check
    from agentguard.kernel._events import clock_offset_ns, event_of
    from agentguard.kernel._handover import Handover
    from agentguard.kernel._judge import PEP, Judge, Verdict
    from agentguard.kernel._launch import Child, MakeChild
    from agentguard.kernel._layout import Drop, Kind
    from agentguard.kernel._learn import Proposal, propose
    from agentguard.kernel._loader import Settings
    from agentguard.kernel._lsm import LsmEnforcer, hold_by_lsm
    from agentguard.kernel._observer import Observer
    from agentguard.kernel._probe import Probe, probe, probe_network, tier_of
    from agentguard.kernel._publish import Publisher
    from agentguard.kernel._report import AlertSeen, Report, tell, to_html
    from agentguard.kernel._requests import Wish
    from agentguard.kernel._run import Ended, ObservedRun, Surroundings, clean_up, end_all
    from agentguard.kernel._seen import Seen, Traffic
    from agentguard.kernel._tally import Tally
    from agentguard.kernel._tree import ProcessTree

__all__ = [
    "PARENT",
    "PEP",
    "AlertSeen",
    "Brake",
    "Cgroup",
    "Check",
    "Child",
    "Drop",
    "Ended",
    "Handover",
    "Judge",
    "Kind",
    "LsmEnforcer",
    "MakeChild",
    "ObservedRun",
    "Observer",
    "Probe",
    "ProcessTree",
    "Proposal",
    "Publisher",
    "Report",
    "Seen",
    "Settings",
    "Surroundings",
    "Tally",
    "Traffic",
    "Verdict",
    "Wish",
    "clean_up",
    "clock_offset_ns",
    "container_of",
    "end_all",
    "event_of",
    "find_mount",
    "hold_by_lsm",
    "own_path",
    "probe",
    "probe_network",
    "propose",
    "tell",
    "tier_of",
    "to_html",
]

_PLACES = {
    "PARENT": "_cgroups",
    "PEP": "_judge",
    "AlertSeen": "_report",
    "Brake": "_brake",
    "Cgroup": "_cgroups",
    "Check": "_check",
    "Child": "_launch",
    "Drop": "_layout",
    "Ended": "_run",
    "Handover": "_handover",
    "Judge": "_judge",
    "Kind": "_layout",
    "LsmEnforcer": "_lsm",
    "MakeChild": "_launch",
    "ObservedRun": "_run",
    "Observer": "_observer",
    "Probe": "_probe",
    "ProcessTree": "_tree",
    "Proposal": "_learn",
    "Publisher": "_publish",
    "Report": "_report",
    "Seen": "_seen",
    "Settings": "_loader",
    "Surroundings": "_run",
    "Tally": "_tally",
    "Traffic": "_seen",
    "Verdict": "_judge",
    "Wish": "_requests",
    "clean_up": "_run",
    "clock_offset_ns": "_events",
    "container_of": "_cgroups",
    "end_all": "_run",
    "event_of": "_events",
    "find_mount": "_cgroups",
    "hold_by_lsm": "_lsm",
    "own_path": "_cgroups",
    "probe": "_probe",
    "probe_network": "_probe",
    "propose": "_learn",
    "tell": "_report",
    "tier_of": "_probe",
    "to_html": "_report",
}


def __getattr__(name: str) -> object:
    # numpy loads slowly and is an extra; the probes need neither it nor libbpf.
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    try:
        return getattr(importlib.import_module(f"agentguard.kernel.{place}"), name)
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        raise KernelError(
            "reading the kernel's events needs numpy",
            code="extra_missing",
            hint="pip install 'agentguard[kernel]'",
        ) from None
