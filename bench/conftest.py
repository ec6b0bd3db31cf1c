"""Options of `pytest bench --benchmark-only`."""


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", choices=("cpu", "cuda"))
    parser.addoption("--shape", type=int, nargs=4, default=(1, 3, 400, 600), metavar=("B", "C", "H", "W"))
