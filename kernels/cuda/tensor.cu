// Pictures to a network's tensors and back: layout, colour order and normalisation in one pass.
//
// Bytes at n pictures of W x H: from float32 12*n*W*H read and 12*n*W*H written, from bytes 3 and
// 12. 64 crops of 256: 101 MB, 34 us at 3 TB/s (63 MB, 21 us from bytes). Done one after the other
// the three steps would move three times as much. A warp's writes are whole lines of a plane; its
// reads are 3 (or 4) consecutive floats a thread, whole lines after the three of a pixel.
#include "sampling.cuh"

// What becomes of each channel that is written: which one is read, times scale, plus bias.
struct Channels {
    float scale[3], bias[3];
    int from[3];
};

template <class T>
__device__ inline void pack(const T* pictures, long long picture, int row, int step, float* tensor,
                            int width, int height, const Channels& channels) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    int n = blockIdx.z;
    if (x >= width || y >= height) return;
    const T* pixel = pictures + n * picture + (long long)y * row + x * step;
    float value[3] = {(float)pixel[0], (float)pixel[1], (float)pixel[2]};
    long long plane = (long long)width * height, at = 3 * n * plane + (long long)y * width + x;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        // No array is indexed by what only the launch knows: it would leave the registers.
        int from = channels.from[k];
        float read = from == 0 ? value[0] : from == 1 ? value[1] : value[2];
        tensor[at + k * plane] = fmaf(read, channels.scale[k], channels.bias[k]);
    }
}

// [n, h, w, step] with rows and pictures so many values apart -> [n, 3, h, w].
extern "C" __global__ void __launch_bounds__(256)
    pack_floats(const float* pictures, long long picture, int row, int step, float* tensor,
                int width, int height, Channels channels) {
    pack(pictures, picture, row, step, tensor, width, height, channels);
}

extern "C" __global__ void __launch_bounds__(256)
    pack_bytes(const Code8* pictures, long long picture, int row, int step, float* tensor,
               int width, int height, Channels channels) {
    pack(pictures, picture, row, step, tensor, width, height, channels);
}

// [n, 3, h, w] -> three channels of [n, h, w, step], clipped to 0..1. Where `astray` is not null it
// becomes 1 if any value is not finite: clipped it would look like a colour. (All who write it write
// the same.)
extern "C" __global__ void __launch_bounds__(256)
    unpack_floats(const float* tensor, float* pictures, long long picture, int row, int step,
                  int width, int height, Channels channels, int* astray) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    int n = blockIdx.z;
    if (x >= width || y >= height) return;
    long long plane = (long long)width * height, at = 3 * n * plane + (long long)y * width + x;
    float* pixel = pictures + n * picture + (long long)y * row + x * step;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        float read = tensor[at + channels.from[k] * plane];
        if (astray && !(fabsf(read) <= 3.402823466e38f)) *astray = 1;
        pixel[k] = clamped(fmaf(read, channels.scale[k], channels.bias[k]), 0.0f, 1.0f);
    }
}
