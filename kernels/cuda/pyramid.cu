// Laplacian blend of the difference of two crops, in linear light (kernels/pyramid.py says why one
// pyramid is enough). Three levels are five launches: pyramid_base, pyramid_down twice, blend_up,
// blend_codes.
//
// A level is float4: the difference's three channels and the mask, so that reduction and erosion
// share one reading. Bytes at S x S in units of S*S: base 12 + 12 + 4 read, 16 written; down 16 and
// 4 read, 4 and 1 written; up 5 read, 4 written; codes 16 + 4 + 4 + 12 read, 12 written: 126*S*S.
// S = 256: 8.3 MB, 2.8 us at 3 TB/s. All of it fits the L2 cache of the named GPUs, and five launches
// take longer: what is left to gain is a graph, not bytes.
#include "planes.cuh"

// Linear light of `after` minus that of `before`, and the mask, of a box. Values of `before` and
// `after` come `step` apart, rows `row` apart.
extern "C" __global__ void __launch_bounds__(256)
    pyramid_base(const float* before, int before_row, const float* after, int after_row,
                 int after_step, const float* mask, int mask_row, int mask_step, const float* curve,
                 float4* out, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    const float* old = before + (long long)y * before_row + 3 * x;
    const float* now = after + (long long)y * after_row + after_step * x;
    float4 texel;
    texel.x = light_of(curve, now[0]) - light_of(curve, old[0]);
    texel.y = light_of(curve, now[1]) - light_of(curve, old[1]);
    texel.z = light_of(curve, now[2]) - light_of(curve, old[2]);
    texel.w = mask[(long long)y * mask_row + mask_step * x];
    out[(long long)y * width + x] = texel;
}

#define SIDE 35  // of the tile that 16 x 16 coarse samples need: 2 * 16 + 3

// The next level: every second sample after the binomial filter 1 4 6 4 1 in both directions; of the
// mask no more than four times the least in reach.
extern "C" __global__ void __launch_bounds__(256)
    pyramid_down(const float4* fine, int fine_width, int fine_height, float4* out, int width,
                 int height) {
    __shared__ float4 tile[SIDE][SIDE];
    int left = 2 * blockIdx.x * 16 - 2, top = 2 * blockIdx.y * 16 - 2;
    for (int at = threadIdx.y * 16 + threadIdx.x; at < SIDE * SIDE; at += 256) {
        int i = at % SIDE, j = at / SIDE;
        int x = mirrored(left + i, fine_width), y = mirrored(top + j, fine_height);
        tile[j][i] = fine[(long long)y * fine_width + x];
    }
    __syncthreads();
    int x = blockIdx.x * 16 + threadIdx.x, y = blockIdx.y * 16 + threadIdx.y;
    if (x >= width || y >= height) return;
    const float taps[5] = {0.0625f, 0.25f, 0.375f, 0.25f, 0.0625f};
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    float least = 1e30f;
#pragma unroll
    for (int j = 0; j < 5; ++j)
#pragma unroll
        for (int i = 0; i < 5; ++i) {
            float4 texel = tile[2 * threadIdx.y + j][2 * threadIdx.x + i];
            float share = taps[i] * taps[j];
            sum.x = fmaf(texel.x, share, sum.x);
            sum.y = fmaf(texel.y, share, sum.y);
            sum.z = fmaf(texel.z, share, sum.z);
            sum.w = fmaf(texel.w, share, sum.w);
            least = fminf(least, texel.w);
        }
    sum.w = fminf(sum.w, 4.0f * least);
    out[(long long)y * width + x] = sum;
}

// Which coarse samples make a fine one, and with what weights: 1 6 1 on old samples, 4 4 between
// them. Before the first the second repeats, after the last the last (as OpenCV does).
struct Between {
    int at[3];
    float share[3];
};

__device__ inline Between between(int fine, int size) {
    int k = fine >> 1, next = k + 1 < size ? k + 1 : size - 1;
    int last = k > 0 ? k - 1 : size > 1 ? 1 : 0;
    Between found;
    found.at[0] = last;
    found.at[1] = k;
    found.at[2] = next;
    bool odd = fine & 1;
    found.share[0] = odd ? 0.0f : 0.125f;
    found.share[1] = odd ? 0.5f : 0.75f;
    found.share[2] = odd ? 0.5f : 0.125f;
    return found;
}

// The blend of one level: its own detail under its mask, and what the coarser levels bring. The
// coarsest level has no detail: without a `total` it brings itself under its mask.
__device__ inline float4 blended(const float4* fine, const float4* coarse, const float4* total,
                                 int x, int y, int width, int coarse_width, int coarse_height) {
    Between across = between(x, coarse_width), down = between(y, coarse_height);
    float4 low = make_float4(0.0f, 0.0f, 0.0f, 0.0f), brought = low;
#pragma unroll
    for (int j = 0; j < 3; ++j)
#pragma unroll
        for (int i = 0; i < 3; ++i) {
            float share = across.share[i] * down.share[j];
            long long at = (long long)down.at[j] * coarse_width + across.at[i];
            float4 texel = coarse[at], sum;
            if (total) {
                sum = total[at];
            } else {
                sum.x = texel.x * texel.w;
                sum.y = texel.y * texel.w;
                sum.z = texel.z * texel.w;
            }
            low.x = fmaf(texel.x, share, low.x);
            low.y = fmaf(texel.y, share, low.y);
            low.z = fmaf(texel.z, share, low.z);
            brought.x = fmaf(sum.x, share, brought.x);
            brought.y = fmaf(sum.y, share, brought.y);
            brought.z = fmaf(sum.z, share, brought.z);
        }
    float4 texel = fine[(long long)y * width + x];
    brought.x += (texel.x - low.x) * texel.w;
    brought.y += (texel.y - low.y) * texel.w;
    brought.z += (texel.z - low.z) * texel.w;
    brought.w = texel.w;
    return brought;
}

extern "C" __global__ void __launch_bounds__(256)
    blend_up(const float4* fine, const float4* coarse, int coarse_width, int coarse_height,
             const float4* total, float4* out, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    out[(long long)y * width + x] =
        blended(fine, coarse, total, x, y, width, coarse_width, coarse_height);
}

// The finest level, and what it changes in the codes of the planes: light back to the signal, minus
// the signal that was, by the matrix [planes, 3] (its fourth column is not used).
extern "C" __global__ void __launch_bounds__(256)
    blend_codes(const float4* fine, const float4* coarse, int coarse_width, int coarse_height,
                const float4* total, const float* before, int before_row, const float* curve,
                const float* back, Matrix matrix, int planes, float* out, int row, long long plane,
                int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    float4 brought = blended(fine, coarse, total, x, y, width, coarse_width, coarse_height);
    float bring[3] = {brought.x, brought.y, brought.z}, change[3];
    const float* old = before + (long long)y * before_row + 3 * x;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        float value = signal_of(back, light_of(curve, old[k]) + bring[k]) - old[k];
        // Tables round: where nothing is brought, nothing may change.
        change[k] = bring[k] != 0.0f ? value : 0.0f;
    }
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const float* m = matrix.rows[k];
        float code = fmaf(change[2], m[2], fmaf(change[1], m[1], change[0] * m[0]));
        if (k < planes) out[k * plane + (long long)y * row + x] = code;
    }
}
