// A small picture of the frame for a detector, from box means of its planes (cells.cu).
//
// Bytes from a frame of W x H in 4:2:0 of 8 bits to w x h: the means read 1.5*W*H and write about
// 4*(4 + 2)*w*h (two to a pixel each way of luma, one of chroma), which is read again; 3*w*h written.
// 1920 x 1080 to 640 x 360: 3.1 + 11.1 + 0.7 MB, 5 us at 3 TB/s; the means stay in the L2 cache,
// which leaves 1.3 us. From means, since a pixel's footprint is read once that way and not by four
// threads.
#include "planes.cuh"

// The mean of points x points places of an output pixel; the map counts in those.
__device__ inline float area(cudaTextureObject_t cells, const Map& map, int points, int x, int y) {
    float total = 0.0f;
    for (int q = 0; q < points; ++q)
        for (int p = 0; p < points; ++p)
            total += linear(Single<float>{cells}, aim(map, x * points + p, y * points + q));
    return points == 2 ? 0.25f * total : total;
}

// R'G'B' of bytes [h, w, 3]; black where the pixel's centre lies beyond the frame's outer edges.
// Four blocks at a time are enough: told nothing, ptxas spilled on sm_80 to fit eight.
extern "C" __global__ void __launch_bounds__(256, 4)
    thumbnail(cudaTextureObject_t first, cudaTextureObject_t second, cudaTextureObject_t third,
              Map luma_map, Map chroma_map, int luma_points, int chroma_points, Matrix matrix,
              int mode, Map to_frame, int frame_width, int frame_height, Code8* out, int width,
              int height) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, j = blockIdx.y * blockDim.y + threadIdx.y;
    if (i >= width || j >= height) return;
    float codes[3] = {0.0f, 0.0f, 0.0f};
    codes[0] = area(first, luma_map, luma_points, i, j);
    if (mode != GRAY) {
        codes[1] = area(second, chroma_map, chroma_points, i, j);
        codes[2] = area(third, chroma_map, chroma_points, i, j);
    }
    Place centre = aim(to_frame, i, j);
    float x = (float)centre.x + centre.part_x, y = (float)centre.y + centre.part_y;
    bool seen = x >= -0.5f && x <= (float)frame_width - 0.5f && y >= -0.5f &&
                y <= (float)frame_height - 0.5f;
    Code8* pixel = out + 3 * ((long long)j * width + i);
#pragma unroll
    for (int k = 0; k < 3; ++k)
        pixel[k] = seen ? (Code8)(int)(signal(matrix, k, codes) * 255.0f + 0.5f) : (Code8)0;
}
