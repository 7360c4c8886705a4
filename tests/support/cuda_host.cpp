// A device that is a process: memory, textures and launches by messages on stdin and stdout.
//
// Every buffer is a malloc of exactly its size, so that AddressSanitizer sees a byte too many. Memory
// that another process has, too, is mapped where it has it, and is forbidden until it says otherwise.
#include <fcntl.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <random>
#include <vector>

#include "cuda_host.h"

extern char __start_cuda_shared[] __attribute__((weak));
extern char __stop_cuda_shared[] __attribute__((weak));

namespace {

struct Fiber {
    ucontext_t context;
    char* stack;
    void* fake_stack;
    uint3 thread;
    bool done;
};

const size_t STACK = 128 << 10;
std::vector<Fiber> fibers;
std::mt19937 order;
ucontext_t home;
void* home_fake;
const void* home_bottom;
size_t home_size;
Fiber* current;
const HostKernel* running;
const unsigned char* passed;

std::vector<const HostKernel*>& offered() {
    static std::vector<const HostKernel*> kernels;
    return kernels;
}

void leave(bool for_good) {
    Fiber* fiber = current;
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fiber->fake_stack, home_bottom, home_size);
    swapcontext(&fiber->context, &home);
    __sanitizer_finish_switch_fiber(fiber->fake_stack, nullptr, nullptr);
}

void body() {
    __sanitizer_finish_switch_fiber(nullptr, &home_bottom, &home_size);
    running->call(passed);
    current->done = true;
    leave(true);
}

void enter(Fiber& fiber) {
    current = &fiber;
    threadIdx = fiber.thread;
    __sanitizer_start_switch_fiber(&home_fake, fiber.stack, STACK);
    swapcontext(&home, &fiber.context);
    __sanitizer_finish_switch_fiber(home_fake, nullptr, nullptr);
}

template <class T> void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[order() % i]);
}

void run_block() {
    if (__start_cuda_shared)
        memset(__start_cuda_shared, 0xFF, __stop_cuda_shared - __start_cuda_shared);
    size_t count = (size_t)blockDim.x * blockDim.y * blockDim.z, next = 0;
    while (fibers.size() < count) {
        fibers.emplace_back();
        fibers.back().stack = (char*)malloc(STACK);
    }
    for (unsigned z = 0; z < blockDim.z; ++z)
        for (unsigned y = 0; y < blockDim.y; ++y)
            for (unsigned x = 0; x < blockDim.x; ++x) {
                Fiber& fiber = fibers[next++];
                fiber.thread = {x, y, z};
                fiber.done = false;
                fiber.fake_stack = nullptr;
                getcontext(&fiber.context);
                fiber.context.uc_stack.ss_sp = fiber.stack;
                fiber.context.uc_stack.ss_size = STACK;
                fiber.context.uc_link = nullptr;
                makecontext(&fiber.context, body, 0);
            }
    std::vector<size_t> alive(count);
    for (size_t i = 0; i < count; ++i) alive[i] = i;
    while (!alive.empty()) {
        shuffle(alive);
        std::vector<size_t> waiting;
        for (size_t i : alive) {
            enter(fibers[i]);
            if (!fibers[i].done) waiting.push_back(i);
        }
        if (!waiting.empty() && waiting.size() != count)
            cuda_host_fault("a barrier that not all threads of a block reach");
        alive = waiting;
    }
}

void take(void* into, size_t size) {
    if (size && fread(into, 1, size, stdin) != size) exit(0);
}

template <class T> T take() {
    T value;
    take(&value, sizeof(T));
    return value;
}

void give(const void* from, size_t size) {
    fwrite(from, 1, size, stdout);
    fflush(stdout);
}

void launch() {
    char name[64] = {};
    take(name, sizeof(name));
    uint32_t shape[6];
    take(shape, sizeof(shape));
    order.seed(take<uint32_t>());
    int32_t count = take<int32_t>();
    std::vector<int32_t> sizes(count);
    size_t total = 0;
    for (int32_t& size : sizes) total += size = take<int32_t>();
    std::vector<unsigned char> bytes(total + 1);
    take(bytes.data(), total);
    running = nullptr;
    for (const HostKernel* kernel : offered())
        if (!strcmp(kernel->name, name)) running = kernel;
    if (!running) cuda_host_fault("no such kernel");
    if (running->count != count) cuda_host_fault("another number of arguments than the kernel has");
    for (int i = 0; i < count; ++i)
        if (running->sizes[i] != sizes[i]) cuda_host_fault("an argument of another size");
    passed = bytes.data();
    gridDim = {shape[0], shape[1], shape[2]};
    blockDim = {shape[3], shape[4], shape[5]};
    std::vector<uint3> blocks;
    for (unsigned z = 0; z < gridDim.z; ++z)
        for (unsigned y = 0; y < gridDim.y; ++y)
            for (unsigned x = 0; x < gridDim.x; ++x) blocks.push_back({x, y, z});
    shuffle(blocks);
    for (const uint3& block : blocks) {
        blockIdx = block;
        run_block();
    }
}

}  // namespace

int cuda_host_offer(const HostKernel* kernels, int count) {
    for (int i = 0; i < count; ++i) offered().push_back(kernels + i);
    return count;
}

void cuda_host_barrier() {
    leave(false);
    threadIdx = current->thread;
}

int main() {
    for (;;) {
        switch (take<char>()) {
            case 'P':
                give("D", 1);
                break;
            case 'A': {  // allocate: bytes that are no numbers
                uint64_t size = take<uint64_t>();
                void* memory = nullptr;
                if (posix_memalign(&memory, 512, size)) cuda_host_fault("no memory");
                memset(memory, 0xFF, size);
                give(&memory, sizeof(memory));
                break;
            }
            case 'F':
                free((void*)take<uint64_t>());
                break;
            case 'M': {  // map a file
                uint64_t at = take<uint64_t>(), size = take<uint64_t>(), length = take<uint64_t>();
                std::vector<char> path(length + 1);
                take(path.data(), length);
                int file = open(path.data(), O_RDWR);
                int how = MAP_SHARED | MAP_FIXED_NOREPLACE;
                void* found = mmap((void*)at, size, PROT_READ | PROT_WRITE, how, file, 0);
                if (found != (void*)at) cuda_host_fault("a file that cannot be mapped there");
                close(file);
                ASAN_POISON_MEMORY_REGION((void*)at, size);
                give("D", 1);
                break;
            }
            case 'U': {  // allow
                uint64_t at = take<uint64_t>(), size = take<uint64_t>();
                ASAN_UNPOISON_MEMORY_REGION((void*)at, size);
                break;
            }
            case 'O': {  // forbid
                uint64_t at = take<uint64_t>(), size = take<uint64_t>();
                ASAN_POISON_MEMORY_REGION((void*)at, size);
                break;
            }
            case 'W': {
                unsigned char* to = (unsigned char*)take<uint64_t>();
                uint64_t pitch = take<uint64_t>(), row = take<uint64_t>(), rows = take<uint64_t>();
                std::vector<unsigned char> line(row);
                for (uint64_t i = 0; i < rows; ++i) {
                    take(line.data(), row);
                    memcpy(to + i * pitch, line.data(), row);
                }
                break;
            }
            case 'R': {
                const unsigned char* from = (const unsigned char*)take<uint64_t>();
                uint64_t pitch = take<uint64_t>(), row = take<uint64_t>(), rows = take<uint64_t>();
                std::vector<unsigned char> all(row * rows);
                for (uint64_t i = 0; i < rows; ++i)
                    memcpy(all.data() + i * row, from + i * pitch, row);
                give(all.data(), all.size());
                break;
            }
            case 'T': {
                HostTexture* texture = new HostTexture;
                texture->base = (const unsigned char*)take<uint64_t>();
                texture->pitch = take<int64_t>();
                int32_t facts[5];
                take(facts, sizeof(facts));
                texture->width = facts[0];
                texture->height = facts[1];
                texture->channels = facts[2];
                texture->bytes = facts[3];
                texture->zero_beyond = facts[4];
                if ((uintptr_t)texture->base % 512 || texture->pitch % 32)
                    cuda_host_fault("a texture that a GPU would refuse: 512 byte base, 32 byte rows");
                give(&texture, sizeof(texture));
                break;
            }
            case 'L': {
                launch();
                char done = 'D';
                give(&done, 1);
                break;
            }
            default:
                cuda_host_fault("an unknown message");
        }
    }
}
