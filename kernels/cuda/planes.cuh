// Pictures as they lie in memory: three planes, or luma and pairs of chroma.
#pragma once
#include "sampling.cuh"

// Codes of three planes -> R'G'B', by rows.
struct Matrix {
    float rows[3][4];
};

enum { GRAY = 0, LINEAR_CHROMA = 1, CUBIC_CHROMA = 2 };

template <class T>
struct Planar {
    Single<T> second, third;
    __device__ void linear_pair(const Place& place, float* out) const {
        out[0] = linear(second, place);
        out[1] = linear(third, place);
    }
    __device__ void cubic_pair(const Place& place, float* out) const {
        out[0] = cubic(second, place);
        out[1] = cubic(third, place);
    }
};

// Both chroma samples of a place in one texel (NV12, P010): always subsampled.
template <class T>
struct Interleaved {
    cudaTextureObject_t texture;
    __device__ void linear_pair(const Place& place, float* out) const {
        T a = read(place.x, place.y), b = read(place.x + 1, place.y);
        T c = read(place.x, place.y + 1), d = read(place.x + 1, place.y + 1);
        out[0] = mixed(mixed((float)a.x, (float)b.x, place.part_x),
                       mixed((float)c.x, (float)d.x, place.part_x), place.part_y);
        out[1] = mixed(mixed((float)a.y, (float)b.y, place.part_x),
                       mixed((float)c.y, (float)d.y, place.part_x), place.part_y);
    }
    __device__ void cubic_pair(const Place& place, float* out) const { linear_pair(place, out); }
    __device__ T read(int x, int y) const {
        return tex2D<T>(texture, (float)x + 0.5f, (float)y + 0.5f);
    }
};

// One of R'G'B', 0..1, of three codes.
__device__ inline float signal(const Matrix& matrix, int channel, const float* codes) {
    const float* m = matrix.rows[channel];
    float value = fmaf(codes[2], m[2], fmaf(codes[1], m[1], fmaf(codes[0], m[0], m[3])));
    return clamped(value, 0.0f, 1.0f);
}

// A plane that is written: every `step`-th sample of rows `pitch` bytes apart; codes lie `shift`
// bits up in their samples.
struct Target {
    unsigned char* base;
    long long pitch;
    int step, shift;
};

template <class T>
__device__ inline T* sample(const Target& plane, int x, int y) {
    return (T*)(plane.base + y * plane.pitch) + x * plane.step;
}

// Bayer's 8 x 8 matrix (kernels/dither.py) without a table: the bits of x ^ y and y, taken in turn,
// the lowest bits of x and y counting most.
__device__ inline float threshold(int x, int y) {
    int order = 0;
#pragma unroll
    for (int bit = 0; bit < 3; ++bit) {
        int down = y >> bit & 1, across = (x ^ y) >> bit & 1;
        order |= (2 * across + down) << (2 * (2 - bit));
    }
    return ((float)order + 0.5f) * 0.015625f;
}

// Curves are tables of 65 536 values over 0..1 (kernels/colour.py, TransferTables).
#define MOST 65535.0f

__device__ inline float light_of(const float* table, float value) {
    return table[(int)(clamped(value, 0.0f, 1.0f) * MOST + 0.5f)];
}

// The way back goes by the fourth root of light.
__device__ inline float signal_of(const float* table, float light) {
    return table[(int)(sqrtf(sqrtf(clamped(light, 0.0f, 1.0f))) * MOST + 0.5f)];
}
