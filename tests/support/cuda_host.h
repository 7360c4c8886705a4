// Runs CUDA source on a CPU, one thread after another, so that a sanitizer can watch each access.
//
// A block's threads are fibers: each runs until a barrier or its end, then another one, in a
// shuffled order that is new after each barrier. Shared memory holds NaN when a block begins. A
// texture knows its size and type, and refuses reads that are not of one whole texel.
#pragma once

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __constant__ static const
// In a section of its own, so that a block can begin with it poisoned.
#define __shared__ static __attribute__((section("cuda_shared")))

struct uint3 { unsigned x, y, z; };
struct uchar2 { unsigned char x, y; };
struct ushort2 { unsigned short x, y; };
struct short2 { short x, y; };
struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

inline uint3 threadIdx, blockIdx, blockDim, gridDim;

void cuda_host_barrier();
inline void __syncthreads() { cuda_host_barrier(); }

[[noreturn]] inline void cuda_host_fault(const char* what) {
    fprintf(stderr, "fault: %s (block %u %u %u, thread %u %u %u)\n", what, blockIdx.x, blockIdx.y,
            blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
    fflush(stderr);
    _Exit(3);
}

typedef unsigned long long cudaTextureObject_t;

struct HostTexture {
    const unsigned char* base;
    int64_t pitch;
    int width, height, channels, bytes;
    int zero_beyond;
};

template <class T> struct TexelShape;
template <> struct TexelShape<unsigned char> { enum { channels = 1, bytes = 1 }; };
template <> struct TexelShape<unsigned short> { enum { channels = 1, bytes = 2 }; };
template <> struct TexelShape<float> { enum { channels = 1, bytes = 4 }; };
template <> struct TexelShape<uchar2> { enum { channels = 2, bytes = 1 }; };
template <> struct TexelShape<ushort2> { enum { channels = 2, bytes = 2 }; };
template <> struct TexelShape<float4> { enum { channels = 4, bytes = 4 }; };

template <class T>
T tex2D(cudaTextureObject_t handle, float x, float y) {
    const HostTexture* texture = (const HostTexture*)handle;
    if (!texture) cuda_host_fault("a texture that was never set");
    if (texture->channels != TexelShape<T>::channels || texture->bytes != TexelShape<T>::bytes)
        cuda_host_fault("a texture read as another type");
    float column = floorf(x), row = floorf(y);
    if (x - column != 0.5f || y - row != 0.5f) cuda_host_fault("a texture read between texels");
    if (fabsf(column) > 1e8f || fabsf(row) > 1e8f) cuda_host_fault("a texture read far beyond");
    int i = (int)column, j = (int)row;
    T value = {};
    if (i < 0 || j < 0 || i >= texture->width || j >= texture->height) {
        if (texture->zero_beyond) return value;
        i = i < 0 ? 0 : i >= texture->width ? texture->width - 1 : i;
        j = j < 0 ? 0 : j >= texture->height ? texture->height - 1 : j;
    }
    memcpy(&value, texture->base + j * texture->pitch + (int64_t)i * sizeof(T), sizeof(T));
    return value;
}

// What can be launched: a name, the bytes of its arguments, and how they become a call.
struct HostKernel {
    const char* name;
    void (*call)(const unsigned char* arguments);
    int count;
    const int* sizes;
};

int cuda_host_offer(const HostKernel* kernels, int count);

template <auto kernel> struct Caller;
template <class... A, void (*kernel)(A...)> struct Caller<kernel> {
    static inline const int sizes[sizeof...(A) + 1] = {(int)sizeof(A)..., 0};
    static const int count = sizeof...(A);
    template <class T> static T take(const unsigned char*& at) {
        T value;
        memcpy(&value, at, sizeof(T));
        at += sizeof(T);
        return value;
    }
    // A constructor in braces, since they fix the order in which the arguments are taken.
    struct Run { Run(A... values) { kernel(values...); } };
    static void call(const unsigned char* at) { Run{take<A>(at)...}; }
};

#define HOST_KERNEL(NAME) \
    HostKernel { #NAME, &Caller<&NAME>::call, Caller<&NAME>::count, Caller<&NAME>::sizes }
