// How far what the motion carries is to be trusted: similarity along the motion, its mean over a
// face, and the shares with which the change of the frame before is held.
//
// Bytes at small pictures of w x h (a part of W x H is 4 or more times that): `likeness` reads 4*w*h
// and the flow and writes 8*w*h; `tally` reads 12*w*h; `hold` reads 16*w*h (its 5 x 5 means from the
// cache) and writes 8*w*h. 128 x 128: 0.8 MB in all, 0.3 us at 3 TB/s: launches decide.
#include "motion.cuh"

#define TILE 16
#define WINDOW 3
#define WIDE (TILE + 2 * WINDOW)

// A byte picture where the motion says, by cubics; 0 beyond its border.
__device__ inline float carried_byte(const unsigned char* picture, int row, int width, int height,
                                     float x, float y) {
    x = clamped(x, -8192.0f, 8192.0f);
    y = clamped(y, -8192.0f, 8192.0f);
    float whole_x = floorf(x), whole_y = floorf(y), wx[4], wy[4], total = 0.0f;
    cubic_weights(x - whole_x, wx);
    cubic_weights(y - whole_y, wy);
    int left = (int)whole_x - 1, top = (int)whole_y - 1;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        float line = 0.0f;
        if (top + j >= 0 && top + j < height) {
            const unsigned char* texels = picture + (long long)(top + j) * row;
#pragma unroll
            for (int i = 0; i < 4; ++i)
                if (left + i >= 0 && left + i < width)
                    line = fmaf((float)texels[left + i], wx[i], line);
        }
        total = fmaf(line, wy[j], total);
    }
    return clamped(total, 0.0f, 255.0f);
}

// SSIM over 7 x 7 boxes (mirrored at the border) of a picture and the one before, carried along: of
// the originals in the first layer of blocks, of the swapped ones in the second. Rows of all four
// are `row` bytes apart, those of what is filled have no gaps.
extern "C" __global__ void __launch_bounds__(TILE* TILE)
    likeness(const unsigned char* original, const unsigned char* original_before,
             const unsigned char* swapped, const unsigned char* swapped_before, int row,
             Small flow, float* followed, float* alike, int width, int height) {
    __shared__ float now[WIDE][WIDE], old[WIDE][WIDE], rows[5][WIDE][TILE];
    const unsigned char* picture = blockIdx.z ? swapped : original;
    const unsigned char* before = blockIdx.z ? swapped_before : original_before;
    int left = blockIdx.x * TILE - WINDOW, top = blockIdx.y * TILE - WINDOW;
    int thread = threadIdx.y * TILE + threadIdx.x;
    for (int at = thread; at < WIDE * WIDE; at += TILE * TILE) {
        int i = at % WIDE, j = at / WIDE;
        int x = mirrored(left + i, width), y = mirrored(top + j, height);
        float u = enlarged(flow, 2, 0, x, y) * flow.wide, v = enlarged(flow, 2, 1, x, y) * flow.high;
        // From the middle of the codes, so that squares stay small: variances keep their bits.
        now[j][i] = (float)picture[(long long)y * row + x] - 128.0f;
        old[j][i] = carried_byte(before, row, width, height, (float)x + u, (float)y + v) - 128.0f;
    }
    __syncthreads();
    for (int at = thread; at < WIDE * TILE; at += TILE * TILE) {
        int i = at % TILE, j = at / TILE;
        float a = 0.0f, b = 0.0f, aa = 0.0f, bb = 0.0f, ab = 0.0f;
#pragma unroll
        for (int k = 0; k < 2 * WINDOW + 1; ++k) {
            float one = now[j][i + k], two = old[j][i + k];
            a += one;
            b += two;
            aa = fmaf(one, one, aa);
            bb = fmaf(two, two, bb);
            ab = fmaf(one, two, ab);
        }
        rows[0][j][i] = a;
        rows[1][j][i] = b;
        rows[2][j][i] = aa;
        rows[3][j][i] = bb;
        rows[4][j][i] = ab;
    }
    __syncthreads();
    int x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
    if (x >= width || y >= height) return;
    float means[5];
#pragma unroll
    for (int c = 0; c < 5; ++c) {
        float total = 0.0f;
#pragma unroll
        for (int k = 0; k < 2 * WINDOW + 1; ++k) total += rows[c][threadIdx.y + k][threadIdx.x];
        means[c] = total * (1.0f / 49.0f);
    }
    float covariance = means[4] - means[0] * means[1];
    float variances = (means[2] - means[0] * means[0]) + (means[3] - means[1] * means[1]);
    float a = means[0] + 128.0f, b = means[1] + 128.0f;
    float above = fmaf(2.0f * a, b, 6.5025f) * fmaf(2.0f, covariance, 58.5225f);
    float below = (fmaf(a, a, b * b) + 6.5025f) * (variances + 58.5225f);
    (blockIdx.z ? alike : followed)[(long long)y * width + x] = above / below;
}

// Of each block the sums of weight, weight * a and weight * b.
extern "C" __global__ void __launch_bounds__(TILE* TILE)
    tally(const float* a, const float* b, const float* weight, float* partials, int width,
          int height) {
    __shared__ float cells[3][TILE * TILE];
    int x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
    int thread = threadIdx.y * TILE + threadIdx.x;
    bool inside = x < width && y < height;
    long long at = inside ? (long long)y * width + x : 0;
    float share = inside ? weight[at] : 0.0f;
    cells[0][thread] = share;
    cells[1][thread] = inside ? share * a[at] : 0.0f;
    cells[2][thread] = inside ? share * b[at] : 0.0f;
    __syncthreads();
    for (int half = TILE * TILE / 2; half > 0; half /= 2) {
        if (thread < half)
            for (int c = 0; c < 3; ++c) cells[c][thread] += cells[c][thread + half];
        __syncthreads();
    }
    if (thread < 3) partials[(blockIdx.y * gridDim.x + blockIdx.x) * 3 + thread] = cells[thread][0];
}

// Which filters work, and their numbers (kernels/filters.py, actors/stabilizer.py).
struct Hold {
    float held, alike, anomaly;        // shares held; similarity from which the swap snaps
    float tau, trust_slope;            // trust: 0 up to tau, and how fast it rises
    float unseen, worth_slope;         // worth, likewise
    float sharpness;                   // agreement is exp(-sharpness * d * d)
    int flow, snap, out_of_line;       // filters
};

// exp(-value) for 0 or more: by a polynomial of a 64th of it, to the 64th power; what is left of
// exp(-16) and less is called zero by all that use it.
__device__ inline float exp_of_minus(float value) {
    float x = fminf(value, 16.0f) * 0.015625f;
    float power = fmaf(x, fmaf(x, fmaf(x, fmaf(x, fmaf(x, fmaf(x, 1.0f / 720.0f, -1.0f / 120.0f),
                                                       1.0f / 24.0f), -1.0f / 6.0f), 0.5f), -1.0f),
                       1.0f);
#pragma unroll
    for (int k = 0; k < 6; ++k) power *= power;
    return power;
}

// Shares of the colours and of the mask that are held. `amounts` are of single pixels; here they are
// averaged over 5 x 5 (mirrored). Where `band` is null the mask is not held.
extern "C" __global__ void __launch_bounds__(256)
    hold(const float* followed, const float* alike, const float* amounts, const float* band, Hold how,
         float* weight, float* edge, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    long long at = (long long)y * width + x;
    float sure = clamped((followed[at] - how.tau) * how.trust_slope, 0.0f, 1.0f), share = 0.0f;
    if (how.flow) {
        float off = 0.0f;
        for (int j = -2; j <= 2; ++j)
            for (int i = -2; i <= 2; ++i)
                off += amounts[(long long)mirrored(y + j, height) * width + mirrored(x + i, width)];
        off *= 0.04f;
        float agreed = fminf(followed[at], exp_of_minus(off * off * how.sharpness));
        float trusted = clamped((agreed - how.tau) * how.trust_slope, 0.0f, 1.0f);
        share = how.held * trusted * clamped((off - how.unseen) * how.worth_slope, 0.0f, 1.0f);
    }
    if (how.snap && alike[at] > how.alike) share = fmaxf(share, how.held * sure);
    if (how.out_of_line) share = how.anomaly * sure;
    weight[at] = share;
    edge[at] = band ? how.held * sure * band[at] : 0.0f;
}
