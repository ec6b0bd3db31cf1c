"""`lowlight serve` through its port: whose answer it is, what it says to bad requests, when there are too many."""

import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from io import BytesIO

import numpy as np
import pytest
from damage import damaged
from PIL import Image
from test_damage import chunk, picture_files
from typer.testing import CliRunner

if any(find_spec(extra) is None for extra in ("fastapi", "uvicorn", "prometheus_client", "python_multipart")):
    pytest.skip("the serve extra is not installed", allow_module_level=True)

from served import Curve, served

from lowlight.cli import app
from lowlight.files.formats import FORMATS
from lowlight.files.pictures import PictureError, encode, read_picture
from lowlight.serving import crew
from lowlight.serving.crew import load_models
from lowlight.systems.brighten import enhance_picture


def png(value=40, size=(6, 4)):
    stream = BytesIO()
    Image.new("RGB", size, (value, value, value)).save(stream, "PNG")
    return stream.getvalue()


def noise(seed):
    """A picture that no other seed has, as a file."""
    rng = np.random.default_rng(seed)
    stream = BytesIO()
    Image.fromarray(rng.integers(0, 255, (*rng.integers(5, 40, 2), 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def direct(data, **told):
    return encode(enhance_picture(Curve(), read_picture("p", data), **told), "PNG")[0]


@pytest.fixture(scope="module")
def curve():
    # one place, so that one that is not given back is seen at once
    with served(Curve(), megapixels=1, megabytes=1, places=0) as server:
        yield server


def test_answers_are_the_files_of_the_command_line(tmp_path):
    """Of every kind of file, with options, as body and as form."""
    (tmp_path / "in").mkdir()
    picture_files(tmp_path / "in")
    told = {"brightness": "0.5", "saturation": "1.2", "strength": "0.9", "seed": "3", "steps": "1"}
    options = [word for name, value in told.items() for word in (f"--{name}", value)]
    run = CliRunner().invoke(app, ["enhance", f"{tmp_path}/in", "-o", f"{tmp_path}/out", *options])
    assert run.exit_code == 0, run.output
    with served(*load_models([], ["cpu"]), places=0) as server:
        for path in sorted((tmp_path / "in").iterdir()):
            name = path.name if path.suffix != ".gif" else f"{path.stem}.png"
            written = tmp_path / "out" / name
            status, _, body = server.ask(path.read_bytes(), **told)
            assert (status, body) == (200, written.read_bytes()), path.name
            if path.suffix == ".tiff":
                form = b"\r\n".join(
                    [b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a.tif"\r\n', path.read_bytes()]
                )
                kind = {"Content-Type": "multipart/form-data; boundary=x"}
                assert server.ask(form + b"\r\n--x--\r\n", headers=kind, **told)[2] == body
        assert server.ask(None, "GET", "/health")[2]["models"] == ["wavelet-anchored-small"]


def test_a_format_and_notes(curve):
    stream = BytesIO()
    Image.new("RGBA", (4, 4), (9, 9, 9, 128)).save(stream, "PNG")
    status, headers, body = curve.ask(stream.getvalue(), format="jpg", quality=80)
    assert (status, headers["content-type"], body[:2]) == (200, "image/jpeg", b"\xff\xd8")
    assert json.loads(headers["Lowlight-Notes"]) == ["transparency laid over white: JPEG holds none"]
    assert curve.ask(stream.getvalue())[1]["Lowlight-Notes"] is None


def test_sixty_four_clients_each_get_their_own():
    """Two workers, three pictures a client on one connection, no two alike."""

    def client(number):
        answers = []
        with server.connection() as connection:
            for seed in range(3 * number, 3 * number + 3):
                told = {"seed": seed % 2, "strength": 1 - seed / 1000}
                status, _, body = server.ask(noise(seed), connection=connection, **told)
                answers.append((status, body == direct(noise(seed), **told)))
        return answers

    with served(Curve(0.002), Curve(0.002)) as server:
        with ThreadPoolExecutor(64) as clients:
            answers = [answer for each in clients.map(client, range(64)) for answer in each]
        assert answers == [(200, True)] * 192
        assert server.count('lowlight_requests_total{path="/enhance",status="200"}') == 192
        pixels = sum(np.prod(read_picture("p", noise(seed)).rgb.shape[:2]) for seed in range(192))
        assert server.count('lowlight_pixels_total{model="curve"}') == pixels
        assert server.count("lowlight_queue_depth") == server.count("lowlight_places_taken") == 0


def test_damage_is_a_4xx_or_a_picture(tmp_path, curve):
    picture_files(tmp_path)
    seen = set()
    for path in sorted(tmp_path.iterdir()):
        for data in damaged(path.read_bytes(), 12):
            try:
                expected = read_picture("picture", data).rgb.shape[:2]
            except PictureError as error:
                expected = str(error)
            status, _, body = curve.ask(data, format="png")
            seen.add(status)
            if status == 200:
                assert read_picture("answer", body).rgb.shape[:2] == expected
            else:
                assert status in (413, 415, 422), body
                assert expected == body["detail"] or status == 413
                assert body["detail"].startswith("picture: ")
                assert "\n" not in body["detail"]
    assert {200, 415, 422} <= seen
    assert curve.ask(png())[0] == 200


BOMB = chunk(b"IHDR", bytes([0, 0, 200, 0, 0, 0, 200, 0, 8, 2, 0, 0, 0])) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
FIELD = '--x\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n--x--\r\n'


@pytest.mark.parametrize(
    ("data", "headers", "query", "status", "words"),
    [
        (b"", {}, {}, 415, "an empty file"),
        (b"notes", {"Content-Type": "image/png"}, {}, 415, "not a PNG"),
        (png()[:45], {}, {}, 422, "cannot be decoded"),
        (b"\x89PNG\r\n\x1a\n" + BOMB, {}, {}, 413, "too large to be a photograph"),
        (png(size=(1001, 1000)), {}, {}, 413, "1001 x 1000, at most 1 megapixels"),
        (bytes(1_000_001), {}, {}, 413, "more than 1 MB"),
        (iter([bytes(600_000)] * 2), {}, {}, 413, "more than 1 MB"),
        (FIELD.format("picture", "", "text").encode(), FORM, {}, 400, "a form must have one field, picture"),
        (FIELD.format("seed", "", "1").encode(), FORM, {}, 400, "options belong into the query"),
        (FIELD.format("other", '; filename="a.png"', "x").encode(), FORM, {}, 400, "one field, picture"),
        (FIELD.format("picture", '; filename="../a.png"', "x").encode(), FORM, {}, 415, "a.png: not a PNG"),
        (FIELD.format("picture", '; filename="a.nef"', "x").encode(), FORM, {}, 415, "a.nef: not a PNG"),
        (b"--x\r\nnothing", FORM, {}, 400, "a form must"),
        (b"x", {"Content-Type": "multipart/form-data"}, {}, 400, "a form must"),
        (png(), {}, {"brightness": "11"}, 422, "brightness: Input should be less than or equal to 10"),
        (png(), {}, {"brightness": "nan"}, 422, "brightness: "),
        (png(), {}, {"strength": "2"}, 422, "strength: "),
        (png(), {}, {"steps": "0"}, 422, "steps: "),
        (png(), {}, {"seed": str(2**64)}, 422, "seed: "),
        (png(), {}, {"model": "/etc/passwd"}, 422, "model: Input should be 'curve'"),
        (png(), {}, {"format": "exe"}, 422, "format: "),
        (png(), {}, {"gamma": "2"}, 422, "gamma: Extra inputs are not permitted"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_requests_are_one_sentence(curve, data, headers, query, status, words):
    got, answered, body = curve.ask(data, headers=headers, **query)
    assert (got, list(body)) == (status, ["detail"])
    assert re.search(re.escape(words), body["detail"])
    assert answered["content-type"] == "application/json"
    assert curve.ask(png())[0] == 200


def test_raw_files_are_refused(curve, tmp_path):
    pytest.importorskip("rawpy", reason="no rawpy: pip install 'lowlight-ext[raw]'")
    from raw_pictures import BAYER, raw_picture, scene

    from lowlight.raw.dng import write_dng

    write_dng(tmp_path / "a.dng", raw_picture(BAYER[0], scene(40, 40)))
    assert curve.ask((tmp_path / "a.dng").read_bytes())[0] == 415


def test_only_what_waits_within_the_places_is_taken():
    system = Curve()
    system.gate.clear()
    with served(system, places=2) as server, ThreadPoolExecutor(3) as clients:
        waiting = [clients.submit(server.ask, png(value)) for value in (10, 20, 30)]
        server.until("lowlight_queue_depth", 2)
        status, headers, body = server.ask(bytes(40_000_000))
        assert (status, body) == (503, {"detail": "all 3 places are taken, come again"})
        assert 1 <= int(headers["Retry-After"]) <= 60
        assert server.ask(None, "GET", "/health")[2]["taken"] == 3
        system.gate.set()
        assert [each.result()[::2] for each in waiting] == [(200, direct(png(value))) for value in (10, 20, 30)]
        assert server.ask(png())[0] == 200


def test_pictures_are_taken_in_the_order_they_came():
    system, seen = Curve(), []
    system.gate.clear()
    curve = system.enhance_tensor
    system.enhance_tensor = lambda low, **told: (seen.append(round(low.mean().item() * 255)), curve(low, **told))[1]
    with served(system) as server, ThreadPoolExecutor(4) as clients:
        waiting = []
        for number, value in enumerate((40, 10, 30, 20)):
            waiting.append(clients.submit(server.ask, png(value)))
            server.until("lowlight_places_taken", number + 1)
            server.until("lowlight_queue_depth", number)
        system.gate.set()
        assert [each.result()[0] for each in waiting] == [200] * 4
    assert seen == [40, 10, 30, 20]


def test_every_device_has_one_picture_at_a_time():
    """Also after some that went well and some that failed: two that come at once find two devices."""
    systems = Curve(), Curve()
    with served(*systems) as server, ThreadPoolExecutor(2) as clients:
        for _ in range(2):
            assert server.ask(png())[0] == 200
            assert server.ask(png()[:45])[0] == 422
        began = [system.calls for system in systems]
        assert sum(began) == 2
        for system in systems:
            system.gate.clear()
        both = [clients.submit(server.ask, png(value)) for value in (10, 20)]
        server.until("lowlight_places_taken", 2)
        server.until("lowlight_queue_depth", 0)
        deadline = time.monotonic() + 30
        while sum(system.calls for system in systems) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for system in systems:
            system.gate.set()
        assert [each.result()[0] for each in both] == [200, 200]
    assert [system.calls for system in systems] == [one + 1 for one in began]


def test_memory_is_given_back_when_nobody_waits(monkeypatch):
    """Once the last of several is answered, whoever that is, and not before."""
    given = []
    monkeypatch.setattr(crew, "give_back", lambda: given.append(server.crew.inside))
    systems = Curve(), Curve()
    with served(*systems) as server, ThreadPoolExecutor(2) as clients:
        for system in systems:
            system.gate.clear()
        both = [clients.submit(server.ask, png(value)) for value in (10, 20)]
        server.until("lowlight_places_taken", 2)
        for system in systems:
            system.gate.set()
        assert [each.result()[0] for each in both] == [200, 200]
        deadline = time.monotonic() + 30
        while not given:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert given == [0]


def test_each_model_answers_for_itself():
    dark, bright = Curve(), Curve()
    bright.enhance_tensor = lambda low, **_: low * 0 + 1
    with served({"dark": dark, "bright": bright}) as server:
        assert server.ask(png(10), model="dark")[2] == direct(png(10))
        white = read_picture("p", server.ask(png(10), model="bright")[2]).rgb
        assert white.min() == 1
        assert server.ask(png(10))[2] == direct(png(10))


def test_what_nobody_waits_for_is_not_begun():
    """The first is in work for too long; of those that wait behind it one is too late, one's sender hangs up."""
    system = Curve()
    system.gate.clear()
    with served(system, seconds=1.0) as server, ThreadPoolExecutor(2) as clients:
        late = [clients.submit(server.ask, png(10))]
        server.until("lowlight_places_taken", 1)
        late.append(clients.submit(server.ask, png(20)))
        with server.connection() as connection:
            connection.request("POST", "/enhance", png(30))
            server.until("lowlight_queue_depth", 2)
        server.until('lowlight_requests_total{path="/enhance",status="499"}', 1)
        for each in late:
            status, _, body = each.result()
            assert (status, body) == (504, {"detail": "picture: not answered after 1 seconds"})
        assert server.count("lowlight_dropped_total") == 2
        system.gate.set()
        assert server.ask(png(40))[2] == direct(png(40))
        assert system.calls == 2


def test_a_picture_that_does_not_arrive():
    with served(Curve(), seconds=0.3) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as slow:
            slow.sendall(b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nslow")
            assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")
        assert server.ask(png())[0] == 200


def test_a_network_that_overflows_is_a_sentence():
    system = Curve()
    system.enhance_tensor = lambda low, *, steps=None, noise=None, seed=0, sampler=None: low / 0
    with served(system) as server:
        status, _, body = server.ask(png())
        assert (status, list(body)) == (500, ["detail"])
        assert "try float32" in body["detail"]


def test_other_addresses(curve):
    assert curve.ask(None, "GET", "/")[0] == 404
    assert curve.ask(None, "GET", "/docs")[0] == 404
    assert curve.ask(None, "GET")[0] == 405
    assert curve.count('lowlight_requests_total{path="other",status="404"}') >= 2
    options = curve.ask(None, "GET", "/openapi.json")[2]["paths"]["/enhance"]["post"]["parameters"]
    told = {option["name"]: option["schema"] for option in options}
    assert set(told) == {"brightness", "saturation", "strength", "steps", "seed", "quality", "format", "model"}
    assert {f".{name}" for name in told["format"]["enum"]} <= set(FORMATS)


def test_its_own_schema(curve):
    """Requests of every shape that the schema allows, and many that it does not."""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: its schema is not tried")
    from hypothesis import HealthCheck, given, settings, strategies

    pictures = strategies.builds(png, strategies.integers(0, 255), strategies.tuples(*[strategies.integers(1, 9)] * 2))
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{curve.port}/openapi.json")
    for kind in schema["/enhance"]["POST"].definition.raw["requestBody"]["content"]:
        if kind != "multipart/form-data":
            schemathesis.openapi.media_type(kind, pictures)
    tried = {}
    usual = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    modes = schemathesis.GenerationMode
    for operation in (found.ok() for found in schema.get_all_operations()):
        # of what takes nothing there is nothing wrong to ask
        for mode in modes if operation.method == "post" else [modes.POSITIVE]:

            @usual
            @given(case=operation.as_strategy(generation_mode=mode))
            def conforms(case):
                answer = case.call()
                tried[case.method, answer.status_code] = tried.get((case.method, answer.status_code), 0) + 1
                case.validate_response(answer)

            conforms()
    assert tried["POST", 200] > 20
    assert tried["POST", 422] > 20
    assert tried["GET", 200] > 1
