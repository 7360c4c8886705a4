"""The CUDA back end: kernels in ``*.cu``, and what launches them (docs/gpu.md).

Importing this package needs no GPU and no GPU package.
"""
