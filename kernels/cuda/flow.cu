// What a face's change was a frame ago, carried to where it belongs now and blended in: the motion
// look-up, the difference, its 3 x 3 mean, the weights and the new crop in one pass.
//
// Bytes at a part of W x H: the change before and now 32*W*H, the original 12*W*H, the new change and
// crop 32*W*H; flow and weights are smaller. 76*W*H: 256 x 256: 5.0 MB, 1.7 us at 3 TB/s. The five
// steps one by one would move some 200*W*H. The tile's border costs 27 % more look-ups.
#include "sampling.cuh"

#define TILE 16

// A small picture [height, width, channels] and how many of its pixels lie on one of the part.
struct Small {
    const float* base;
    int width, height;
    float across, down;
    float wide, high;  // the part's pixels to one of its own
};

__device__ inline float enlarged(const Small& picture, int channels, int channel, int x, int y) {
    float u = clamped(fmaf((float)x + 0.5f, picture.across, -0.5f), 0.0f, (float)(picture.width - 1));
    float v = clamped(fmaf((float)y + 0.5f, picture.down, -0.5f), 0.0f, (float)(picture.height - 1));
    int i = (int)u, j = (int)v;
    int right = i + 1 < picture.width ? i + 1 : i, lower = j + 1 < picture.height ? j + 1 : j;
    const float* one = picture.base + (long long)j * picture.width * channels + channel;
    const float* two = picture.base + (long long)lower * picture.width * channels + channel;
    float a = mixed(one[i * channels], one[right * channels], u - (float)i);
    float b = mixed(two[i * channels], two[right * channels], u - (float)i);
    return mixed(a, b, v - (float)j);
}

__device__ inline float4 carried(cudaTextureObject_t before, float x, float y) {
    x = clamped(x, -8192.0f, 8192.0f);
    y = clamped(y, -8192.0f, 8192.0f);
    float whole_x = floorf(x), whole_y = floorf(y), wx[4], wy[4];
    cubic_weights(x - whole_x, wx);
    cubic_weights(y - whole_y, wy);
    float4 total = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    // Unrolled, 16 texels of four values at once are more than the registers hold (sm_80 spilled).
#pragma unroll 1
    for (int j = 0; j < 4; ++j) {
        // And an array with an index that is not known would not lie in registers.
        float down = j == 0 ? wy[0] : j == 1 ? wy[1] : j == 2 ? wy[2] : wy[3];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float4 texel = tex2D<float4>(before, whole_x + (float)i - 0.5f, whole_y + (float)j - 0.5f);
            float share = wx[i] * down;
            total.x = fmaf(texel.x, share, total.x);
            total.y = fmaf(texel.y, share, total.y);
            total.z = fmaf(texel.z, share, total.z);
            total.w = fmaf(texel.w, share, total.w);
        }
    }
    return total;
}

// `before`: the part's change of the frame before, zero beyond. `flow`: of two channels, in its own
// pixels. Rows of `change`, `original`, `settled` and `crop` are `row` pixels apart and begin with
// the part's first.
extern "C" __global__ void __launch_bounds__(TILE* TILE)
    flow_blend(cudaTextureObject_t before, Small flow, Small weight, Small edge,
               const float4* change, const float* original, float4* settled, float4* crop, int row,
               int width, int height) {
    __shared__ float4 tile[TILE + 2][TILE + 2];
    int left = blockIdx.x * TILE - 1, top = blockIdx.y * TILE - 1;
    for (int at = threadIdx.y * TILE + threadIdx.x; at < (TILE + 2) * (TILE + 2); at += TILE * TILE) {
        int i = at % (TILE + 2), j = at / (TILE + 2);
        // Beyond the part the mean mirrors it.
        int x = mirrored(left + i, width);
        int y = mirrored(top + j, height);
        float4 old = carried(before, fmaf(enlarged(flow, 2, 0, x, y), flow.wide, (float)x),
                             fmaf(enlarged(flow, 2, 1, x, y), flow.high, (float)y));
        float4 now = change[(long long)y * row + x];
        tile[j][i] = make_float4(old.x - now.x, old.y - now.y, old.z - now.z, old.w - now.w);
    }
    __syncthreads();
    int x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
    if (x >= width || y >= height) return;
    float4 mean = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
    for (int j = 0; j < 3; ++j)
#pragma unroll
        for (int i = 0; i < 3; ++i) {
            float4 each = tile[threadIdx.y + j][threadIdx.x + i];
            mean.x += each.x;
            mean.y += each.y;
            mean.z += each.z;
            mean.w += each.w;
        }
    float share = enlarged(weight, 1, 0, x, y) * 0.11111111f;
    float rim = enlarged(edge, 1, 0, x, y) * 0.11111111f;
    long long at = (long long)y * row + x;
    float4 now = change[at];
    now.x = fmaf(mean.x, share, now.x);
    now.y = fmaf(mean.y, share, now.y);
    now.z = fmaf(mean.z, share, now.z);
    now.w = fmaf(mean.w, rim, now.w);
    settled[at] = now;
    const float* own = original + 3 * at;
    crop[at] = make_float4(clamped(now.x + own[0], 0.0f, 1.0f), clamped(now.y + own[1], 0.0f, 1.0f),
                           clamped(now.z + own[2], 0.0f, 1.0f), clamped(now.w, 0.0f, 1.0f));
}
