// What all kernels share: where an output pixel looks, and with what weights.
//
// The rules that let one source run on a GPU and, through tests/support/cuda_host.h, on a CPU:
// extern "C" names, fused multiply-adds only where fmaf says so (compiled with --fmad=false), no
// transcendental functions (curves are tables), no double, no atomics, no shuffles, no dynamic
// shared memory, textures read at single texels (hardware filters have 8-bit weights).
#pragma once

// Bytes and pairs of a code as they lie in memory.
typedef unsigned char Code8;
typedef unsigned short Code16;

// An affine from output pixels to texels of a source. In float32 a frame's coordinates would be
// good to 1/2048 of a texel, so what is large is whole numbers: offsets are counted from the output
// pixel (origin_x, origin_y), which lies at (base_x, base_y) plus the fractions x and y.
struct Map {
    float xx, xy, x;
    float yx, yy, y;
    int origin_x, origin_y;
    int base_x, base_y;
};

// A whole texel, and how far beyond it (0..1).
struct Place {
    int x, y;
    float part_x, part_y;
};

// Farther off than this all texels are beyond the source, wherever its edge is.
#define FAR_OFF 1048576.0f

__device__ inline float clamped(float value, float low, float high) {
    return fminf(fmaxf(value, low), high);
}

__device__ inline int within(int value, int low, int high) {
    return value < low ? low : value > high ? high : value;
}

// Beyond an edge the samples are mirrored, the edge itself not repeated.
__device__ inline int mirrored(int at, int size) {
    if (size == 1) return 0;
    while (at < 0 || at >= size) at = at < 0 ? -at : 2 * (size - 1) - at;
    return at;
}

__device__ inline float offset_x(const Map& map, float px, float py) {
    return clamped(fmaf(map.xx, px, fmaf(map.xy, py, map.x)), -FAR_OFF, FAR_OFF);
}

__device__ inline float offset_y(const Map& map, float px, float py) {
    return clamped(fmaf(map.yx, px, fmaf(map.yy, py, map.y)), -FAR_OFF, FAR_OFF);
}

__device__ inline Place aim(const Map& map, int px, int py) {
    float dx = (float)(px - map.origin_x), dy = (float)(py - map.origin_y);
    float x = offset_x(map, dx, dy), y = offset_y(map, dx, dy);
    float whole_x = floorf(x), whole_y = floorf(y);
    Place place;
    place.x = map.base_x + (int)whole_x;
    place.y = map.base_y + (int)whole_y;
    place.part_x = x - whole_x;
    place.part_y = y - whole_y;
    return place;
}

// One channel of a texture of T, or of the first or second channel of a texture of pairs.
template <class T>
struct Single {
    cudaTextureObject_t texture;
    __device__ float at(int x, int y) const {
        return (float)tex2D<T>(texture, (float)x + 0.5f, (float)y + 0.5f);
    }
};

// Weights of the samples at -1, 0, 1, 2: R. Keys, "Cubic convolution interpolation for digital
// image processing", ASSP 29(6), 1981, with a = -0.5 (Catmull-Rom).
__device__ inline void cubic_weights(float t, float* weight) {
    weight[0] = fmaf(fmaf(-0.5f, t, 1.0f), t, -0.5f) * t;
    weight[1] = fmaf(fmaf(1.5f, t, -2.5f), t * t, 1.0f);
    weight[2] = fmaf(fmaf(-1.5f, t, 2.0f), t, 0.5f) * t;
    weight[3] = fmaf(0.5f, t, -0.5f) * (t * t);
}

template <class Source>
__device__ inline float cubic(const Source& source, const Place& place) {
    float wx[4], wy[4], total = 0.0f;
    cubic_weights(place.part_x, wx);
    cubic_weights(place.part_y, wy);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        float row = 0.0f;
#pragma unroll
        for (int i = 0; i < 4; ++i)
            row = fmaf(source.at(place.x - 1 + i, place.y - 1 + j), wx[i], row);
        total = fmaf(row, wy[j], total);
    }
    return total;
}

__device__ inline float mixed(float a, float b, float share) { return fmaf(b - a, share, a); }

template <class Source>
__device__ inline float linear(const Source& source, const Place& place) {
    float upper = mixed(source.at(place.x, place.y), source.at(place.x + 1, place.y), place.part_x);
    float lower =
        mixed(source.at(place.x, place.y + 1), source.at(place.x + 1, place.y + 1), place.part_x);
    return mixed(upper, lower, place.part_y);
}
