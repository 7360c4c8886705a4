/* Between a process and its C library: one write, sync or rename in so many below a folder fails
 * with EIO. Which ones, the seed, a counter and the process's id decide; FAILING_ALIKE leaves the last
 * one out, so that a run of one process can be had again. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_uint count;

static int below(const char *path)
{
    const char *under = getenv("FAILING_UNDER");
    return under && path && strncmp(path, under, strlen(under)) == 0;
}

static int unlucky(void)
{
    const char *seed = getenv("FAILING_SEED"), *one_in = getenv("FAILING_ONE_IN");
    if (!seed || !one_in)
        return 0;
    uint64_t process = getenv("FAILING_ALIKE") ? 0 : (uint64_t)getpid();
    uint64_t x = (uint64_t)atoll(seed) * 0x9e3779b97f4a7c15u + process * 0xbf58476du
                 + atomic_fetch_add(&count, 1);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    if (x % (uint64_t)atoll(one_in))
        return 0;
    errno = EIO;
    return 1;
}

static int fails(int fd)
{
    char link[64], path[4096];
    if (fd < 3 || !getenv("FAILING_UNDER"))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return below(path) && unlucky();
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t size)
{
    return fails(fd) ? -1 : REAL(write)(fd, bytes, size);
}

ssize_t writev(int fd, const struct iovec *parts, int number)
{
    return fails(fd) ? -1 : REAL(writev)(fd, parts, number);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at)
{
    return fails(fd) ? -1 : REAL(pwrite64)(fd, bytes, size, at);
}

int fsync(int fd)
{
    return fails(fd) ? -1 : REAL(fsync)(fd);
}

int rename(const char *from, const char *to)
{
    return below(to) && unlucky() ? -1 : REAL(rename)(from, to);
}
