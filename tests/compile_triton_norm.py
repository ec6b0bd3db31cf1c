"""What compile_triton.py compiles of the normalisations."""

from lowlight_ext.kernels_triton import gate, layer_norm, norm, slabs, tiles

# tiles of contiguous pictures, and of channels_last ones
PLANES = {"LAST": 0, "PACK": 16, "CB": 1, "PB": 1024}
PIXELS = {"LAST": 1, "PACK": 16, "CB": 64, "PB": 16}
# of a whole group; of all channels of some pixels
SLAB = {"LAST": 0, "PACK": 16, "CB": 8, "PB": 128}
COLUMNS = {"LAST": 0, "PACK": 16, "CB": 64, "PB": 16}
BARE = {"weight_ptr": None, "bias_ptr": None}
SILU, MISH = {"ACT": 1}, {"ACT": 2, **BARE}
# no pictures
MERGE = {"LAST": 0, "PACK": 2, "ENTRIES": norm.ENTRIES}
NORM_CASES = {
    "gate": (gate.gate_kernel, {"PACK": 16, "ROWS": 1, "HALVES": 1024}),
    "gate backward": (gate.gate_backward_kernel, {"PACK": 16, "ROWS": 16, "HALVES": 64}),
    "slab silu": (slabs.slab_kernel, {**SILU, **SLAB}),
    "slab silu large": (slabs.slab_kernel, {**SILU, **SLAB, "PB": 256}),
    "slab mish": (slabs.slab_kernel, {**MISH, **PLANES}),
    "slab silu backward": (slabs.slab_backward_kernel, {**SILU, **SLAB}),
    "slab mish backward": (slabs.slab_backward_kernel, {**MISH, **PLANES, "plain_ptr": None, "product_ptr": None}),
    "moments": (norm.moments_kernel, {"ACT": 0, **PLANES}),
    "moments mish": (norm.moments_kernel, {"ACT": 2, **PIXELS}),
    "statistics": (norm.statistics_kernel, {**MERGE, "PB": 1024}),
    "normalise silu": (norm.normalise_kernel, {**SILU, **PLANES}),
    "normalise silu last": (norm.normalise_kernel, {**SILU, **PIXELS}),
    "normalise mish": (norm.normalise_kernel, {**MISH, **PLANES}),
    "sums silu": (norm.sums_kernel, {**SILU, **PIXELS}),
    "sums mish": (norm.sums_kernel, {**MISH, **PLANES}),
    "slopes": (norm.slopes_kernel, MERGE),
    "gradient silu": (norm.gradient_kernel, {**SILU, **PLANES}),
    "gradient mish": (norm.gradient_kernel, {**MISH, **PIXELS}),
    "parameters": (tiles.parameters_kernel, {"ROWS": 32, "CB": 32}),
    "layer": (layer_norm.layer_kernel, COLUMNS),
    "layer last": (layer_norm.layer_kernel, {**PIXELS, **BARE}),
    "layer wide": (layer_norm.wide_layer_kernel, PIXELS),
    "layer backward": (layer_norm.layer_backward_kernel, COLUMNS),
    "layer backward last": (layer_norm.layer_backward_kernel, PIXELS),
    "layer backward wide": (layer_norm.wide_layer_backward_kernel, PIXELS),
}
# pointers to numbers of the format that is computed in
TABLES = ("rows_ptr", "stats_ptr", "mean_ptr", "squares_ptr", "plain_ptr", "product_ptr", "slopes_ptr")
# numbers of a tile, of each of which one exponential is taken
EXPONENTIALS = {
    name: constants["CB"] * constants["PB"] for name, (_, constants) in NORM_CASES.items() if constants.get("ACT")
}
# a program has half the room for float64
LARGE = ("slab silu large",)


def norm_runs(dtypes):
    """(case, dtype, architecture, offsets beyond 32 bits): one of the half types a case, by turns."""
    halves = [dtype for dtype in dtypes if "float16" in dtype]
    for index, name in enumerate(NORM_CASES):
        skipped = (halves[index % 2], "float64" if name in LARGE else None)
        yield from ((name, dtype, 90, False) for dtype in dtypes if dtype not in skipped)
    yield from ((name, "float32", 90, True) for name in ("gate", "moments", "sums silu", "layer backward wide"))
    yield from ((name, "float16", 75, False) for name in ("slab silu", "gradient mish"))
