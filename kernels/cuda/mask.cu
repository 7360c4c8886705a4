// Operations on masks of 0..1.
//
// Bytes at S x S: merging n masks reads 4*n*S*S and writes 4*S*S, ramp and border included; 3 of
// 256 x 256: 1.0 MB, 0.35 us at 3 TB/s. The seam band reads 4*S*S (its disc from the cache: 145
// reads a pixel at the usual width of 12) and writes 4*S*S: 0.5 MB, 0.17 us; at 256 x 256 its 9.5 M
// cached reads cost more than that, some 3 us.
#include "sampling.cuh"

enum { LEAST = 0, PRODUCT = 1 };

// The least or the product of up to four masks (null: not there), then (value - low) * scale clipped
// to 0..1, and zero on the outermost pixels where `border` says so. It is written `row` values from
// row to row and `step` from pixel to pixel, so that it may be a channel of a crop, or one of several
// pictures that interleave. `held`: what is there already is a fifth mask.
extern "C" __global__ void __launch_bounds__(256)
    merge_masks(const float* a, const float* b, const float* c, const float* d, int how, float low,
                float scale, int border, int held, float* out, int row, int step, int width,
                int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    long long at = (long long)y * width + x;
    float* target = out + (long long)y * row + x * step;
    const float* masks[4] = {a, b, c, d};
    float value = held ? *target : 1.0f;
#pragma unroll
    for (int k = 0; k < 4; ++k)
        if (masks[k]) value = how == LEAST ? fminf(value, masks[k][at]) : value * masks[k][at];
    value = clamped((value - low) * scale, 0.0f, 1.0f);
    if (border && (x == 0 || y == 0 || x == width - 1 || y == height - 1)) value = 0.0f;
    *target = value;
}

// 1 where a disc holds both what is above 1/2 and what is not, else 0. The disc's row j covers
// columns [spans[2 j], spans[2 j + 1]) about its middle; what is beyond the mask does not count.
extern "C" __global__ void __launch_bounds__(256)
    seam_band(const float* mask, const int* spans, int rows, float* out, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    int above = 0, below = 0;
    for (int j = 0; j < rows; ++j) {
        int line = y + j - rows / 2;
        if (line < 0 || line >= height) continue;
        int first = within(x + spans[2 * j], 0, width), last = within(x + spans[2 * j + 1], 0, width);
        for (int i = first; i < last; ++i) {
            int whole = mask[(long long)line * width + i] > 0.5f;
            above |= whole;
            below |= !whole;
        }
    }
    out[(long long)y * width + x] = above && below ? 1.0f : 0.0f;
}
