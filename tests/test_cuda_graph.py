"""Pictures replayed from a graph: other pictures and seeds go into it, nothing waits for the host while it is recorded.

The CPU stands in for the GPU (recorded.py); what CUDA itself makes of it tests/test_cuda.py asks on a GPU.
"""

import pytest
import torch
from recorded import Watch, recorded
from test_engines import trained
from test_export import small

import lowlight
import lowlight_ext
from lowlight.engines import cuda_graph, use
from lowlight_ext import brought, tables_kept

PICTURES = ["diffll", "anlightendiff", "wavelet_anchored", "ddpm"]


@pytest.fixture(autouse=True)
def convolutions_of_pytorch(monkeypatch):
    """As a GPU has them: the CPU's own loop is not taken where a graph is recorded, and has other bits."""
    monkeypatch.setattr("lowlight_ext.winograd.loops_serve", lambda dtype: False)


def dark(seed, count=1, height=34, width=40):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 0.3


def counting(monkeypatch):
    seen = []

    def record(function, *inputs):
        seen.append(inputs[0].shape)
        return recorded(function, *inputs)

    return seen, record


@pytest.mark.parametrize("name", PICTURES)
def test_other_pictures_and_seeds_go_into_the_graph(name, monkeypatch):
    system, plain = trained(small(name)), trained(small(name))
    seen, record = counting(monkeypatch)
    cuda_graph.replay_pictures(system, record)
    for low, seed in ((dark(1), 5), (dark(2), 6), (dark(2) * 0.2, 2**63 + 1), (dark(3, 2), torch.tensor([3, 4]))):
        torch.testing.assert_close(
            system.enhance_tensor(low, seed=seed, steps=2),
            plain.enhance_tensor(low, seed=seed, steps=2),
            rtol=0,
            atol=0,
        )
    # one a shape
    assert [shape[0] for shape in seen] == [1, 2]


def test_one_graph_for_each_option(monkeypatch):
    system, plain = trained(small("wavelet_anchored")), trained(small("wavelet_anchored"))
    seen, record = counting(monkeypatch)
    cuda_graph.replay_pictures(system, record)
    for options in (
        *({}, {"brightness": 0}, {"brightness": torch.zeros(1)}),
        *({"brightness": 0.5}, {"brightness": torch.tensor(-0.7)}),
        *({"mean": 0.3}, {"mean": torch.tensor([0.6])}),
        {"sampler": "drds"},
    ):
        for low in (dark(1), dark(2)):
            result, wanted = system.enhance_tensor(low, **options), plain.enhance_tensor(low, **options)
            torch.testing.assert_close(result, wanted, rtol=0, atol=0)
    assert len(seen) == 4
    with pytest.raises(ValueError, match=r"mean must be a number between 0 and 1, .*, got 1\.5"):
        system.enhance_tensor(dark(1), mean=1.5)
    monkeypatch.setattr(cuda_graph, "_GRAPHS", 2)
    system.enhance_tensor(dark(1), steps=1)
    system.enhance_tensor(dark(1), steps=1)
    assert len(seen) == 5
    system.enhance_tensor(dark(1))
    system.enhance_tensor(dark(1), sampler="drds")
    # what was used longest ago went
    assert len(seen) == 7


def test_lowlight_enhance_is_replayed(monkeypatch):
    system, plain = trained(small("wavelet_anchored")), trained(small("wavelet_anchored"))
    seen, record = counting(monkeypatch)
    cuda_graph.replay_pictures(system, record)
    for picture in (dark(1)[0], dark(2)[0]):
        assert torch.equal(lowlight.enhance(picture, system), lowlight.enhance(picture, plain))
    assert len(seen) == 1
    with pytest.raises(TypeError, match="has no option colour"):
        lowlight.enhance(dark(1)[0], system, colour=1)
    # a picture that is large, and noise that is given, go the usual way
    monkeypatch.setattr(cuda_graph, "MOST_PIXELS", 34 * 40 - 1)
    torch.testing.assert_close(
        lowlight.enhance(dark(1)[0], system), lowlight.enhance(dark(1)[0], plain), rtol=0, atol=0
    )
    system.enhance_tensor(dark(1, height=16), noise=lambda stream, shape: torch.zeros(shape))
    assert len(seen) == 1


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_waits_for_the_host(name):
    """On the device `meta` there are no values: what asks for one fails, and what goes there from the host is seen."""
    system, low = small(name).to("meta"), dark(1).to("meta")
    seeds, tables = torch.zeros(1, dtype=torch.int64, device="meta"), {}
    with torch.no_grad(), tables_kept(tables):
        numbers = {name: torch.full((1,), 0.5, device="meta") for name in system.numbers[:1]}
        system.enhance_tensor(low, seed=seeds, steps=2, **numbers)
        kept = len(tables)
        with Watch() as watch:
            out = system.enhance_tensor(low, seed=seeds, steps=2, **numbers)
    assert out.shape == low.shape
    # operators are told their rows on the CPU, and find them kept
    assert not [name for name in watch.crossings if not name.startswith("lowlight_ext.")]
    assert kept == len(tables) > 0
    assert watch.launches > 50


def test_tables_are_brought_once():
    table, tables = torch.arange(3.0), {}
    assert brought(table, table.device) is table
    assert brought(table, torch.device("meta")) is not brought(table, torch.device("meta"))
    with tables_kept(tables):
        first = brought(table, torch.device("meta"))
        assert brought(table.clone(), torch.device("meta")) is first
        assert brought(table + 1, torch.device("meta")) is not first
        assert brought(table.double(), torch.device("meta")) is not first
        assert lowlight_ext.recording()
    assert len(tables) == 3
    assert not lowlight_ext.recording()


def test_refusals(monkeypatch):
    with pytest.raises(ValueError, match="engine: cudagraph runs on an NVIDIA GPU, got device cpu"):
        lowlight.load("default", device="cpu", engine="cudagraph")
    monkeypatch.setattr(use, "check_engine", lambda *_: None)
    with pytest.raises(ValueError, match="must be torch for the raw of ExposureDiffusion, got cudagraph"):
        use.use_engine(small("exposurediffusion"), "cudagraph", None)
