import numpy as np
import pytest

from kernels import colour
from kernels.picture import PictureFormat

TRANSFERS = ["bt709", "srgb", "linear", "pq", "hlg"]


@pytest.mark.parametrize(
    ("options", "codes", "rgb"),
    [
        ({}, (16, 128, 128), (0, 0, 0)),
        ({}, (235, 128, 128), (1, 1, 1)),
        ({"depth": 10}, (940, 512, 512), (1, 1, 1)),
        ({"full_range": True}, (255, 128, 128), (1, 1, 1)),
        # The 100 % primaries as tabled for BT.601 and BT.709 at 8 bits.
        ({"matrix": "bt601"}, (81, 90, 240), (1, 0, 0)),
        ({"matrix": "bt601"}, (145, 54, 34), (0, 1, 0)),
        ({"matrix": "bt601"}, (41, 240, 110), (0, 0, 1)),
        ({"matrix": "bt709"}, (63, 102, 240), (1, 0, 0)),
        ({"matrix": "bt709"}, (173, 42, 26), (0, 1, 0)),
        ({"matrix": "bt709"}, (32, 240, 118), (0, 0, 1)),
        ({"matrix": "bt2020", "depth": 10}, (294, 387, 960), (1, 0, 0)),
        ({"matrix": "rgb", "full_range": True}, (20, 30, 10), (10 / 255, 20 / 255, 30 / 255)),
    ],
)
def test_known_codes(options, codes, rgb):
    fmt = PictureFormat(width=2, height=2, **options)
    found = colour.decode_matrix(fmt) @ np.array([*codes, 1.0])
    step = 2.0 / (1 << fmt.depth)
    assert found == pytest.approx(np.array(rgb, float), abs=1.5 * step)


def test_encode_undoes_decode(options):
    fmt = PictureFormat(width=2, height=2, **options)
    decode = colour.decode_matrix(fmt)[:, :-1]
    change = np.array([0.1, 0.1, 0.1]) if fmt.planes == 1 else np.array([0.1, -0.2, 0.3])
    assert decode @ (colour.encode_matrix(fmt) @ change) == pytest.approx(change)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_curves_rise_from_black_to_white_and_back(transfer):
    signal = np.linspace(0, 1, 4001)
    light = colour.to_linear(signal, transfer)
    assert light[[0, -1]] == pytest.approx([0, 1], abs=1e-7)
    assert (np.diff(light) > 0).all()
    assert colour.from_linear(light, transfer) == pytest.approx(signal, abs=1e-6)


@pytest.mark.parametrize(
    ("transfer", "signal", "light"),
    [
        ("srgb", 0.5, 0.21404),
        ("bt709", 0.5, 0.25959),
        ("pq", 0.508078, 0.01),  # 100 cd/m2
        ("hlg", 0.5, 1 / 12),
        ("hlg", 0.75, 0.26496),
    ],
)
def test_curves_at_known_points(transfer, signal, light):
    assert colour.to_linear(np.array([signal]), transfer)[0] == pytest.approx(light, rel=1e-3)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_tables_keep_near_the_curves(transfer):
    tables = colour.TransferTables(transfer)
    signal = np.linspace(0, 1, 10_001).astype(np.float32)
    exact = colour.to_linear(signal.astype(np.float64), transfer)
    assert np.abs(tables.to_linear(signal) - exact).max() < 1e-4
    back = tables.from_linear(exact.astype(np.float32))
    assert np.abs(back - signal).max() < 2e-4
    assert tables.from_linear(np.array([-1.0, 2.0], np.float32)) == pytest.approx(
        [0.0, 1.0], abs=1e-6
    )
