// A change of codes, at the crop's resolution, back into the frame's planes.
//
// Bytes at a face of W x H frame pixels in 4:2:0 of 8 bits from a crop of S: `touched` reads 4*S*S
// and writes W*H; luma reads 4*S*S of change and W*H of touched, reads and writes W*H of codes;
// chroma reads 8*S*S and W*H, reads and writes W*H/2. In all 16*S*S + 6*W*H. S = 256, 400 x 400:
// 2.0 MB, 0.7 us at 3 TB/s. Codes outside the mask are not even read.
#include "planes.cuh"

// 1 where the mask, box-filtered by kx x ky as luma is and read bilinearly, is above zero: since no
// mask is below zero, where any value that has a weight is above it. Beyond the mask is zero.
extern "C" __global__ void __launch_bounds__(256)
    touch(const float* mask, int mask_row, int mask_step, int size, int kx, int ky, Map map, int x0,
          int y0, Code8* out, int row, int width, int height) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, j = blockIdx.y * blockDim.y + threadIdx.y;
    if (i >= width || j >= height) return;
    Place place = aim(map, x0 + i, y0 + j);
    int left = place.x * kx, right = (place.x + (place.part_x > 0.0f ? 2 : 1)) * kx;
    int upper = place.y * ky, lower = (place.y + (place.part_y > 0.0f ? 2 : 1)) * ky;
    left = within(left, 0, size), right = within(right, 0, size);
    upper = within(upper, 0, size), lower = within(lower, 0, size);
    int above = 0;
    for (int y = upper; y < lower; ++y)
        for (int x = left; x < right; ++x)
            above |= mask[(long long)y * mask_row + mask_step * x] > 0.0f;
    out[(long long)j * row + i] = above;
}

// The part of a frame that is pasted to, and which of its luma pixels may change.
struct Part {
    int x0, y0, width, height;  // in samples of the plane
    const Code8* touched;
    int row, touched_width, touched_height;
    int sub_x, sub_y;  // log2 of luma samples to one of the plane
};

template <class T>
__device__ inline void add(const Target& plane, cudaTextureObject_t change, const Place& place,
                           int x, int y, int top) {
    int step = (int)floorf(cubic(Single<float>{change}, place) + threshold(x, y));
    if (!step) return;
    T* at = sample<T>(plane, x, y);
    *at = (T)(within((*at >> plane.shift) + step, 0, top) << plane.shift);
}

template <class T>
__device__ inline void add_change(const Part& part, const Map& map, cudaTextureObject_t change,
                                  cudaTextureObject_t other_change, const Target& plane,
                                  const Target& other, int count, int top) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, j = blockIdx.y * blockDim.y + threadIdx.y;
    if (i >= part.width || j >= part.height) return;
    int left = i << part.sub_x, upper = j << part.sub_y, allowed = 0;
    for (int y = upper; y < upper + (1 << part.sub_y) && y < part.touched_height; ++y)
        for (int x = left; x < left + (1 << part.sub_x) && x < part.touched_width; ++x)
            allowed |= part.touched[(long long)y * part.row + x];
    if (!allowed) return;
    Place place = aim(map, part.x0 + i, part.y0 + j);
    add<T>(plane, change, place, part.x0 + i, part.y0 + j, top);
    if (count == 2) add<T>(other, other_change, place, part.x0 + i, part.y0 + j, top);
}

// Adds to one plane, or to two that lie alike (`count`), rounded by the ordered dither.
#define ADD_CHANGE(NAME, T)                                                                       \
    extern "C" __global__ void __launch_bounds__(256)                                             \
        NAME(Part part, Map map, cudaTextureObject_t change, cudaTextureObject_t other_change,    \
             Target plane, Target other, int count, int top) {                                    \
        add_change<T>(part, map, change, other_change, plane, other, count, top);                 \
    }

ADD_CHANGE(add_change8, Code8)
ADD_CHANGE(add_change16, Code16)
