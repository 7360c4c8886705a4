// Box means of a plane: what shrinks by more than 1.5 is read from these.
//
// Bytes at a region of W x H samples of b bytes: b*W*H read once, 4*W*H/(kx*ky) written. A face of
// 1000 x 1000 pixels in 8 bits of 4:2:0 into a crop of 256 (factors 3): 1.5 MB read, 0.67 MB
// written, 0.7 us at 3 TB/s. One thread makes one cell: neighbours in a warp read neighbouring runs
// of kx samples, from the texture cache after the first.
#include "sampling.cuh"

// Cells [x0, x0 + width) x [y0, y0 + height), counted from the plane's first sample; `low` is the
// sample that the texture begins with. Beyond the texture its address mode decides.
template <class T>
__device__ inline void cells(cudaTextureObject_t texture, int low_x, int low_y, int kx, int ky,
                             float share, int x0, int y0, int width, int height, float* out,
                             int row) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, j = blockIdx.y * blockDim.y + threadIdx.y;
    if (i >= width || j >= height) return;
    Single<T> plane = {texture};
    int x = (x0 + i) * kx - low_x, y = (y0 + j) * ky - low_y;
    float total = 0.0f;
    for (int dy = 0; dy < ky; ++dy)
        for (int dx = 0; dx < kx; ++dx) total += plane.at(x + dx, y + dy);
    out[(long long)j * row + i] = total * share;
}

// The same of both channels, each into rows of its own.
template <class T>
__device__ inline void cell_pairs(cudaTextureObject_t texture, int low_x, int low_y, int kx, int ky,
                                  float share, int x0, int y0, int width, int height, float* out,
                                  float* other, int row) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, j = blockIdx.y * blockDim.y + threadIdx.y;
    if (i >= width || j >= height) return;
    int x = (x0 + i) * kx - low_x, y = (y0 + j) * ky - low_y;
    float first = 0.0f, second = 0.0f;
    for (int dy = 0; dy < ky; ++dy)
        for (int dx = 0; dx < kx; ++dx) {
            T pair = tex2D<T>(texture, (float)(x + dx) + 0.5f, (float)(y + dy) + 0.5f);
            first += (float)pair.x;
            second += (float)pair.y;
        }
    out[(long long)j * row + i] = first * share;
    other[(long long)j * row + i] = second * share;
}

#define CELLS(NAME, T)                                                                            \
    extern "C" __global__ void __launch_bounds__(256)                                             \
        NAME(cudaTextureObject_t texture, int low_x, int low_y, int kx, int ky, float share,      \
             int x0, int y0, int width, int height, float* out, int row) {                        \
        cells<T>(texture, low_x, low_y, kx, ky, share, x0, y0, width, height, out, row);          \
    }

#define CELL_PAIRS(NAME, T)                                                                       \
    extern "C" __global__ void __launch_bounds__(256)                                             \
        NAME(cudaTextureObject_t texture, int low_x, int low_y, int kx, int ky, float share,      \
             int x0, int y0, int width, int height, float* out, float* other, int row) {          \
        cell_pairs<T>(texture, low_x, low_y, kx, ky, share, x0, y0, width, height, out, other,    \
                      row);                                                                       \
    }

CELLS(cells8, Code8)
CELLS(cells16, Code16)
CELLS(cells_float, float)
CELL_PAIRS(cell_pairs8, uchar2)
CELL_PAIRS(cell_pairs16, ushort2)
