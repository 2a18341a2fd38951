/* Loaded into a process by LD_PRELOAD, for trials: ends it at its n-th call that changes files, lets the calls that
 * bring data to the disk do nothing, or lets its wall clock show another time.
 *
 * Calls on anything but regular files (pipes, terminals) do not count. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static _Atomic long counted;
static long end_at;        /* 0: never */
static int torn;            /* whether half of a write is written before */
static char *told;         /* where the name of the call goes: 64 shared bytes, and from 4096 on those of all */
static long told_at;
static int64_t *clock_shift; /* added to CLOCK_REALTIME, ns */
static int no_sync;
static int armed;

__attribute__((visibility("default"))) void interrupt_at(long n, int half, char *where)
{
    counted = 0;
    end_at = n;
    torn = half;
    told = where;
    told_at = 4096;
    armed = n >= 0;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("INTERRUPT_CLOCK");
    no_sync = getenv("INTERRUPT_NO_SYNC") != NULL;
    if (path != NULL) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            clock_shift = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
            close(fd);
        }
    }
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (real == NULL) \
        real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* Returns whether this is the call to end at, with half of it written before. */
static int count(const char *name, int writes)
{
    if (!armed)
        return 0;
    if (told != NULL && end_at == 0) {
        /* Only to know which calls there are; threads at once may mix two names. */
        long at = told_at;
        told_at += strlen(name) + 1;
        memcpy(told + at, name, strlen(name));
        told[told_at - 1] = ' ';
    }
    if (++counted != end_at)
        return 0;
    if (told != NULL)
        strncpy(told, name, 63);
    if (torn && writes)
        return 1;
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void end(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static int regular(int fd)
{
    struct stat about;
    return armed && fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        if (((flags & O_CREAT) && access(path, F_OK) != 0) || (flags & O_TRUNC)) \
            count(#name, 0); \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) \
    { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        if (((flags & O_CREAT) && faccessat(at, path, F_OK, 0) != 0) || (flags & O_TRUNC)) \
            count(#name, 0); \
        return real(at, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write);
    if (regular(fd) && count("write", 1)) {
        real(fd, data, size / 2);
        end();
    }
    return real(fd, data, size);
}

#define PWRITE(name, offset_type) \
    ssize_t name(int fd, const void *data, size_t size, offset_type offset) \
    { \
        REAL(name); \
        if (regular(fd) && count(#name, 1)) { \
            real(fd, data, size / 2, offset); \
            end(); \
        } \
        return real(fd, data, size, offset); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int number)
{
    REAL(writev);
    if (regular(fd))
        count("writev", 0);
    return real(fd, parts, number);
}

#define ON_FILE(type, name, parameters, arguments) \
    type name parameters \
    { \
        REAL(name); \
        if (regular(fd)) \
            count(#name, 0); \
        return real arguments; \
    }
ON_FILE(int, ftruncate, (int fd, off_t size), (fd, size))
ON_FILE(int, ftruncate64, (int fd, off64_t size), (fd, size))
ON_FILE(int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
ON_FILE(int, fallocate64, (int fd, int mode, off64_t at, off64_t size), (fd, mode, at, size))
ON_FILE(int, posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size))
ON_FILE(int, posix_fallocate64, (int fd, off64_t at, off64_t size), (fd, at, size))
ON_FILE(int, fchmod, (int fd, mode_t mode), (fd, mode))

#define ON_NAME(name, parameters, arguments) \
    int name parameters \
    { \
        REAL(name); \
        count(#name, 0); \
        return real arguments; \
    }
ON_NAME(rename, (const char *from, const char *to), (from, to))
ON_NAME(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
ON_NAME(renameat2, (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags))
ON_NAME(link, (const char *from, const char *to), (from, to))
ON_NAME(linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags))
ON_NAME(symlink, (const char *from, const char *to), (from, to))
ON_NAME(unlink, (const char *path), (path))
ON_NAME(unlinkat, (int at, const char *path, int flags), (at, path, flags))
ON_NAME(remove, (const char *path), (path))
ON_NAME(rmdir, (const char *path), (path))
ON_NAME(mkdir, (const char *path, mode_t mode), (path, mode))
ON_NAME(mkdirat, (int at, const char *path, mode_t mode), (at, path, mode))
ON_NAME(chmod, (const char *path, mode_t mode), (path, mode))
ON_NAME(fchmodat, (int at, const char *path, mode_t mode, int flags), (at, path, mode, flags))
ON_NAME(truncate, (const char *path, off_t size), (path, size))

#define SYNC(name, parameters, arguments) \
    int name parameters \
    { \
        REAL(name); \
        if (no_sync) \
            return 0; \
        count(#name, 0); \
        return real arguments; \
    }
SYNC(fsync, (int fd), (fd))
SYNC(fdatasync, (int fd), (fd))
SYNC(msync, (void *at, size_t size, int flags), (at, size, flags))
SYNC(syncfs, (int fd), (fd))

int ioctl(int fd, unsigned long request, ...)
{
    REAL(ioctl);
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (request == 0x40049409) /* FICLONE */
        count("ioctl", 0);
    return real(fd, request, argument);
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    REAL(clock_gettime);
    int result = real(which, now);
    if (result == 0 && clock_shift != NULL && which == CLOCK_REALTIME) {
        int64_t ns = now->tv_sec * 1000000000LL + now->tv_nsec + *(volatile int64_t *)clock_shift;
        now->tv_sec = ns / 1000000000LL;
        now->tv_nsec = ns % 1000000000LL;
    }
    return result;
}
