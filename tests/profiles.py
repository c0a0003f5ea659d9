"""Colour profiles, made from what their standards say."""

import struct

import numpy as np

# Columns are XYZ (D50) of red, green and blue.
SRGB = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
SPACES = {
    "ProPhoto": (
        np.array([[0.7976749, 0.1351917, 0.0313534], [0.2880402, 0.7118741, 0.0000857], [0.0, 0.0, 0.8252100]]),
        1.8,
    ),
    "Adobe RGB": (
        np.array(
            [[0.6097559, 0.2052401, 0.149224], [0.3111242, 0.625656, 0.0632197], [0.0194811, 0.0608902, 0.7448387]]
        ),
        2.2,
    ),
    "Display P3": (
        np.array(
            [[0.5151187, 0.2919778, 0.1571035], [0.2411892, 0.6922441, 0.0665668], [-0.0010505, 0.0418791, 0.784071]]
        ),
        2.2,
    ),
}
D50 = np.array([0.9642, 1.0, 0.8249])


def profile(matrix: np.ndarray, gamma: float, tags: dict[bytes, bytes] | None = None) -> bytes:
    """An ICC profile, version 2, of three colours and one curve."""

    def xyz(values: np.ndarray) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(78)
    content = {b"desc": text, b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz(D50)}
    content |= {b"rXYZ": xyz(matrix[:, 0]), b"gXYZ": xyz(matrix[:, 1]), b"bXYZ": xyz(matrix[:, 2])}
    content |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve, **(tags or {})}
    at, table, data = 132 + 12 * len(content), struct.pack(">I", len(content)), b""
    for name, body in content.items():
        padded = body + bytes(-len(body) % 4)
        table += name + struct.pack(">II", at + len(data), len(body))
        data += padded
    head = struct.pack(">I4sI4s4s4s", at + len(data), b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += b"".join(struct.pack(">i", round(v * 65536)) for v in D50) + bytes(48)
    return head + table + data
