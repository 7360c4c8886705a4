// Gain and bias in linear light, under a mask, in place.
//
// Bytes at S x S of float4 (R'G'B' and mask): 16*S*S read, 16*S*S written where the mask is not zero.
// 256 x 256: 2.1 MB, 0.7 us at 3 TB/s.
#include "planes.cuh"

struct Grade {
    float gain[3], bias[3];
};

// R'G'B' of [h, w, 4] whose fourth channel is the mask; the share of a pixel is four times its mask.
extern "C" __global__ void __launch_bounds__(256)
    grade(float4* crop, Grade how, const float* curve, const float* back, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    float4 pixel = crop[(long long)y * width + x];
    if (!(pixel.w > 0.0f)) return;
    float share = fminf(4.0f * pixel.w, 1.0f);
    float value[3] = {pixel.x, pixel.y, pixel.z};
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        float light = fmaf(light_of(curve, value[k]), how.gain[k], how.bias[k]);
        value[k] = fmaf(share, signal_of(back, light) - value[k], value[k]);
    }
    crop[(long long)y * width + x] = make_float4(value[0], value[1], value[2], pixel.w);
}
