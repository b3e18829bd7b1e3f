"""The engine of a Ray cluster: what it promises of jobs holds where machines vanish, differ, or are not there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nid_cli.data.tensors import Data, Normalization, Split
from nid_cli.errors import NidError, UsageError
from nid_cli.pipeline.engines import ENGINES, choose
from nid_cli.pipeline.engines.cluster import engine as cluster
from nid_cli.pipeline.engines.cluster import nodes as cluster_nodes
from nid_cli.pipeline.engines.cluster import worker as cluster_worker
from nid_cli.pipeline.engines.cluster.packing import pack, unpack
from nid_cli.pipeline.engines.jobs import ENDED, Begun, Event, Job, Lost, Over, Place, Said
from nid_cli.registry.invocations import versions
from nid_cli.version import __version__
from tests.benchmarks import cluster as simulated

pytest.importorskip("ray", reason="the extra nid[ray] is not installed")

ROOT = Path(__file__).resolve().parents[2]
GB = 10**9
# Each of the two machines has little memory, so that a job that wants more goes to a machine that a test adds.
LITTLE, MUCH, MORE = 2 * GB, 8 * GB, 32 * GB


def job(work: str, payload: Any, **more: Any) -> Job:
    return Job(work=f"tests.toys.jobs:{work}", payload=payload, **more)


def data(samples: int, seed: int) -> Data:
    generator = torch.Generator().manual_seed(seed)
    splits = [
        Split(torch.randint(0, 256, (samples, 28, 28), generator=generator).to(torch.uint8), torch.arange(samples))
        for _ in range(3)
    ]
    return Data(*splits, normalization=Normalization(255.0, (0.5,), (0.5,)), constants={"a": torch.eye(3)})


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """The simulated cluster."""
    running = simulated.start(memory=LITTLE)
    yield running
    running.shutdown()


@pytest.fixture(scope="module")
def engine(machines: Any) -> Iterator[cluster.Cluster]:
    """The engine, as --engine ray makes it."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    engine = choose("ray", Place(device="auto", address=machines.address))
    assert isinstance(engine, cluster.Cluster)
    engine.prepare()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)] == handlers
    yield engine
    engine.close()


def wait_for(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """What ``condition`` says, as soon as it says anything."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"it did not come about in {seconds} s")


def until_ended(engine: cluster.Cluster, *numbers: int, seconds: float = 40) -> dict[int, list[Event]]:
    """All events of jobs, up to the end of each; none may come after that."""
    events: dict[int, list[Event]] = {number: [] for number in numbers}

    def all_ended() -> bool:
        for event in engine.wait():
            assert not (events[event.job] and isinstance(events[event.job][-1], ENDED)), event
            events[event.job].append(event)
        return all(found and isinstance(found[-1], ENDED) for found in events.values())

    wait_for(all_ended, seconds)
    return events


def run(engine: cluster.Cluster, *jobs: Job) -> list[list[Event]]:
    for number, own in enumerate(jobs):
        engine.submit(number, own)
    return list(until_ended(engine, *range(len(jobs))).values())


def said(events: list[Event]) -> list[Any]:
    return [event.message for event in events if isinstance(event, Said)]


def error_of(events: list[Event]) -> NidError:
    """What ended a job that is over."""
    last = events[-1]
    assert isinstance(last, Over) and last.error is not None, last
    return last.error


def until_begun(engine: cluster.Cluster, *numbers: int) -> dict[int, str]:
    """On which node each job is."""
    nodes: dict[int, str] = {}

    def begun() -> bool:
        for event in engine.wait():
            if isinstance(event, Begun):
                nodes[event.job] = event.worker["node"]
            assert not isinstance(event, ENDED), event
        return nodes.keys() >= set(numbers)

    wait_for(begun)
    return nodes


def test_messages_of_each_job_come_whole_and_in_their_order(engine: cluster.Cluster) -> None:
    stops = (30, 0, 1, 57, 12)
    for stop, events in zip(stops, run(engine, *(job("count", {"stop": stop}) for stop in stops)), strict=True):
        first, *middle, last = events
        assert isinstance(first, Begun) and last == Over(first.job)
        assert middle == [Said(first.job, number) for number in range(stop)]


def test_the_first_event_says_who_works(engine: cluster.Cluster) -> None:
    [[begun, told, _]] = run(engine, job("look", None))
    assert isinstance(begun, Begun) and isinstance(told, Said)
    assert begun.worker["versions"] == versions()
    assert (begun.worker["host"], begun.worker["device"]) == (os.uname().nodename, "cpu")
    assert begun.worker["pid"] == told.message["pid"] != os.getpid()
    assert (told.message["device"], told.message["threads"]) == ("cpu", 1)


def test_a_shared_value_is_made_once_a_process_and_let_go(engine: cluster.Cluster) -> None:
    shared = {str(number): data(50 + number, number) for number in range(8)}
    for key, value in shared.items():
        engine.share(key, value)
    both = run(engine, *(job("look", None, shared=("0", "1")) for _ in range(6)))
    found = [message for events in both for message in said(events)]
    for message in found:
        assert message["fingerprints"] == {key: shared[key].fingerprint() for key in ("0", "1")}
    objects = {(message["pid"], key, own) for message in found for key, own in message["objects"].items()}
    assert len(objects) == 2 * len({message["pid"] for message in found})
    engine.share("0", shared["7"])  # a key may come to mean another value
    [events] = run(engine, job("look", None, shared=("0",)))
    assert said(events)[0]["fingerprints"] == {"0": shared["7"].fingerprint()}
    for _ in range(3):
        for key in shared:
            [events] = run(engine, job("look", None, shared=(key,)))
            assert said(events)[0]["held"] <= cluster_worker.KEEP_JOBS + 2
    for key in shared:
        engine.forget(key)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(24, dtype=torch.float64).reshape(2, 3, 4).transpose(0, 2),
        torch.zeros(0, 3),
        torch.tensor(2.5),
        torch.tensor([True, False]),
        torch.ones(5, dtype=torch.bfloat16),
        torch.ones(3, dtype=torch.complex64),
        torch.nn.Parameter(torch.ones(2)),
    ],
    ids=str,
)
def test_any_tensor_can_be_packed(tensor: torch.Tensor) -> None:
    found = unpack(pack({"a": [tensor]}))["a"][0]
    assert type(found) is type(tensor) and found.dtype == tensor.dtype and found.shape == tensor.shape
    assert torch.equal(found, tensor)


def test_what_is_packed_is_read_in_place_without_a_warning() -> None:
    own = data(100, 0)
    pickled, buffers = pack(own)
    assert len(pickled) < 5000
    for buffer in buffers:
        buffer.flags.writeable = False  # as Ray's object store gives them
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = unpack((pickled, buffers))
    assert found.fingerprint() == own.fingerprint()
    places = {buffer.__array_interface__["data"][0] for buffer in buffers if buffer.size}
    for part in (found.train, found.val, found.test):
        assert part.inputs.data_ptr() in places and part.targets.data_ptr() in places


def test_failures_of_jobs_are_sentences(engine: cluster.Cluster) -> None:
    kinds = ("sentence", "bug", "unsendable")
    *failed, missing = run(engine, *(job("fail", kind) for kind in kinds), job("nothing", None))
    sentence, bug, unsendable = map(error_of, failed)
    assert (sentence.message, sentence.hint, sentence.exit_code) == ("there is no such thing", "try another", 2)
    assert (bug.message, bug.exit_code) == ("ZeroDivisionError: by nought", 1)
    assert "lock" in unsendable.message and "\n" not in unsendable.message
    assert "nothing" in error_of(missing).message
    assert [said(events) for events in failed] == [["before"]] * 3


def test_a_killed_worker_loses_its_job_alone(engine: cluster.Cluster) -> None:
    killed, other = run(engine, job("fail", "killed"), job("count", {"stop": 20, "pause": 0.05}))
    assert isinstance(killed[-1], Lost) and killed[-1].reason == "its worker process was killed"
    assert said(killed) in ([], ["before"]) and said(other) == list(range(20))


def test_a_job_does_not_run_ahead_of_the_driver(engine: cluster.Cluster) -> None:
    until_ended_before = run(engine, job("clock", 1))  # a worker is there
    assert until_ended_before
    engine.submit(0, job("clock", 12))
    time.sleep(1.5)
    read_from = time.time()
    made = said(until_ended(engine, 0)[0])
    assert len(made) == 12
    assert sum(moment < read_from for moment in made) <= cluster.AHEAD


def test_large_messages_arrive(engine: cluster.Cluster) -> None:
    [events] = run(engine, job("large", 20_000_000))
    assert [(len(message), set(message)) for message in said(events)] == [(20_000_000, {k}) for k in range(3)]


def test_a_job_goes_on_elsewhere_when_its_machine_is_gone(
    machines: Any, engine: cluster.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_nodes, "KNOCK_EVERY_S", 0.5)
    monkeypatch.setattr(cluster, "LAST_WORDS_S", 2.0)
    assert (engine.slots(), engine.describe(9)) == (2, "2 at a time on a Ray cluster of 1 machine")
    machine = simulated.add(machines, memory=MUCH)
    wait_for(lambda: engine.slots() == 3)
    engine.submit(1, job("count", {"stop": 900, "pause": 0.05}, memory=MUCH // 2))
    engine.submit(2, job("count", {"stop": 90, "pause": 0.05}))
    events: dict[int, list[Event]] = {1: [], 2: []}
    nodes: dict[int, str] = {}

    def under_way() -> bool:
        for event in engine.wait():
            events[event.job].append(event)
            if isinstance(event, Begun):
                nodes[event.job] = event.worker["node"]
        return nodes.keys() == {1, 2} and len(events[1]) > 5

    wait_for(under_way)
    assert nodes[1] == machine.node_id != nodes[2]
    removed = time.monotonic()
    machines.remove_node(machine, allow_graceful=False)
    going = [number for number in (1, 2) if not isinstance(events[number][-1], ENDED)]  # 2 may be through already
    for number, found in until_ended(engine, *going).items():
        events[number] += found
    assert time.monotonic() - removed < 30
    lost = events[1][-1]
    assert isinstance(lost, Lost) and lost.reason
    heard = said(events[1])
    assert heard == list(range(len(heard))) and 5 <= len(heard) < 900
    assert said(events[2]) == list(range(90)) and events[2][-1] == Over(2)
    wait_for(lambda: engine.slots() == 2)
    # It is sent again, by the driver's decision, with what the driver has of it.
    engine.submit(1, job("count", {"start": len(heard), "stop": len(heard) + 9}))
    assert said(until_ended(engine, 1)[1]) == list(range(len(heard), len(heard) + 9))


def test_a_message_that_vanishes_with_its_machine_is_no_hang(
    machines: Any, engine: cluster.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_nodes, "KNOCK_EVERY_S", 0.5)
    monkeypatch.setattr(cluster, "LAST_WORDS_S", 2.0)
    machine = simulated.add(machines, memory=MUCH)
    wait_for(lambda: engine.slots() == 3)
    engine.submit(0, job("large", 5_000_000, memory=MUCH // 2))
    assert until_begun(engine, 0) == {0: machine.node_id}
    time.sleep(2.5)  # it is announced
    machines.remove_node(machine, allow_graceful=False)
    events = until_ended(engine, 0, seconds=30)[0]
    assert isinstance(events[-1], Lost)
    assert [message[0] for message in said(events)] == [0, 1, 2][: len(said(events))] != [0, 1, 2]


def test_a_job_that_no_machine_can_take(engine: cluster.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE_S", 1.0)
    monkeypatch.setattr(engine, "place", replace(engine.place, threads=4))
    assert engine.slots() == 1
    [[over]] = run(engine, job("count", {"stop": 3}, memory=GB))
    assert isinstance(over, Over)
    assert str(over.error) == "no machine of the Ray cluster has 4 CPUs and 1.0 GB of memory for a job"


def test_no_more_workers_than_asked_for(engine: cluster.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "place", replace(engine.place, workers=1))
    assert engine.slots() == 1
    running = most = 0
    for number in range(3):
        engine.submit(number, job("count", {"stop": 3, "pause": 0.02}))
    ended = 0
    while ended < 3:
        for event in engine.wait():
            running += isinstance(event, Begun) - isinstance(event, ENDED)
            ended += isinstance(event, ENDED)
            most = max(most, running)
    assert most == 1


def test_room_is_what_is_scarcest() -> None:
    node = cluster_nodes.Node("0", "host", "127.0.0.1:1", {"CPU": 8.0, "GPU": 2.0, "memory": 5e9})
    assert node.room({"CPU": 1.0, "GPU": 0.0, "memory": 0.0}) == 8
    assert node.room({"CPU": 1.0, "GPU": 0.25, "memory": 0.0}) == 8
    assert node.room({"CPU": 1.0, "GPU": 0.1, "memory": 0.0}) == 8
    assert node.room({"CPU": 1.0, "GPU": 0.5, "memory": 0.0}) == 4
    assert node.room({"CPU": 1.0, "GPU": 0.5, "memory": 2e9}) == 2
    assert node.room({"CPU": 9.0, "GPU": 0.0, "memory": 0.0}) == 0


def test_other_versions_in_one_sentence() -> None:
    ours = {"nid": "1.0", "torch": "2.4"}
    other = cluster._unfit({"host": "h", "versions": {"nid": "0.9", "numpy": "2.0"}}, ours)
    assert str(other) == "the machine h of the Ray cluster has nid 0.9 instead of 1.0 and no torch (here 2.4)"
    assert other.hint == "pip install nid==1.0 torch==2.4 there"


# Starts a job that writes the time into a file for as long as it lives.
DRIVER = """
import sys
from nid_cli import stopping
stopping.listen()
from nid_cli.pipeline.engines.cluster.engine import Cluster
from nid_cli.pipeline.engines.jobs import Job, Lost, Place, Said
def main(address, how, mark):
    engine = Cluster(Place(address=address))
    try:
        engine.prepare()
        lost, marks = how != "lose", False
        engine.submit(0, Job(work="tests.toys.jobs:fail", payload="killed" if how == "lose" else "sentence"))
        engine.submit(1, Job(work="tests.toys.jobs:mark", payload=mark))
        while True:
            for event in engine.wait():
                if event.job == 1 and isinstance(event, Said):
                    marks = True
                    sys.stdout.write("marks\\n")
                    sys.stdout.flush()
                lost = lost or isinstance(event, Lost)
                if how == "lose" and lost and marks:
                    return
    finally:
        engine.close()
try:
    main(*sys.argv[1:])
except KeyboardInterrupt:
    stopping.leave()
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_nothing_runs_on_when_the_driver_ends_in_whatever_way(machines: Any, tmp_path: Path) -> None:
    marks = {number: tmp_path / f"{number.name}" for number in (signal.SIGINT, signal.SIGKILL)}
    drivers = {number: start(DRIVER, machines.address, "wait", str(mark)) for number, mark in marks.items()}
    for number, driver in drivers.items():
        assert read_line(driver) == "marks\n"
        wait_for(marks[number].exists)
        driver.send_signal(number)
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        # Nothing of Ray's: not of its start, not of a task that fails, not of the end.
        assert (*drivers[number].communicate(timeout=20), drivers[number].returncode) == ("", "", code)
    wait_for(lambda: all(time.time() - mark.stat().st_mtime > 1 for mark in marks.values()), 15)


def test_a_closed_engine_ends_its_jobs_and_ray_says_nothing(machines: Any, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    driver = start(DRIVER, machines.address, "lose", str(mark))
    assert (*driver.communicate(timeout=40), driver.returncode) == ("marks\n", "", 0)
    wait_for(lambda: time.time() - mark.stat().st_mtime > 1, 15)


def prepare(address: str | None, **place: Any) -> NidError:
    """The error of an engine that cannot be prepared, which takes less than ten seconds."""
    began = time.monotonic()
    with pytest.raises(NidError) as caught:
        choose("ray", Place(address=address, **place)).prepare()
    assert time.monotonic() - began < 10
    assert "\n" not in f"{caught.value.message}{caught.value.hint}"
    return caught.value


def test_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    error = prepare(address)
    assert (error.message, error.exit_code) == (f"no Ray cluster answers at {address}", 1)
    assert "ray start --head" in (error.hint or "")


def test_somebody_else_answers() -> None:
    code = """
import sys
from nid_cli.errors import NidError
from nid_cli.pipeline.engines import choose
from nid_cli.pipeline.engines.cluster import connection as cluster_connection
from nid_cli.pipeline.engines.jobs import Place
cluster_connection.ENTER_S = 1.0
try:
    choose("ray", Place(address=sys.argv[1])).prepare()
except NidError as error:
    print(error.message)
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        driver = start(code, address)
        printed, complained = driver.communicate(timeout=20)
    assert printed == f"{address} answers, but not as a Ray cluster that this machine belongs to\n"
    assert (complained, driver.returncode) == ("", 0)


def test_no_cluster_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import services

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", set)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)
    for address in (None, "auto"):
        error = prepare(address)
        assert (error.message, error.exit_code) == ("no Ray cluster runs on this machine", 1)
        assert "ray start --head" in (error.hint or "")


def test_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    error = prepare(None)
    assert (error.message, error.hint) == ("--engine ray needs Ray, which is not installed", "pip install 'nid[ray]'")


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "localhost", "127.0.0.1:port", ":6379", "a:70000", "a:0"])
def test_what_is_no_address(address: str) -> None:
    error = prepare(address)
    assert isinstance(error, UsageError) and address in error.message


@pytest.mark.parametrize(
    "place", [{"device": "cuda:1"}, {"device": "tpu"}, {"device": "cpu", "gpus": 0.5}, {"gpus": 1.5}, {"gpus": -1.0}]
)
def test_devices_that_a_cluster_cannot_give(place: dict[str, Any]) -> None:
    assert isinstance(prepare("127.0.0.1:1", **place), UsageError)


class Alone:
    """Ray, as far as machines go: one of them, which is this one."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get_runtime_context(self) -> Any:
        return self

    def get_node_id(self) -> str:
        return "own"

    def nodes(self) -> list[dict[str, Any]]:
        own = {"NodeID": "own", "Alive": True, "Resources": {"CPU": 1.0}}
        return [own | {"NodeManagerHostname": "h", "NodeManagerAddress": "127.0.0.1", "NodeManagerPort": self.port}]


def test_a_cluster_that_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        nodes = cluster_nodes.Nodes(Alone(port), f"127.0.0.1:{port}")
        nodes._look()
        nodes._seen -= cluster_nodes.GONE_S
        nodes.check()
    with pytest.raises(NidError, match=rf"^the Ray cluster at 127\.0\.0\.1:{port} is gone; "):
        nodes.check()
    nodes._look()
    nodes.check()


def test_a_machine_that_falls_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        nodes = cluster_nodes.Nodes(Alone(server.getsockname()[1]), "127.0.0.1:1")
        nodes._look()
        nodes._knock()
    for _ in range(cluster_nodes.KNOCKS):
        assert not nodes.is_gone("own") and nodes.room({"CPU": 1.0}) == 1
        nodes.check()
        nodes._knock()
    assert nodes.is_gone("own") and nodes.room({"CPU": 1.0}) == 0
    with pytest.raises(NidError, match=r"^Ray has ended on this machine; "):
        nodes.check()


def test_a_machine_that_never_answers_a_knock_is_as_ray_says() -> None:
    nodes = cluster_nodes.Nodes(Alone(1), "127.0.0.1:1")
    nodes._look()
    for _ in range(2 * cluster_nodes.KNOCKS):
        nodes._knock()
    assert not nodes.is_gone("own")


def test_who_answers_of_many() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as closed:
        there, gone = (f"127.0.0.1:{one.getsockname()[1]}" for one in (server, closed))
        closed.close()
        assert cluster_nodes._answering({there, gone}) == {there}


def test_the_table_refers_to_the_engine() -> None:
    assert ENGINES["ray"] == f"{cluster.Cluster.__module__}:{cluster.Cluster.__name__}"


@pytest.mark.parametrize(("other", "memory"), [("0.0.1", MUCH), (None, MORE)])
def test_a_machine_with_another_nid(
    other: str | None, memory: int, machines: Any, engine: cluster.Cluster, tmp_path: Path
) -> None:
    # The machines stay, so nothing that may be sent to them comes after these tests.
    # Ray gives workers the driver's own sys.path, so that on one machine another nid has to come in before all paths.
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys, types\nfound = {other!r} and types.ModuleType('nid_cli.version')\n"
        f"if found: found.__version__ = {other!r}\nsys.modules['nid_cli.version'] = found\n"
    )
    simulated.add(machines, path=tmp_path, memory=memory)
    wait_for(lambda: engine.slots() == 3)
    engine.submit(0, job("count", {"stop": 3}, memory=memory // 2))
    [over] = until_ended(engine, 0)[0]
    assert isinstance(over, Over) and over.error is not None
    instead = f"nid {other} instead of {__version__}" if other else f"no nid (here {__version__})"
    assert over.error.message == f"the machine {os.uname().nodename} of the Ray cluster has {instead}"
    assert over.error.hint == f"pip install nid=={__version__} there" and over.error.exit_code == 1
    # No job is sent there any more: what can go elsewhere does, what cannot ends with the same words.
    assert engine.slots() == 2
    for events in run(engine, *(job("count", {"stop": 3}) for _ in range(5))):
        assert said(events) == [0, 1, 2]
    [[again]] = run(engine, job("count", {"stop": 3}, memory=memory // 2))
    assert isinstance(again, Over) and again.error is over.error
