"""What a cluster's run is made of, without a cluster: rounds of tries, manifests, stores."""

import importlib.util
import json
import re

import pytest

from lowlight.cluster import stores
from lowlight.cluster.manifest import Manifest, Picture, Record, read_manifest
from lowlight.cluster.rounds import Outcome, in_rounds
from lowlight.cluster.stores import Stamp, Store, StoreError

pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="no pyarrow: pip install 'lowlight-ext[cluster]'"
)


class Workers:
    """A round each: `does` has, for an item, what becomes of it in each round; "dies" takes its block with it."""

    def __init__(self, **does):
        self.does, self.rounds = {int(item[1:]): fates for item, fates in does.items()}, []

    def __call__(self, items, together):
        number = len(self.rounds)
        self.rounds.append((list(items), together))
        for first in range(0, len(items), together):
            block = items[first : first + together]
            fates = [self.does.get(item, [])[number:][:1] for item in block]
            if ["dies"] in fates:
                continue
            for item, fate in zip(block, fates, strict=True):
                yield Outcome(item, *fate or [None], f"worker {number}", {})


def told(count, together, workers):
    seen = {outcome.item: (outcome.error, before) for outcome, before in in_rounds(count, together, workers)}
    assert sorted(seen) == list(range(count))
    return seen


def test_all_at_once():
    workers = Workers()
    assert told(7, 3, workers) == dict.fromkeys(range(7), (None, []))
    assert workers.rounds == [([*range(7)], 3)]
    assert told(0, 3, Workers()) == {}


def test_what_fails_is_tried_once_more():
    workers = Workers(i2=["broken", "broken"], i5=["no disk"])
    seen = told(7, 3, workers)
    assert (seen[2], seen[5]) == (("broken", ["worker 0"]), (None, ["worker 0"]))
    assert workers.rounds[1:] == [([2, 5], 1)]


def test_who_dies_takes_its_neighbours_and_is_found():
    """Neighbours are done in the second round; the killer is alone then, and given up after two more workers."""
    workers = Workers(i4=["dies", "dies", "dies"])
    seen = told(9, 3, workers)
    assert seen[4] == ("the worker died while it worked on this", ["died", "died"])
    assert seen[3] == seen[5] == (None, ["died"])
    assert [items for items, _ in workers.rounds] == [[*range(9)], [3, 4, 5], [4]]
    seen = told(9, 3, Workers(i4=["dies", "dies"], i7=["broken", "dies"]))
    assert seen[4] == (None, ["died", "died"])
    assert seen[7] == ("the worker died while it worked on this", ["worker 0"])


def test_an_answer_too_late_counts_for_nothing():
    def twice(items, together):
        for item in [*items, *items]:
            yield Outcome(item, None, "w", {})

    assert len([*in_rounds(4, 1, twice)]) == 4


PICTURE = Picture("/in/a.jpg", Stamp(5, 6), "a.jpg")


def line(**changes):
    facts = {"target": "a.jpg", "source": "/in/a.jpg", "bytes": 5, "modified": 6, "options": "x", "status": "enhanced"}
    return json.dumps(facts | changes).encode() + b"\n"


def test_a_manifest_says_what_is_done():
    found = Manifest()
    found.take("m", b'{"run": "1", "options": {}}\n' + line() + line(target="b.jpg", status="failed"))
    assert found.done(PICTURE, "x")
    assert not found.done(PICTURE._replace(target="b.jpg"), "x")
    assert (found.knows("b.jpg"), found.knows("c.jpg")) == (True, False)
    # other options, another source, the source as it was not
    assert not found.done(PICTURE, "y")
    for other in (PICTURE._replace(source="/in/a.png"), PICTURE._replace(stamp=Stamp(5, 7))):
        assert not found.done(other, "x")
    # the last line counts
    found.take("n", line(options="y"))
    assert (found.done(PICTURE, "x"), found.done(PICTURE, "y")) == (False, True)


def test_a_cut_last_line_says_nothing():
    found = Manifest()
    for end in range(1, len(line())):
        found.take("m", line(target="b.jpg") + line()[:end])
        assert found.lines.keys() == {"b.jpg"}
    assert found.unread == []
    found.take("m", b"[1]\nnonsense\n3\n" + line())
    assert found.knows("a.jpg")
    assert found.unread == [f"m: line {n} cannot be read and counts for nothing" for n in (2, 3)]


@pytest.fixture(scope="module")
def bucket():
    """An address on an S3 of this machine."""
    server = pytest.importorskip("moto.server", reason="no moto: pip install 'moto[server,s3]'")
    running = server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    settings = f"endpoint_override={host}:{port}&scheme=http&allow_bucket_creation=true&region=us-east-1"
    yield f"s3://key:secret@photos/FOLDER?{settings}"
    running.stop()


@pytest.fixture(params=["plain", "file", "memory", "fsspec", "s3"])
def store(request, tmp_path):
    pytest.importorskip("pyarrow", reason="no pyarrow: pip install 'lowlight-ext[cluster]'")
    if request.param == "s3":
        from pyarrow.fs import FileSystem

        address = request.getfixturevalue("bucket").replace("FOLDER", tmp_path.name)
        FileSystem.from_uri(address)[0].create_dir("photos")
        return Store(address)
    folder = f"{tmp_path.as_uri()}/a b"
    address = {
        "plain": str(tmp_path / "a b"),
        "file": folder.replace(" ", "%20"),
        "memory": f"memory://{tmp_path}",
        # to pyarrow this is no file system of its own
        "fsspec": folder.replace("file:", "local:"),
    }
    return Store(address[request.param])


def test_a_store(store, tmp_path):
    assert (store.kind(), store.entries(), store.stamp("a.txt")) == ("nothing", {}, None)
    store.write("a.txt", b"one")
    store.write("sub/b.txt", b"two!")
    store.write("sub/b.txt", b"three")
    assert {name: stamp.size for name, stamp in store.entries().items()} == {"a.txt": 3, "sub/b.txt": 5}
    assert [*store.entries(recursive=False)] == ["a.txt"]
    assert (store.read("sub/b.txt"), store.stamp("sub/b.txt")) == (b"three", store.entries()["sub/b.txt"])
    assert store.kind() == "folder"
    base, mark, settings = store.address.partition("?")
    inner = Store(f"{base}/sub/b.txt{mark}{settings}")
    assert inner.kind() == "file"
    folder, name = inner.split()
    assert (name, folder.read(name), folder.path(name)) == ("b.txt", b"three", inner.shown)
    with pytest.raises(StoreError, match=f"{re.escape(store.shown)}/none: no such file or folder"):
        store.read("none")


def test_nothing_half_written(store, monkeypatch):
    """Where a name shows what is being written; an object is put whole, under its own name."""
    store.write("a.txt", b"one")

    def fail(*_):
        raise PermissionError("no room")

    monkeypatch.setattr(stores, "write_atomically", fail)
    if store.local is None:
        real = store._files

        class Failing:
            def __getattr__(self, name):
                return fail if name == "move" else getattr(real, name)

        store._files = Failing()
    if store.address.startswith("s3"):
        store.write("a.txt", b"two")
        assert ([*store.entries()], store.read("a.txt")) == (["a.txt"], b"two")
        return
    with pytest.raises(StoreError, match=r"a\.txt: no room"):
        store.write("a.txt", b"two")
    assert ([*store.entries()], store.read("a.txt")) == (["a.txt"], b"one")


@pyarrow
def test_addresses_that_are_none():
    with pytest.raises(StoreError, match=r"nonsense://x/y: .*nonsense"):
        Store("nonsense://x/y")
    with pytest.raises(StoreError, match="an address with :: in it"):
        Store("zip://inside::file:///a.zip")


@pyarrow
def test_passwords_are_not_shown():
    store = Store("s3://KEY:SECRET@bucket/in?endpoint_override=127.0.0.1:1&scheme=http")
    assert (store.shown, store.path("a.png")) == ("s3://bucket/in", "s3://bucket/in/a.png")
    folder, name = store.split()
    assert (folder.shown, name) == ("s3://bucket", "in")
    assert folder.address.endswith("?endpoint_override=127.0.0.1:1&scheme=http")


def test_a_record_is_read_again(store, monkeypatch):
    record = Record(store, {"options": {"seed": 1}})
    assert store.stamp(record.name) is not None
    record.add(PICTURE, "x", {"status": "enhanced"})
    record.add(PICTURE._replace(target="b.jpg"), "x", {"status": "failed"})
    # a minute later
    monkeypatch.setattr("lowlight.cluster.manifest._PATIENCE", -1.0)
    record.add(PICTURE._replace(target="c.jpg"), "x", {"status": "enhanced"})
    if store.local:
        # at once, for whoever kills this run
        assert read_manifest(store, store.entries()).knows("c.jpg")
    record.add(PICTURE._replace(target="d.jpg"), "x", {"status": "enhanced"})
    record.close()
    found = read_manifest(store, store.entries())
    assert [*found.lines] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert found.done(PICTURE, "x")
    assert len(store.entries()) == (1 if store.local else 3)
