"""What a training begins with: another model's weights, what stays as it is, data of several folders, what it keeps."""

import csv
import json
import shutil
from importlib.util import find_spec

import pytest
import torch
import yaml
from perceptual_state import random_state
from train_process import NETWORK, make_pairs, write_config
from typer.testing import CliRunner

from lowlight import load
from lowlight.checkpoints import save_weights
from lowlight.cli import app
from lowlight.data.batches.batches import PairBatches
from lowlight.scoring.report import Method
from lowlight.scoring.srgb import seen_in_training
from lowlight.systems.exposurediffusion.network import ExposureDiffusionConfig
from lowlight.systems.exposurediffusion.system import ExposureDiffusion
from lowlight.training.config_files import from_dict, load_config
from lowlight.training.loop import Trainer
from lowlight.training.objectives.lookup import objective_of
from lowlight.training.start import load_source, take_weights
from lowlight.training.validation import Validator, better_than

STAGES = [{"iterations": 2, "batch": 1, "crop": 32}]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"), count=3)


def trainer(pairs, folder, **changes):
    config = from_dict({"network": NETWORK, "stages": STAGES, "log_every": 1} | changes)
    return Trainer(config, objective_of(config.system).batches(config, pairs), folder)


@pytest.fixture
def source(pairs, tmp_path):
    """A file of weights that another training left."""
    system = trainer(pairs, tmp_path / "source", seed=7).system
    path = tmp_path / "source.safetensors"
    metadata = {"system": system.name, "config": system.config, "split": "train"}
    save_weights(path, system.state_dict(), metadata, torch.float32)
    return path


def command(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_begins_with_what_fits(pairs, source, tmp_path):
    theirs, wide = load(source, device="cpu").state_dict(), NETWORK | {"hfrm_width": 16}
    one = trainer(pairs, tmp_path / "run", network=wide, split="own")
    fresh = {name: tensor.clone() for name, tensor in one.system.state_dict().items()}
    said = one.begin_with(str(source))
    for name, tensor in one.system.state_dict().items():
        same = tensor.shape == theirs[name].shape
        assert torch.equal(tensor, (theirs if same else fresh)[name]), name
        assert torch.equal(one.ema[name], tensor), name
    assert "of another shape: high_enhance0." in said
    assert one.trained_on == "train + own"
    with pytest.raises(ValueError, match=r"init: no weight of .* fits this anlightendiff"):
        trainer(pairs, tmp_path / "other", system="anlightendiff", network={"widths": [4, 6]},
                stages=[STAGES[0] | {"losses": {"center": ["l1"]}}]).begin_with(str(source))  # fmt: skip


def test_begins_under_weight_normalisation(pairs, tmp_path):
    settings = {"system": "anlightendiff", "network": {"widths": [4, 6]}, "checkpoint_every": 1}
    stages = [STAGES[0] | {"losses": {"center": ["l1"]}}]
    first = trainer(pairs, tmp_path / "first", stages=stages, **settings)
    first.train_step()
    first.save()
    again = trainer(pairs, tmp_path / "again", stages=stages, seed=3, **settings)
    said = again.begin_with(str(tmp_path / "first"))
    assert ";" not in said
    before, after = first.averaged().state_dict(), again.averaged().state_dict()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, atol=1e-6, rtol=1e-5)


def test_begins_with_a_file_that_says_too_little(tmp_path):
    """A published raw checkpoint of 8 inputs: what it sees is what the network to train sees."""
    torch.manual_seed(0)
    published = ExposureDiffusion(ExposureDiffusionConfig(width=4))
    torch.save({"netG": published.netG.state_dict()}, tmp_path / "SID_Pg.pth")
    torch.manual_seed(1)
    system = ExposureDiffusion(ExposureDiffusionConfig(width=4))
    said = take_weights(system, load_source(str(tmp_path / "SID_Pg.pth"), system), "SID_Pg")
    assert ";" not in said
    for name, tensor in published.state_dict().items():
        assert torch.equal(system.state_dict()[name], tensor)
    (tmp_path / "SID_Pg.pth").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="damaged"):
        load_source(str(tmp_path / "SID_Pg.pth"), system)


def test_frozen_weights_stay(pairs, tmp_path):
    one = trainer(pairs, tmp_path, freeze=["Unet.mid", "Unet.conv_in.weight"])
    before = {name: p.detach().clone() for name, p in one.system.named_parameters()}
    one.train_step()
    kept = {name for name, p in one.system.named_parameters() if torch.equal(p, before[name])}
    frozen = {name for name in before if name.startswith("Unet.mid.")} | {"Unet.conv_in.weight"}
    assert frozen <= kept
    assert "Unet.conv_in.bias" not in kept
    # a system whose stages say what they train
    settings = {"system": "anlightendiff", "network": {"widths": [4, 6]}, "freeze": ["encoder.mid_block1"]}
    one = trainer(pairs, tmp_path, stages=[STAGES[0] | {"losses": {"center": ["l1"]}}], **settings)
    before = {name: p.detach().clone() for name, p in one.system.encoder.named_parameters()}
    one.train_step()
    kept = {name for name, p in one.system.encoder.named_parameters() if torch.equal(p, before[name])}
    assert {name.split(".")[0] for name in kept} == {"mid_block1"}
    with pytest.raises(ValueError, match=r"freeze must name modules .* \(high_enhance0, .*got 'Une'"):
        trainer(pairs, tmp_path, freeze=["Une"])


def test_from_the_command_line(pairs, source, tmp_path):
    """--init, folders of any name, the union of several with a split of each; the files say what they come from."""
    data = pairs[0].low.parent.parent
    config = write_config(tmp_path / "tiny.yaml", network=NETWORK, stages=STAGES, log_every=1)
    sides = [tmp_path / name for name in ("dusk", "noon")]
    for side, name in zip(sides, ("low", "high"), strict=True):
        shutil.copytree(data / name, side)
    train = ("train", config, "--device", "cpu", "--init", source)
    code, said = command(*train, "--low", sides[0], "--high", sides[1], "-o", tmp_path / "run")
    assert code == 0, said
    assert "begins with" in said
    assert load(tmp_path / "run" / "last.pt", device="cpu").trained_on == "train + pictures without a split"
    again = (*train, "--low", sides[0], "--high", sides[1], "-o", tmp_path / "run")
    assert "begins with" not in command(*again)[1]
    told = json.loads(CliRunner().invoke(app, [*map(str, again), "--json"]).stdout)
    assert told["checkpoint"] == str(tmp_path / "run" / "last.pt")
    assert (told["finished"], told["iterations"], told["of"]) == (True, 2, 2)
    assert told["notes"] == ["going on after iteration 2 of 2"]
    assert command(*again, "-q") == (0, "")
    fresh = (*train, "--low", sides[0], "--high", sides[1], "-o", tmp_path / "fresh")
    assert command(*fresh, "-q") == (0, "")
    assert "log_every: 1" in command(*again, "-v")[1]
    assert command(*again, "-v", "-q")[0] == 2
    for number, name in (("689", "low"), ("690", "low"), ("689", "high"), ("690", "high")):
        (tmp_path / "lol" / "our485" / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(data / name / "0.png", tmp_path / "lol" / "our485" / name / f"{number}.png")
    both = ("--data", tmp_path / "lol", "--data", data, "--split", "heldout", "--split", "all")
    code, said = command(*train, *both, "-o", tmp_path / "union")
    assert code == 0, said
    state = torch.load(tmp_path / "union" / "last.pt", weights_only=True)
    assert (state["pairs"], state["split"], state["config"]["split"]) == (
        4,
        "train + heldout + all",
        ["heldout", "all"],
    )
    for wrong, message in (
        (("--data", data, "--low", sides[0]), "name the pairs once"),
        (("--low", sides[0]), "name the pairs once"),
        ((*both, "--split", "all"), "one for each of the 2, got 3"),
        ((), "no data: give --data"),
    ):
        code, said = command(*train, *wrong, "-o", tmp_path / "wrong")
        assert (code, message in said) == (2, True), said


def test_configurations_can_be_seen():
    code, said = command("train", "--list")
    assert code == 0
    assert "diffll_published: DiffLL as the published code trains it" in said
    shown = CliRunner().invoke(app, ["train", "diffll_published", "--show", "seed=5"]).output
    values = yaml.safe_load(shown)
    assert (values["seed"], values["network"]["beta_schedule"]) == (5, "linear")
    assert from_dict(values).stages == load_config("diffll_published").stages
    assert json.loads(CliRunner().invoke(app, ["train", "diffll_published", "--show", "--json"]).output)["seed"] == 0
    listed = json.loads(CliRunner().invoke(app, ["train", "--list", "--json"]).output)
    assert "diffll_published" in [one["name"] for one in listed]
    assert command("train")[0] == 2


def test_a_model_trained_on_several():
    method = Method("two", lambda low, seed: low, trained_on="train + heldout")
    assert "all of our485 included" in seen_in_training(method, "our485")
    assert seen_in_training(method, "eval15") is None


class Scores:
    """A validator that gives the next of some numbers."""

    def __init__(self, better, values):
        self.better, self._values = {"depth": better}, iter(values)

    def __call__(self, system, sheet):
        return {"depth": next(self._values)}

    def sentence(self, scores):
        return ""


@pytest.mark.parametrize(("better", "best"), [("higher", 3), ("lower", 1), ("one", 2)])
def test_the_best_is_kept(pairs, tmp_path, better, best):
    """Of the scores after iterations 1, 2, 3, before and after an interruption."""
    scores = {1: 0.2, 2: 0.8, 3: 1.5}
    config = from_dict({"network": NETWORK, "stages": [STAGES[0] | {"iterations": 3}], "validate_every": 1,
                        "best": "depth"})  # fmt: skip
    first = Trainer(config, PairBatches(pairs), tmp_path, validator=Scores(better, [0.2, 0.8]))
    first.run(stop=lambda: first.step == 2)
    # the last iteration before a stop is not validated
    again = Trainer(config, PairBatches(pairs), tmp_path, validator=Scores(better, [scores[2], scores[3]]))
    assert again.resume()
    again.run()
    assert torch.load(tmp_path / "best.pt", weights_only=True)["step"] == best
    assert load(tmp_path / "best.pt", device="cpu").config == again.system.config
    with pytest.raises(ValueError, match="best must be one of depth, got 'psnr'"):
        Trainer(from_dict({"network": NETWORK, "stages": STAGES, "validate_every": 1, "best": "psnr"}),
                PairBatches(pairs), tmp_path, validator=Scores("higher", []))  # fmt: skip


@pytest.mark.skipif(find_spec("lpips") is None, reason="lpips is in the extra [lpips]")
def test_lpips_in_validation(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ValueError, match=r"validate_lpips: no AlexNet weights on this disk"):
        Validator(pairs, 1, lpips=True)
    (tmp_path / "checkpoints").mkdir()
    torch.save(random_state("alex"), tmp_path / "checkpoints" / "alexnet-owt-7be5be79.pth")
    monkeypatch.setattr("lowlight.metrics.lpips.checked_hash", lambda path: "0" * 64)
    validator = Validator(pairs, 2, lpips=True)
    system = trainer(pairs, tmp_path / "run").averaged()
    scores = validator(system, tmp_path / "sheet.png")
    assert list(scores) == list(validator.better)
    expected = 0.8 * (1 - scores["lpips"]) + 0.1 * scores["ssim_grey"] + 0.1 * scores["psnr"]
    assert scores["score"] == pytest.approx(expected)
    assert scores["lpips"] > 0
    assert better_than(0.1, 0.2, validator.better["lpips_gt_mean"])


def test_validation_has_the_columns_of_evaluate(pairs, tmp_path):
    config = from_dict({"network": NETWORK, "stages": STAGES, "validate_every": 1, "best": "saturation"})
    one = Trainer(config, PairBatches(pairs), tmp_path, validator=Validator(pairs, 1))
    one.run()
    row = next(csv.DictReader((tmp_path / "validation.csv").open()))
    assert {"psnr", "psnr_gt_mean", "ssim_rgb", "ssim_grey_ls_gain", "saturation"} <= row.keys()
    assert all(row.values())
    assert (tmp_path / "best.pt").is_file()
