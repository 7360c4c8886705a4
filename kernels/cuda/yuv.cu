// A box of a picture's pixels to R'G'B' or light, and back to its planes.
//
// Bytes at W x H in 4:2:0 of 8 bits: 1.5*W*H of codes and 12*W*H of float32, once each either way.
// 512 x 512: 3.5 MB, 1.2 us at 3 TB/s. The tables of the curve (256 KB each) stay in the L2 cache.
// On the way back a thread makes one chroma sample and the luma of its block, so that R'G'B' of a
// pixel is read by at most two threads.
#include "planes.cuh"

template <class T, class Chroma>
__device__ inline void decode(cudaTextureObject_t luma, const Chroma& chroma, const Map& map,
                              const Matrix& matrix, int low_x, int low_y, int mode,
                              const float* curve, int x0, int y0, int width, int height, float* out,
                              int row) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, j = blockIdx.y * blockDim.y + threadIdx.y;
    if (i >= width || j >= height) return;
    float codes[3] = {0.0f, 0.0f, 0.0f};
    codes[0] = Single<T>{luma}.at(x0 + i - low_x, y0 + j - low_y);
    if (mode != GRAY) chroma.linear_pair(aim(map, x0 + i, y0 + j), codes + 1);
    float* pixel = out + (long long)j * row + 3 * i;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        float value = signal(matrix, k, codes);
        pixel[k] = curve ? light_of(curve, value) : value;
    }
}

#define DECODE(NAME, T, CHROMA)                                                                   \
    extern "C" __global__ void __launch_bounds__(256)                                             \
        NAME(cudaTextureObject_t first, cudaTextureObject_t second, cudaTextureObject_t third,    \
             Map map, Matrix matrix, int low_x, int low_y, int mode, const float* curve, int x0,  \
             int y0, int width, int height, float* out, int row) {                                \
        decode<T>(first, CHROMA, map, matrix, low_x, low_y, mode, curve, x0, y0, width, height,   \
                  out, row);                                                                      \
    }

DECODE(decode_planar8, Code8, (Planar<Code8>{{second}, {third}}))
DECODE(decode_planar16, Code16, (Planar<Code16>{{second}, {third}}))
DECODE(decode_nv12, Code8, (Interleaved<uchar2>{second}))
DECODE(decode_p010, Code16, (Interleaved<ushort2>{second}))

// How blocks of luma and chroma samples lie: a block has 1 << sub_x by 1 << sub_y luma samples.
struct Blocks {
    int sub_x, sub_y, left, planes, top, dither;
};

template <class T>
__device__ inline void put(const Target& plane, int x, int y, float value, const Blocks& blocks) {
    float code = floorf(value + (blocks.dither ? threshold(x, y) : 0.5f));
    code = clamped(code, 0.0f, (float)blocks.top);
    *sample<T>(plane, x, y) = (T)((int)code << plane.shift);
}

__device__ inline float coded(const Matrix& matrix, int plane, const float* rgb) {
    const float* m = matrix.rows[plane];
    return fmaf(rgb[2], m[2], fmaf(rgb[1], m[1], fmaf(rgb[0], m[0], m[3])));
}

// R'G'B' of one pixel of the box; beyond it the edge pixels repeat.
__device__ inline void fetch(const float* rgb, int row, int i, int j, int width, int height,
                             const float* curve, float* out) {
    const float* pixel =
        rgb + (long long)within(j, 0, height - 1) * row + 3 * within(i, 0, width - 1);
#pragma unroll
    for (int k = 0; k < 3; ++k)
        out[k] = curve ? signal_of(curve, pixel[k]) : clamped(pixel[k], 0.0f, 1.0f);
}

template <class T>
__device__ inline void encode(const float* rgb, int row, const float* curve, const Matrix& matrix,
                              const Blocks& blocks, const Target& first, const Target& second,
                              const Target& third, int x0, int y0, int width, int height) {
    int wide = 1 << blocks.sub_x, high = 1 << blocks.sub_y;
    int i = (blockIdx.x * blockDim.x + threadIdx.x) * wide;
    int j = (blockIdx.y * blockDim.y + threadIdx.y) * high;
    if (i >= width || j >= height) return;
    float pixel[3], mean[3] = {0.0f, 0.0f, 0.0f}, total = 0.0f;
    // Chroma that sits on the left column of its block takes from the column before it too.
    bool before = blocks.left && blocks.sub_x == 1;
    for (int dy = 0; dy < high; ++dy)
        for (int dx = before ? -1 : 0; dx < wide; ++dx) {
            fetch(rgb, row, i + dx, j + dy, width, height, curve, pixel);
            float share = before && dx == 0 ? 2.0f : 1.0f;
            total += share;
#pragma unroll
            for (int k = 0; k < 3; ++k) mean[k] = fmaf(share, pixel[k], mean[k]);
            if (dx >= 0 && i + dx < width && j + dy < height)
                put<T>(first, x0 + i + dx, y0 + j + dy, coded(matrix, 0, pixel), blocks);
        }
    if (blocks.planes == 1) return;
    // Total is a power of two up to 16: 4:1:1 and 4:1:0 are the widest.
    float part = total == 16.0f ? 0.0625f
                 : total == 8.0f ? 0.125f
                 : total == 4.0f ? 0.25f
                 : total == 2.0f ? 0.5f
                                 : 1.0f;
#pragma unroll
    for (int k = 0; k < 3; ++k) mean[k] *= part;
    int x = (x0 + i) >> blocks.sub_x, y = (y0 + j) >> blocks.sub_y;
    put<T>(second, x, y, coded(matrix, 1, mean), blocks);
    put<T>(third, x, y, coded(matrix, 2, mean), blocks);
}

#define ENCODE(NAME, T)                                                                           \
    extern "C" __global__ void __launch_bounds__(256)                                             \
        NAME(const float* rgb, int row, const float* curve, Matrix matrix, Blocks blocks,         \
             Target first, Target second, Target third, int x0, int y0, int width, int height) {  \
        encode<T>(rgb, row, curve, matrix, blocks, first, second, third, x0, y0, width, height);  \
    }

ENCODE(encode8, Code8)
ENCODE(encode16, Code16)
