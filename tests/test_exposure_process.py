"""What ExposureDiffusion's chain is made of: the gain that fits an output to the truth, the ratios, the KL loss."""

import golden
import pytest
import torch

from lowlight.metrics.losses import kl_loss
from lowlight.systems.exposurediffusion.process import drawn_ratios, even_ratios, illuminance_gain


def test_correction_and_kl_loss():
    p, q = (0.9 * golden.uniform01(f"exposure/{name}", (1, 4, 8, 8)) for name in "pq")
    corrected = torch.from_numpy(golden.outputs("exposurediffusion")["illuminance_correct"])
    result = p * illuminance_gain(p, q)
    assert result.shape == corrected.shape
    assert (result - corrected).abs().max() <= 1e-6 * corrected.abs().max()
    assert kl_loss(p, q).item() == pytest.approx(golden.outputs("exposurediffusion")["kl_loss"].item(), rel=1e-6)


def test_gain_of_each_picture():
    p, g = torch.rand(3, 4, 5, 6, dtype=torch.float64) * 1.4 - 0.2, torch.rand(3, 4, 5, 6, dtype=torch.float64)
    g[:, :2] = 1
    p[2] = 0
    gains = illuminance_gain(p.requires_grad_(), g)
    for i in range(2):
        solution = torch.linalg.lstsq(p[i, 2:].detach().clamp(0, 1).reshape(-1, 1), g[i, 2:].reshape(-1, 1)).solution
        torch.testing.assert_close(gains[i].flatten().detach(), solution.flatten())
    assert gains[2] == 1
    gains.sum().backward()
    assert p.grad.isfinite().all()
    assert not p.grad[2].any()
    assert p.grad[0].any()


def test_kl_loss_gradients():
    x = torch.tensor([0.0, 0.1, 0.5, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    g = torch.tensor([0.5, 0.05, 0.4, 0.0, 0.9], dtype=torch.float64)
    torch.testing.assert_close(
        5 * kl_loss(x, g).detach(), 0.5 + 0.05 + 0.5 * (0.5 / 0.4 * x[0].new_ones(())).log() + 0.4
    )
    kl_loss(x, g).backward()
    # sign of the difference, or ln(x / g)
    expected = torch.tensor([-1.0, 1.0, torch.tensor(1.25, dtype=torch.float64).log(), 1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(5 * x.grad, expected)


def test_ratios():
    assert even_ratios(100.0, 1) == [1, 100]
    assert even_ratios(100.0, 3) == [1, 34, 67, 100]
    steps = torch.stack(even_ratios(torch.tensor([100.0, 40.0]), 3)[1:], dim=1)
    torch.testing.assert_close(steps, torch.tensor([[34.0, 67.0, 100.0], [14.0, 27.0, 40.0]]))


def test_drawn_ratios():
    ratio = torch.tensor([5.9, 100.0, 300.0])
    seen = []
    for seed in range(300):
        rows = torch.stack(drawn_ratios(ratio, 3, torch.tensor([seed, seed + 1000, seed + 2000])), dim=1)
        assert rows.shape == (3, 4)
        assert (rows[:, 0] == 1).all()
        torch.testing.assert_close(rows[:, 3], ratio.double())
        assert (rows.diff(dim=1) > 0).all()
        assert (rows[:, 1:3] == rows[:, 1:3].round()).all()
        assert (rows[:, 1] >= 2).all()
        assert (rows[:, 2] <= torch.tensor([4, 99, 299])).all()
        seen.append(rows)
    seen = torch.stack(seen)
    assert {tuple(r) for r in seen[:, 0, 1:3].tolist()} == {(2, 3), (2, 4), (3, 4)}
    # two of 98 integers: the mean of all is 50.5, that of the smaller one 2 + 97 / 3
    assert abs(seen[:, 1, 1:3].mean() - 50.5) < 5
    assert abs(seen[:, 1, 1].mean() - (1 + 99 / 3)) < 6
    alone = drawn_ratios(ratio[1:2], 3, 1007)
    assert torch.equal(torch.stack(alone, dim=1)[0], seen[7, 1])
    # every integer there is, and none
    assert torch.stack(drawn_ratios(torch.tensor([5.0]), 4, 0)).flatten().tolist() == [1, 2, 3, 4, 5]
    assert torch.stack(drawn_ratios(torch.tensor([1.5]), 1, 0)).flatten().tolist() == [1, 1.5]
    with pytest.raises(ValueError, match=r"ratio must be at least 4 for 3 steps, got 3\.5"):
        drawn_ratios(torch.tensor([100.0, 3.5]), 3, 0)
