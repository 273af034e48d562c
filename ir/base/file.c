/* SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_map(const char *path, struct mapped_file *out, const char **why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* NONBLOCK: a FIFO must not hang us */
    if (fd < 0) {
        *why = strerror(errno);
        return false;
    }
    struct stat st;
    const char *bad = NULL;
    void *data = NULL;
    if (fstat(fd, &st) != 0) {
        bad = strerror(errno);
    } else if (S_ISDIR(st.st_mode)) {
        bad = "is a directory";
    } else if (!S_ISREG(st.st_mode)) {
        bad = "not a regular file";
    } else if (st.st_size > 0) {
        data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            bad = strerror(errno);
        }
    }
    close(fd);
    if (bad) {
        *why = bad;
        return false;
    }
    out->data = data ? data : (const void *)"";
    out->size = (size_t)st.st_size;
    return true;
}

static bool write_all(int fd, const void *data, size_t size)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(fd, p, size);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return false;
        }
        p += n;
        size -= (size_t)n;
    }
    return true;
}

/* mkstemp() makes files private; ours are ordinary ones. */
static mode_t ordinary_mode(void)
{
    mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

/* A device or a pipe: written as it is. Renaming would put a file in its place. */
static void write_special(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int err = fd < 0 || !write_all(fd, data, size) ? errno : 0;
    if (fd >= 0 && close(fd) != 0 && !err) {
        err = errno;
    }
    if (err) {
        diag_fatal(NO_LOC, "cannot write '%s': %s", path, strerror(err));
    }
}

void file_write(const char *path, const void *data, size_t size)
{
    if (strcmp(path, "-") == 0) {
        if (fwrite(data, 1, size, stdout) != size || fflush(stdout) != 0) {
            diag_fatal(NO_LOC, "cannot write to standard output: %s", strerror(errno));
        }
        return;
    }
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        write_special(path, data, size);
        return;
    }
    struct arena *a = arena_new();
    char *real = lstat(path, &st) == 0 && S_ISLNK(st.st_mode) ? realpath(path, NULL) : NULL;
    char *tmp = arena_printf(a, "%s.tmpXXXXXX", real ? real : path);
    int fd = mkstemp(tmp);
    int err = 0;
    if (fd < 0) {
        err = errno;
    } else {
        if (!write_all(fd, data, size) || fchmod(fd, ordinary_mode()) != 0) {
            err = errno;
        }
        if (close(fd) != 0 && !err) {
            err = errno;
        }
        if (!err && rename(tmp, real ? real : path) != 0) {
            err = errno;
        }
        if (err) {
            unlink(tmp);
        }
    }
    free(real);
    arena_free(a);
    if (err) {
        diag_fatal(NO_LOC, "cannot write '%s': %s", path, strerror(err));
    }
}
