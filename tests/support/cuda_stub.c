/* A libcuda.so.1 without a GPU: it notes what it is called with, in the types of CUDA's own header,
 * so that a wrong type, order or value of an argument in actors/transport/libcuda.py shows itself.
 * Memory is the host's. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct { char bytes[16]; } CUuuid;
typedef struct { char reserved[64]; } CUipcMemHandle;
typedef struct { char reserved[64]; } CUipcEventHandle;
typedef struct {
    size_t srcXInBytes, srcY;
    int srcMemoryType;
    const void *srcHost;
    CUdeviceptr srcDevice;
    void *srcArray;
    size_t srcPitch;
    size_t dstXInBytes, dstY;
    int dstMemoryType;
    void *dstHost;
    CUdeviceptr dstDevice;
    void *dstArray;
    size_t dstPitch;
    size_t WidthInBytes, Height;
} CUDA_MEMCPY2D;

static char noted[1 << 16];
static int next_event = 100, next_stream = 200;
static char answer_name[64];
static int answer;

static CUresult note(const char *format, ...) {
    size_t at = strlen(noted);
    va_list rest;
    va_start(rest, format);
    vsnprintf(noted + at, sizeof noted - at, format, rest);
    va_end(rest);
    strncat(noted, "\n", sizeof noted - strlen(noted) - 1);
    if (answer && !strncmp(noted + at, answer_name, strlen(answer_name))) {
        int now = answer;
        answer = 0;
        return now;
    }
    return 0;
}

/* For the tests: what was noted since the last look, and a wrong answer for the next such call. */
const char *stub_notes(void) { return noted; }
void stub_forget(void) { noted[0] = 0; }
void stub_answer(const char *name, int status) {
    snprintf(answer_name, sizeof answer_name, "%s(", name);
    answer = status;
}

CUresult cuInit(unsigned int flags) { return note("cuInit(%u)", flags); }
CUresult cuGetErrorName(CUresult error, const char **name) {
    *name = error == 205 ? "CUDA_ERROR_MAP_FAILED" : error == 100 ? "CUDA_ERROR_NO_DEVICE" : NULL;
    return *name ? 0 : 1;
}
CUresult cuDeviceGetCount(int *count) {
    *count = 2;
    return note("cuDeviceGetCount()");
}
CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    *device = 10 + ordinal;
    return note("cuDeviceGet(%d)", ordinal);
}
CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
    memset(uuid->bytes, device, 16);
    return note("cuDeviceGetUuid_v2(%d)", device);
}
CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned int flags) {
    return note("cuDevicePrimaryCtxSetFlags_v2(%d, %u)", device, flags);
}
CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    *context = (CUcontext)(uintptr_t)(0xC0000000000ull + device);
    return note("cuDevicePrimaryCtxRetain(%d)", device);
}
CUresult cuCtxSetCurrent(CUcontext context) { return note("cuCtxSetCurrent(%p)", (void *)context); }
CUresult cuCtxSynchronize(void) { return note("cuCtxSynchronize()"); }
CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t nbytes) {
    void *place = NULL;
    if (posix_memalign(&place, 512, nbytes)) return 2;
    *pointer = (CUdeviceptr)(uintptr_t)place;
    return note("cuMemAlloc_v2(%zu)", nbytes);
}
CUresult cuMemFree_v2(CUdeviceptr pointer) {
    free((void *)(uintptr_t)pointer);
    return note("cuMemFree_v2(%llx)", pointer);
}
CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *nbytes, CUdeviceptr pointer) {
    *base = pointer & ~511ull;
    *nbytes = 512;
    return note("cuMemGetAddressRange_v2(%llx)", pointer);
}
CUresult cuMemHostAlloc(void **place, size_t nbytes, unsigned int flags) {
    *place = malloc(nbytes);
    return note("cuMemHostAlloc(%zu, %u)", nbytes, flags);
}
CUresult cuMemFreeHost(void *place) {
    free(place);
    return note("cuMemFreeHost()");
}
CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *copy, CUstream stream) {
    const char *from = copy->srcMemoryType == 1 ? copy->srcHost : (void *)copy->srcDevice;
    char *to = copy->dstMemoryType == 1 ? copy->dstHost : (void *)copy->dstDevice;
    for (size_t row = 0; row < copy->Height; row++)
        memcpy(to + (copy->dstY + row) * copy->dstPitch + copy->dstXInBytes,
               from + (copy->srcY + row) * copy->srcPitch + copy->srcXInBytes, copy->WidthInBytes);
    return note("cuMemcpy2DAsync_v2(%d, %d, %zu x %zu, %p)", copy->srcMemoryType,
                copy->dstMemoryType, copy->WidthInBytes, copy->Height, (void *)stream);
}
CUresult cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr pointer) {
    memset(handle, 'm', sizeof *handle);
    memcpy(handle->reserved, &pointer, sizeof pointer);
    return note("cuIpcGetMemHandle(%llx)", pointer);
}
CUresult cuIpcOpenMemHandle_v2(CUdeviceptr *pointer, CUipcMemHandle handle, unsigned int flags) {
    memcpy(pointer, handle.reserved, sizeof *pointer);
    return note("cuIpcOpenMemHandle_v2(%.4s, %u)", handle.reserved + 60, flags);
}
CUresult cuIpcCloseMemHandle(CUdeviceptr pointer) {
    return note("cuIpcCloseMemHandle(%llx)", pointer);
}
CUresult cuIpcGetEventHandle(CUipcEventHandle *handle, CUevent event) {
    memset(handle, 'e', sizeof *handle);
    return note("cuIpcGetEventHandle(%p)", (void *)event);
}
CUresult cuIpcOpenEventHandle(CUevent *event, CUipcEventHandle handle) {
    *event = (CUevent)(uintptr_t)0xE0000000000ull;
    return note("cuIpcOpenEventHandle(%.4s)", handle.reserved + 60);
}
CUresult cuEventCreate(CUevent *event, unsigned int flags) {
    *event = (CUevent)(uintptr_t)(0xE0000000000ull + next_event++);
    return note("cuEventCreate(%u)", flags);
}
CUresult cuEventRecord(CUevent event, CUstream stream) {
    return note("cuEventRecord(%p, %p)", (void *)event, (void *)stream);
}
CUresult cuEventDestroy_v2(CUevent event) { return note("cuEventDestroy_v2(%p)", (void *)event); }
CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int flags) {
    return note("cuStreamWaitEvent(%p, %p, %u)", (void *)stream, (void *)event, flags);
}
CUresult cuStreamCreate(CUstream *stream, unsigned int flags) {
    *stream = (CUstream)(uintptr_t)(0x50000000000ull + next_stream++);
    return note("cuStreamCreate(%u)", flags);
}
CUresult cuStreamSynchronize(CUstream stream) {
    return note("cuStreamSynchronize(%p)", (void *)stream);
}
