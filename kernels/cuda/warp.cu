// The aligned crop of a face: planes sampled through an affine, and only then turned into R'G'B'.
//
// Bytes at a crop of S x S from 4:2:0 of 8 bits where the face has the crop's size: S*S of luma and
// S*S/2 of chroma read (a 4 x 4 neighbourhood is read 16 times, 15 of them from the texture cache),
// 12*S*S of float32 written. S = 256: 0.88 MB, 0.29 us at 3 TB/s; a launch costs ten times as much,
// so that one launch does all three planes and the matrix. 16 x 16 threads: a block's texels lie
// near each other however the face is turned.
#include "planes.cuh"

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
    for (int k = 0; k < 3; ++k) pixel[k] = signal(matrix, k, codes);
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
