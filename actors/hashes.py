"""A name for a picture's content, to compare frames across processes, chunkings and files."""

from __future__ import annotations

import hashlib

import numpy as np

from kernels.picture import Picture


def frame_hash(picture: Picture) -> str:
    """32 hex digits (BLAKE2b, 16 bytes) of the planes' samples, row by row without padding.

    Size, depth and subsampling are part of the hash; colour tags are not, since they change no
    sample. Equal for a frame as handed to the encoder and as decoded from a lossless output.
    """
    fmt = picture.format
    digest = hashlib.blake2b(digest_size=16)
    shape = (fmt.width, fmt.height, fmt.depth, fmt.planes, fmt.sub_x, fmt.sub_y)
    digest.update(",".join(map(str, shape)).encode())
    for plane in picture.planes:
        digest.update(np.ascontiguousarray(plane).data)
    return digest.hexdigest()
