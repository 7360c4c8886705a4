// The aligned crop of a face: planes sampled through an affine, and only then turned into R'G'B'.
//
// Bytes at a crop of S x S from 4:2:0 of 8 bits where the face has the crop's size: S*S of luma and
// S*S/2 of chroma read (a 4 x 4 neighbourhood is read 16 times, 15 of them from the texture cache),
// 12*S*S of float32 written. S = 256: 0.88 MB, 0.29 us at 3 TB/s; a launch costs ten times as much,
// so that one launch does all three planes and the matrix. 16 x 16 threads: a block's texels lie
// near each other however the face is turned.
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

template <class First, class Chroma>
__device__ inline void crop(const First& first, const Chroma& chroma, const Map& luma_map,
                            const Map& chroma_map, const Matrix& matrix, int mode, int x0, int y0,
                            int width, int height, float* out, int row) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, j = blockIdx.y * blockDim.y + threadIdx.y;
    if (i >= width || j >= height) return;
    float codes[3] = {0.0f, 0.0f, 0.0f};
    codes[0] = cubic(first, aim(luma_map, x0 + i, y0 + j));
    if (mode == LINEAR_CHROMA) chroma.linear_pair(aim(chroma_map, x0 + i, y0 + j), codes + 1);
    if (mode == CUBIC_CHROMA) chroma.cubic_pair(aim(chroma_map, x0 + i, y0 + j), codes + 1);
    float* pixel = out + (long long)j * row + 3 * i;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const float* m = matrix.rows[k];
        pixel[k] = clamped(
            fmaf(codes[2], m[2], fmaf(codes[1], m[1], fmaf(codes[0], m[0], m[3]))), 0.0f, 1.0f);
    }
}

// Pixels [x0, x0 + width) x [y0, y0 + height) of a crop as R'G'B' 0..1, `row` floats apart.
#define PLANAR_CROP(NAME, T)                                                                      \
    extern "C" __global__ void __launch_bounds__(256)                                             \
        NAME(cudaTextureObject_t first, cudaTextureObject_t second, cudaTextureObject_t third,    \
             Map luma_map, Map chroma_map, Matrix matrix, int mode, int x0, int y0, int width,    \
             int height, float* out, int row) {                                                   \
        crop(Single<T>{first}, Planar<T>{{second}, {third}}, luma_map, chroma_map, matrix, mode,  \
             x0, y0, width, height, out, row);                                                    \
    }

#define INTERLEAVED_CROP(NAME, T, PAIR)                                                           \
    extern "C" __global__ void __launch_bounds__(256)                                             \
        NAME(cudaTextureObject_t first, cudaTextureObject_t second, cudaTextureObject_t third,    \
             Map luma_map, Map chroma_map, Matrix matrix, int mode, int x0, int y0, int width,    \
             int height, float* out, int row) {                                                   \
        crop(Single<T>{first}, Interleaved<PAIR>{second}, luma_map, chroma_map, matrix, mode, x0, \
             y0, width, height, out, row);                                                        \
    }

PLANAR_CROP(crop_planar8, Code8)
PLANAR_CROP(crop_planar16, Code16)
PLANAR_CROP(crop_cells, float)
INTERLEAVED_CROP(crop_nv12, Code8, uchar2)
INTERLEAVED_CROP(crop_p010, Code16, ushort2)
