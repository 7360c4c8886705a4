// What the temporal filters look at: small luma, small masks, the change that a swapper made, and the
// moments of colour.
//
// Bytes at a crop of S x S: `look` reads 16*S*S (12*S*S without a mask) and writes next to nothing;
// 256 x 256 by 2: 1.1 MB, 0.4 us at 3 TB/s. `colour_moments` reads 28*S*S, 1.8 MB, 0.6 us, and its
// two tables where they are needed; what it writes is 52 bytes for each 64 x 64 pixels.
#include "planes.cuh"

#define TILE 16

// Luma 0..255 (BT.709 weights) of means of k x k pixels of R'G'B', and where `mask` is not null the
// means of the fourth channel. `part` is 1 / (k * k). A pixel has `step` values, a row `row`; the
// luma's rows are `luma_row` bytes apart.
extern "C" __global__ void __launch_bounds__(256)
    look(const float* pixels, int row, int step, int k, float part, unsigned char* luma, int luma_row,
         float* mask, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    float red = 0.0f, green = 0.0f, blue = 0.0f, share = 0.0f;
    for (int j = 0; j < k; ++j)
        for (int i = 0; i < k; ++i) {
            const float* pixel = pixels + (long long)(y * k + j) * row + (x * k + i) * step;
            red += pixel[0];
            green += pixel[1];
            blue += pixel[2];
            if (mask) share += pixel[3];
        }
    float value = fmaf(blue * part, 0.0722f * 255.0f,
                       fmaf(green * part, 0.7152f * 255.0f, red * part * (0.2126f * 255.0f)));
    luma[(long long)y * luma_row + x] = (unsigned char)rintf(clamped(value, 0.0f, 255.0f));
    if (mask) mask[(long long)y * width + x] = share * part;
}

// R'G'B' of a crop [h, w, 4] minus the original's [h, w, 3], and the crop's mask, twice; and of each
// block the box (left, top, right, bottom) of the mask above zero, all its edges 0 where there is none.
extern "C" __global__ void __launch_bounds__(TILE* TILE)
    lift(const float4* crop, const float* original, float4* change, float4* settled, int* boxes,
         int width, int height) {
    __shared__ int rows[TILE], columns[TILE];
    int x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
    if (threadIdx.y == 0) rows[threadIdx.x] = columns[threadIdx.x] = 0;
    __syncthreads();
    if (x < width && y < height) {
        long long at = (long long)y * width + x;
        float4 pixel = crop[at];
        const float* own = original + 3 * at;
        float4 lifted = make_float4(pixel.x - own[0], pixel.y - own[1], pixel.z - own[2], pixel.w);
        change[at] = lifted;
        settled[at] = lifted;
        // Who writes last does not matter: all write the same.
        if (pixel.w > 0.0f) rows[threadIdx.y] = columns[threadIdx.x] = 1;
    }
    __syncthreads();
    if (threadIdx.x || threadIdx.y) return;
    int left = TILE, top = TILE, right = 0, bottom = 0;
    for (int k = 0; k < TILE; ++k) {
        if (columns[k]) left = left < k ? left : k, right = k + 1;
        if (rows[k]) top = top < k ? top : k, bottom = k + 1;
    }
    int* box = boxes + (blockIdx.y * gridDim.x + blockIdx.x) * 4;
    box[0] = right ? blockIdx.x * TILE + left : 0;
    box[1] = right ? blockIdx.y * TILE + top : 0;
    box[2] = right ? blockIdx.x * TILE + right : 0;
    box[3] = right ? blockIdx.y * TILE + bottom : 0;
}

// A part of a picture of four values a pixel to where a texture can begin. Rows are so many pixels.
extern "C" __global__ void __launch_bounds__(256)
    cut(const float4* in, int in_row, float4* out, int out_row, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    out[(long long)y * out_row + x] = in[(long long)y * in_row + x];
}

// Sums over a block in an order that does not depend on when threads run.
__device__ inline float block_sum(float* cells, int at, float value) {
    __syncthreads();
    cells[at] = value;
    __syncthreads();
    for (int half = TILE * TILE / 2; half > 0; half /= 2) {
        if (at < half) cells[at] += cells[at + half];
        __syncthreads();
    }
    return cells[0];
}

// Weight, means and sums of squared deviations of light, of original and swapped R'G'B', over means
// of 4 x 4 pixels, by the mask in the swapped crop's fourth channel. Each block writes 13 values;
// deviations are from the block's own mean, so that nothing is lost where a face is even.
extern "C" __global__ void __launch_bounds__(TILE* TILE)
    colour_moments(const float* original, int original_row, int original_step, const float* swapped,
                   int swapped_row, const float* curve, float* partials, int width, int height) {
    __shared__ float cells[TILE * TILE];
    int x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
    int at = threadIdx.y * TILE + threadIdx.x;
    float light[6] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f}, weight = 0.0f;
    if (x < width && y < height) {
        for (int j = 0; j < 4; ++j)
            for (int i = 0; i < 4; ++i) {
                long long line = y * 4 + j, column = x * 4 + i;
                const float* one = original + line * original_row + column * original_step;
                const float* two = swapped + line * swapped_row + column * 4;
#pragma unroll
                for (int c = 0; c < 3; ++c) {
                    light[c] += one[c];
                    light[3 + c] += two[c];
                }
                weight += two[3];
            }
        weight *= 0.0625f;
#pragma unroll
        for (int c = 0; c < 6; ++c) light[c] = light_of(curve, light[c] * 0.0625f);
    }
    float* out = partials + (blockIdx.y * gridDim.x + blockIdx.x) * 13;
    float total = block_sum(cells, at, weight);
    if (at == 0) out[0] = total;
    float share = total > 0.0f ? 1.0f / total : 0.0f;
#pragma unroll
    for (int c = 0; c < 6; ++c) {
        float mean = block_sum(cells, at, weight * light[c]) * share;
        float off = light[c] - mean;
        float spread = block_sum(cells, at, weight * off * off);
        if (at == 0) {
            out[1 + c] = mean;
            out[7 + c] = spread;
        }
    }
}
