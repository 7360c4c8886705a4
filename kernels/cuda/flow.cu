// What a face's change was a frame ago, carried to where it belongs now and blended in: the motion
// look-up, the difference, its 3 x 3 mean, the weights and the new crop in one pass.
//
// Bytes at a part of W x H: the change before and now 32*W*H, the original 12*W*H, the new change and
// crop 32*W*H; flow and weights are smaller. 76*W*H: 256 x 256: 5.0 MB, 1.7 us at 3 TB/s. The five
// steps one by one would move some 200*W*H. The tile's border costs 27 % more look-ups.
#include "motion.cuh"

#define TILE 16

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

// How far the change of the frame before, carried to where it belongs, differs from this frame's: of
// its 3 x 3 mean the means over k x k pixels (k divides 16), of the largest of three channels. The
// look-ups are those of `flow_blend`, made twice: keeping them would cost 32*W*H.
extern "C" __global__ void __launch_bounds__(TILE* TILE)
    flow_amounts(cudaTextureObject_t before, Small flow, const float4* change, int row, int k,
                 float part, float* amounts, int width, int height) {
    __shared__ float tile[3][TILE + 2][TILE + 2], means[3][TILE][TILE];
    int left = blockIdx.x * TILE - 1, top = blockIdx.y * TILE - 1;
    int thread = threadIdx.y * TILE + threadIdx.x;
    for (int at = thread; at < (TILE + 2) * (TILE + 2); at += TILE * TILE) {
        int i = at % (TILE + 2), j = at / (TILE + 2);
        int x = mirrored(left + i, width), y = mirrored(top + j, height);
        float4 old = carried(before, fmaf(enlarged(flow, 2, 0, x, y), flow.wide, (float)x),
                             fmaf(enlarged(flow, 2, 1, x, y), flow.high, (float)y));
        float4 now = change[(long long)y * row + x];
        tile[0][j][i] = old.x - now.x;
        tile[1][j][i] = old.y - now.y;
        tile[2][j][i] = old.z - now.z;
    }
    __syncthreads();
#pragma unroll
    for (int c = 0; c < 3; ++c) {
        float total = 0.0f;
#pragma unroll
        for (int j = 0; j < 3; ++j)
#pragma unroll
            for (int i = 0; i < 3; ++i) total += tile[c][threadIdx.y + j][threadIdx.x + i];
        means[c][threadIdx.y][threadIdx.x] = total * 0.11111111f;
    }
    __syncthreads();
    int side = TILE / k, i = threadIdx.x, j = threadIdx.y;
    int x = blockIdx.x * side + i, y = blockIdx.y * side + j;
    if (i >= side || j >= side || x >= width / k || y >= height / k) return;
    float largest = 0.0f;
#pragma unroll
    for (int c = 0; c < 3; ++c) {
        float total = 0.0f;
        for (int down = 0; down < k; ++down)
            for (int across = 0; across < k; ++across)
                total += means[c][j * k + down][i * k + across];
        largest = fmaxf(largest, fabsf(total));
    }
    amounts[(long long)y * (width / k) + x] = largest * part;
}
