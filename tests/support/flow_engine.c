/* NVIDIA's optical flow library, version 2.0 for CUDA, played on the host: it looks for each block's
 * place itself. What it is given it checks harder than a driver would: sizes of structures, order of
 * calls, handles, usage of buffers, fields that must be 0. What a test asks it to get wrong, it does.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma pack(push, 1)
typedef struct { int16_t x, y; } Vector;
typedef struct {
    uint32_t width, height, out_grid, hint_grid, mode, level, hints, cost;
    void *private_data;
    uint32_t disparity, roi;
} Init;
typedef struct { uint32_t width, height, usage, format; } Descriptor;
typedef struct {
    void *input, *reference, *hints;
    uint32_t no_temporal_hints, padding;
    void *private_data;
    uint32_t padding2, rois;
    void *roi;
} In;
typedef struct { void *flow, *cost, *private_data; } Out;
typedef struct { struct { uint32_t x, y; } strides[3]; uint32_t planes; } Strides;
typedef struct { void *calls[12]; } Functions;
#pragma pack(pop)

static_assert(sizeof(Init) == 48, "INIT");
static_assert(sizeof(In) == 56, "EXEC_IN");
static_assert(sizeof(Out) == 24, "EXEC_OUT");
static_assert(sizeof(Descriptor) == 16, "BUFDESC");
static_assert(sizeof(Functions) == 96, "FNLIST");
static_assert(sizeof(Strides) == 28, "STRIDE");
static_assert(sizeof(Vector) == 4, "FLOW");

enum { OK, NOT_AVAILABLE, INVALID_PTR = 4, INVALID_PARAM, INVALID_CALL, INVALID_VERSION };
enum { INPUT = 1, OUTPUT, HINT, COST };
enum { GRAY8 = 1, SHORT2 = 5, UINT8 = 7 };

typedef struct Session {
    uint32_t alive;
    Init init;
    int ready, streams;
} Session;
typedef struct {
    uint32_t alive;
    Session *session;
    Descriptor described;
    uint32_t pitch;
    unsigned char *memory;
} Buffer;

#define ALIVE 0x600DF10Au

static char failing[64], said[80];
static uint32_t newest = 0x50;
static int sessions, buffers, executed;

/* For the tests. */
void fake_fail(const char *name) { snprintf(failing, sizeof failing, "%.63s", name); }
void fake_newest(uint32_t version) { newest = version; }
int fake_sessions(void) { return sessions; }
int fake_buffers(void) { return buffers; }
int fake_executed(void) { return executed; }

static int refuse(int status, const char *why)
{
    snprintf(said, sizeof said, "%.79s", why);
    return status;
}

#define MAY_FAIL(name) \
    if (!strcmp(failing, name)) return refuse(11, "as the test wanted")
#define WANT(what) \
    if (!(what)) return refuse(INVALID_PARAM, #what)

static int create(void *context, Session **session)
{
    MAY_FAIL("nvCreateOpticalFlowCuda");
    if (!session) return INVALID_PTR;
    *session = calloc(1, sizeof **session);
    (*session)->alive = ALIVE;
    ++sessions;
    return OK;
}

static int init(Session *session, const Init *given)
{
    MAY_FAIL("nvOFInit");
    WANT(session && session->alive == ALIVE);
    if (session->ready) return refuse(INVALID_CALL, "initialised twice");
    WANT(given->out_grid == 1 || given->out_grid == 2 || given->out_grid == 4);
    WANT(given->mode == 1);
    WANT(given->level == 5 || given->level == 10 || given->level == 20);
    WANT(given->hints == 0 && given->cost <= 1);
    WANT(!given->private_data && !given->disparity && !given->roi && !given->hint_grid);
    WANT(given->width >= 32 && given->width <= 8192 && given->height >= 32 && given->height <= 8192);
    session->init = *given;
    session->ready = 1;
    return OK;
}

static int create_buffer(Session *session, const Descriptor *wanted, int type, Buffer **buffer)
{
    MAY_FAIL("nvOFCreateGPUBufferCuda");
    WANT(session && session->alive == ALIVE && session->ready);
    WANT(type == 2);
    uint32_t grid = wanted->usage == INPUT ? 1 : session->init.out_grid;
    WANT(wanted->width == session->init.width / grid && wanted->height == session->init.height / grid);
    WANT((wanted->usage == INPUT && wanted->format == GRAY8) ||
         (wanted->usage == OUTPUT && wanted->format == SHORT2) ||
         (wanted->usage == COST && wanted->format == UINT8 && session->init.cost));
    Buffer *made = calloc(1, sizeof *made);
    made->alive = ALIVE;
    made->session = session;
    made->described = *wanted;
    made->pitch = (wanted->width * (wanted->format == SHORT2 ? 4 : 1) + 127) / 128 * 128 + 128;
    made->memory = malloc((size_t)made->pitch * wanted->height);
    memset(made->memory, 0xA5, (size_t)made->pitch * wanted->height);
    ++buffers;
    *buffer = made;
    return OK;
}

static void *get_array(Buffer *buffer) { return NULL; }

static uint64_t get_pointer(Buffer *buffer)
{
    if (!strcmp(failing, "nvOFGPUBufferGetCUdeviceptr")) return 0;
    return buffer->alive == ALIVE ? (uint64_t)buffer->memory : 0;
}

static int get_strides(Buffer *buffer, Strides *strides)
{
    MAY_FAIL("nvOFGPUBufferGetStrideInfo");
    memset(strides, 0, sizeof *strides);
    strides->strides[0].x = strcmp(failing, "a short pitch") ? buffer->pitch : 8;
    strides->strides[0].y = buffer->described.height;
    strides->planes = 1;
    return OK;
}

static int set_streams(Session *session, void *in, void *out)
{
    MAY_FAIL("nvOFSetIOCudaStreams");
    WANT(session && session->alive == ALIVE && session->ready);
    session->streams = 1;
    return OK;
}

static int pixel(const Buffer *buffer, int x, int y)
{
    int width = (int)buffer->described.width, height = (int)buffer->described.height;
    x = x < 0 ? 0 : x >= width ? width - 1 : x;
    y = y < 0 ? 0 : y >= height ? height - 1 : y;
    return buffer->memory[(size_t)y * buffer->pitch + x];
}

static long apart(const Buffer *now, const Buffer *before, int x, int y, int dx, int dy)
{
    long total = 0;
    for (int j = -4; j < 4; ++j)
        for (int i = -4; i < 4; ++i) {
            long d = pixel(now, x + i, y + j) - pixel(before, x + i + dx, y + j + dy);
            total += d * d;
        }
    return total;
}

static int is(const Buffer *buffer, Session *session, uint32_t usage)
{
    return buffer && buffer->alive == ALIVE && buffer->session == session &&
           buffer->described.usage == usage;
}

static int execute(Session *session, const In *in, Out *out)
{
    MAY_FAIL("nvOFExecute");
    WANT(session && session->alive == ALIVE && session->ready && session->streams);
    WANT(is(in->input, session, INPUT) && is(in->reference, session, INPUT));
    WANT(in->input != in->reference);
    WANT(in->no_temporal_hints == 1);
    WANT(!in->hints && !in->padding && !in->private_data && !in->padding2 && !in->rois && !in->roi);
    WANT(is(out->flow, session, OUTPUT) && !out->private_data);
    WANT(session->init.cost ? is(out->cost, session, COST) : !out->cost);
    const Buffer *now = in->input, *before = in->reference, *flow = out->flow, *cost = out->cost;
    int grid = (int)session->init.out_grid;
    for (int j = 0; j < (int)flow->described.height; ++j)
        for (int i = 0; i < (int)flow->described.width; ++i) {
            int x = i * grid + grid / 2, y = j * grid + grid / 2;
            long best = apart(now, before, x, y, 0, 0);
            Vector found = {0, 0};
            for (int dy = -6; dy <= 6; ++dy)
                for (int dx = -6; dx <= 6; ++dx) {
                    long here = apart(now, before, x, y, dx, dy);
                    if (here < best) {
                        best = here;
                        found.x = (int16_t)(dx * 32);
                        found.y = (int16_t)(dy * 32);
                    }
                }
            ((Vector *)(flow->memory + (size_t)j * flow->pitch))[i] = found;
            if (cost) cost->memory[(size_t)j * cost->pitch + i] = best > 255 ? 255 : (uint8_t)best;
        }
    ++executed;
    return OK;
}

static int destroy_buffer(Buffer *buffer)
{
    WANT(buffer && buffer->alive == ALIVE);
    if (buffer->session->alive != ALIVE) return refuse(INVALID_CALL, "its session went before");
    buffer->alive = 0;
    free(buffer->memory);
    --buffers;
    MAY_FAIL("nvOFDestroyGPUBufferCuda");
    return OK;
}

static int destroy(Session *session)
{
    WANT(session && session->alive == ALIVE);
    session->alive = 0;
    --sessions;
    MAY_FAIL("nvOFDestroy");
    return OK;
}

static int last_error(Session *session, char *text, uint32_t *size)
{
    if (!session || session->alive != ALIVE || *size < 80) return INVALID_PARAM;
    memcpy(text, said, sizeof said);
    *size = (uint32_t)strlen(said);
    return OK;
}

static int get_caps(Session *session, int which, uint32_t *values, uint32_t *count)
{
    MAY_FAIL("nvOFGetCaps");
    static const uint32_t turing[] = {4}, ampere[] = {1, 2, 4}, least = 32, most = 8192;
    int old = !strcmp(failing, "only grid 4");
    const uint32_t *from = which == 0 ? (old ? turing : ampere) : which <= 5 ? &least : &most;
    WANT(which == 0 || (which >= 4 && which <= 7));
    uint32_t length = which == 0 && !old ? 3 : 1;
    if (values) memcpy(values, from, length * sizeof *values);
    *count = length;
    return OK;
}

int NvOFGetMaxSupportedApiVersion(uint32_t *version)
{
    MAY_FAIL("NvOFGetMaxSupportedApiVersion");
    *version = newest;
    return OK;
}

int NvOFAPICreateInstanceCuda(uint32_t version, Functions *list)
{
    MAY_FAIL("NvOFAPICreateInstanceCuda");
    if (version != 0x20) return INVALID_VERSION;
    void *calls[12] = {create,      init,    create_buffer,  get_array, get_pointer, get_strides,
                       set_streams, execute, destroy_buffer, destroy,   last_error,  get_caps};
    memcpy(list->calls, calls, sizeof calls);
    if (!strcmp(failing, "a missing function")) list->calls[7] = NULL;
    return OK;
}
