// Dense motion between two small pictures, coarse to fine.
//
// Bytes at pictures of S x S whose finest flow is of s x s: `halve` reads and writes 1.7*S*S of both;
// each `follow` reads 16*s*s and writes 8*s*s. 128 x 128 with flow of 64 x 64: 12 of them, 1 MB in
// all, 0.4 us at 3 TB/s: it is 16 to 20 launches of a few us that take the time.
#include "motion.cuh"

#define TILE 16
#define REACH 6
#define WIDE (TILE + 2 * REACH)

// Means of 2 x 2 pixels, of a picture with an odd side the last column or row twice. Two pictures:
// `in` and `out` of the first layer of blocks, `other` and `other_out` of the second.
template <class T>
__device__ void halve(const T* in, int in_row, int width, int height, float* out, int out_width,
                      int out_height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= out_width || y >= out_height) return;
    int right = 2 * x + 1 < width ? 2 * x + 1 : 2 * x, lower = 2 * y + 1 < height ? 2 * y + 1 : 2 * y;
    const T* one = in + (long long)2 * y * in_row;
    const T* two = in + (long long)lower * in_row;
    float total = ((float)one[2 * x] + (float)one[right]) + ((float)two[2 * x] + (float)two[right]);
    out[(long long)y * out_width + x] = total * 0.25f;
}

extern "C" __global__ void __launch_bounds__(256)
    halve_bytes(const unsigned char* in, const unsigned char* other, int in_row, int other_row,
                int width, int height, float* out, float* other_out, int out_width, int out_height) {
    halve(blockIdx.z ? other : in, blockIdx.z ? other_row : in_row, width, height,
          blockIdx.z ? other_out : out, out_width, out_height);
}

extern "C" __global__ void __launch_bounds__(256)
    halve_floats(const float* in, const float* other, int width, int height, float* out,
                 float* other_out, int out_width, int out_height) {
    halve(blockIdx.z ? other : in, width, width, height, blockIdx.z ? other_out : out, out_width,
          out_height);
}

// Half of a window that fades: a Gaussian with a deviation of 2.5 pixels.
__constant__ float TAPS[REACH + 1] = {0.16100337f, 0.14862485f, 0.11691244f, 0.07836876f,
                                      0.04476494f, 0.02178944f, 0.00903789f};

__device__ inline float between(const float* picture, int width, int height, float x, float y) {
    x = clamped(x, 0.0f, (float)(width - 1));
    y = clamped(y, 0.0f, (float)(height - 1));
    int i = (int)x, j = (int)y;
    int right = i + 1 < width ? i + 1 : i, lower = j + 1 < height ? j + 1 : j;
    const float* one = picture + (long long)j * width;
    const float* two = picture + (long long)lower * width;
    return mixed(mixed(one[i], one[right], x - (float)i), mixed(two[i], two[right], x - (float)i),
                 y - (float)j);
}

// One round of B. D. Lucas and T. Kanade, "An iterative image registration technique", 1981, for each
// pixel: the motion that explains its window best, where what is known of each pixel's motion says
// where it is looked for. Where the picture does not tell (too little structure for `firm`), the
// motion around holds, so that it fills in from where it is known.
//
// `flow` may be of the level above. `out` is in this level's pixels.
extern "C" __global__ void __launch_bounds__(TILE* TILE)
    follow(const float* now, const float* before, Small flow, float firm, float2* out, int width,
           int height) {
    __shared__ float slope_x[WIDE][WIDE], slope_y[WIDE][WIDE], known[WIDE][WIDE];
    __shared__ float motion_x[WIDE][WIDE], motion_y[WIDE][WIDE], rows[7][WIDE][TILE];
    int left = blockIdx.x * TILE - REACH, top = blockIdx.y * TILE - REACH;
    int thread = threadIdx.y * TILE + threadIdx.x;
    for (int at = thread; at < WIDE * WIDE; at += TILE * TILE) {
        int i = at % WIDE, j = at / WIDE;
        int x = within(left + i, 0, width - 1), y = within(top + j, 0, height - 1);
        float u = enlarged(flow, 2, 0, x, y) * flow.wide, v = enlarged(flow, 2, 1, x, y) * flow.high;
        float there_x = (float)x + u, there_y = (float)y + v;
        bool told = x == left + i && y == top + j && there_x > -0.5f && there_y > -0.5f &&
                    there_x < (float)width - 0.5f && there_y < (float)height - 0.5f;
        int west = x > 0 ? x - 1 : 0, east = x + 1 < width ? x + 1 : x;
        const float* here = now + (long long)y * width;
        const float* north = now + (long long)(y > 0 ? y - 1 : 0) * width;
        const float* south = now + (long long)(y + 1 < height ? y + 1 : y) * width;
        // Differences across, averaged by 3, 10, 3 along: Scharr's.
        float across = fmaf(10.0f, here[east] - here[west],
                            3.0f * ((north[east] - north[west]) + (south[east] - south[west])));
        float along = fmaf(10.0f, south[x] - north[x],
                           3.0f * ((south[west] - north[west]) + (south[east] - north[east])));
        across = told ? across * 0.03125f : 0.0f;
        along = told ? along * 0.03125f : 0.0f;
        float off = between(before, width, height, there_x, there_y) - here[x];
        slope_x[j][i] = across;
        slope_y[j][i] = along;
        known[j][i] = fmaf(across, u, fmaf(along, v, -off));
        motion_x[j][i] = u;
        motion_y[j][i] = v;
    }
    __syncthreads();
    for (int at = thread; at < WIDE * TILE; at += TILE * TILE) {
        int i = at % TILE, j = at / TILE;
        float sums[7] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
        for (int k = -REACH; k <= REACH; ++k) {
            float tap = TAPS[k < 0 ? -k : k];
            int column = i + REACH + k;
            float gx = slope_x[j][column], gy = slope_y[j][column], told = known[j][column];
            sums[0] = fmaf(tap, gx * gx, sums[0]);
            sums[1] = fmaf(tap, gx * gy, sums[1]);
            sums[2] = fmaf(tap, gy * gy, sums[2]);
            sums[3] = fmaf(tap, gx * told, sums[3]);
            sums[4] = fmaf(tap, gy * told, sums[4]);
            sums[5] = fmaf(tap, motion_x[j][column], sums[5]);
            sums[6] = fmaf(tap, motion_y[j][column], sums[6]);
        }
#pragma unroll
        for (int c = 0; c < 7; ++c) rows[c][j][i] = sums[c];
    }
    __syncthreads();
    int x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
    if (x >= width || y >= height) return;
    float sums[7] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    for (int k = -REACH; k <= REACH; ++k) {
        float tap = TAPS[k < 0 ? -k : k];
#pragma unroll
        for (int c = 0; c < 7; ++c)
            sums[c] = fmaf(tap, rows[c][threadIdx.y + REACH + k][threadIdx.x], sums[c]);
    }
    float xx = sums[0] + firm, yy = sums[2] + firm, xy = sums[1];
    float right_x = fmaf(firm, sums[5], sums[3]), right_y = fmaf(firm, sums[6], sums[4]);
    // At least firm squared: both squares of the sum are.
    float share = 1.0f / fmaf(xx, yy, -(xy * xy));
    float u = fmaf(yy, right_x, -(xy * right_y)) * share;
    float v = fmaf(xx, right_y, -(xy * right_x)) * share;
    // A round sees two pixels far.
    float own_x = motion_x[threadIdx.y + REACH][threadIdx.x + REACH];
    float own_y = motion_y[threadIdx.y + REACH][threadIdx.x + REACH];
    out[(long long)y * width + x] = make_float2(clamped(u, own_x - 2.0f, own_x + 2.0f),
                                                clamped(v, own_y - 2.0f, own_y + 2.0f));
}

// Vectors of 1/32 pixel as NVIDIA's optical flow engine has them, for each `grid` x `grid` pixels, to
// motion in pixels of their own picture. Rows of `in` are `in_row` vectors apart.
extern "C" __global__ void __launch_bounds__(256)
    short_flow(const short2* in, int in_row, float scale, float2* out, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    short2 vector = in[(long long)y * in_row + x];
    out[(long long)y * width + x] = make_float2((float)vector.x * scale, (float)vector.y * scale);
}

// A picture to where rows lie otherwise and there may be more of it: its right and lower edges repeat.
extern "C" __global__ void __launch_bounds__(256)
    move_bytes(const unsigned char* in, int in_row, int in_width, int in_height, unsigned char* out,
               int out_row, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    long long line = y < in_height ? y : in_height - 1, column = x < in_width ? x : in_width - 1;
    out[(long long)y * out_row + x] = in[line * in_row + column];
}
