// Motion as the temporal filters have it: a small picture that is enlarged where it is read.
#pragma once
#include "sampling.cuh"

// A small picture [height, width, channels] and how many of its pixels lie on one of the part.
struct Small {
    const float* base;
    int width, height;
    float across, down;
    float wide, high;  // the part's pixels to one of its own
};

__device__ inline float enlarged(const Small& picture, int channels, int channel, int x, int y) {
    float u = clamped(fmaf((float)x + 0.5f, picture.across, -0.5f), 0.0f, (float)(picture.width - 1));
    float v = clamped(fmaf((float)y + 0.5f, picture.down, -0.5f), 0.0f, (float)(picture.height - 1));
    int i = (int)u, j = (int)v;
    int right = i + 1 < picture.width ? i + 1 : i, lower = j + 1 < picture.height ? j + 1 : j;
    const float* one = picture.base + (long long)j * picture.width * channels + channel;
    const float* two = picture.base + (long long)lower * picture.width * channels + channel;
    float a = mixed(one[i * channels], one[right * channels], u - (float)i);
    float b = mixed(two[i * channels], two[right * channels], u - (float)i);
    return mixed(a, b, v - (float)j);
}
