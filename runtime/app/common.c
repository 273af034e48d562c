/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sys/sys.h"

#define SPINS "20000" /* a fraction of a millisecond */

/*
 * Idle OpenMP threads spin for milliseconds by default, and on a machine that has other work the thread
 * that all wait for is then the one that does not run: an inference took five times as long. Without
 * any spinning, waking up after every loop took a tenth of the time of two threads. So they spin for about as
 * long as the short serial parts between loops are. The variables are read before main(), so it needs
 * a new start; whoever sets one of them is left alone.
 */
void rt_app_let_threads_sleep(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT") ||
        setenv("OMP_WAIT_POLICY", "passive", 1) != 0 || setenv("GOMP_SPINCOUNT", SPINS, 1) != 0)
        return;
    execv("/proc/self/exe", argv); /* where that fails, things go on as they were */
}

/* Always one line: file names and messages of libraries may contain anything. */
static void print_line(const struct rt_app *app, const char *severity, const char *format,
                       va_list arguments)
{
    char text[RT_APP_PATH + 512];
    int length = vsnprintf(text, sizeof text, format, arguments);
    if (length < 0)
        text[0] = '\0';
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    fflush(stdout);
    fprintf(stderr, "%s: %s: %s\n", app->name, severity, text);
}

int rt_app_error(const struct rt_app *app, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(app, "error", format, arguments);
    va_end(arguments);
    return 1;
}

int rt_app_fail(const struct rt_app *app, const struct rt_error *err)
{
    return rt_app_error(app, "%s", err->text);
}

int rt_app_usage(const struct rt_app *app, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(app, "error", format, arguments);
    va_end(arguments);
    return 2;
}

void rt_app_warn(const struct rt_app *app, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(app, "warning", format, arguments);
    va_end(arguments);
}

enum rt_status rt_app_status(struct rt_error *err, enum rt_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(err->text, sizeof err->text, format, arguments);
    va_end(arguments);
    err->status = status;
    return status;
}

double rt_app_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

uint64_t rt_app_peak_rss(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
    return (uint64_t)usage.ru_maxrss * 1024; /* Linux counts in KiB */
}

uint64_t rt_app_file_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

int rt_app_threads(const struct rt_app *app)
{
    int threads = app->threads ? app->threads : sys_threads();
    return threads < 256 ? threads : 256;
}

const char *rt_app_bytes(char text[RT_APP_BYTES_TEXT], uint64_t bytes)
{
    static const char *const unit[] = {"KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes / 1024;
    uint32_t u = 0;
    if (bytes < 1024) {
        snprintf(text, RT_APP_BYTES_TEXT, "%u bytes", (unsigned)bytes);
        return text;
    }
    while (value >= 1000 && u < 3) {
        value /= 1024;
        u++;
    }
    snprintf(text, RT_APP_BYTES_TEXT, value < 10 ? "%.2f %s" : "%.1f %s", value, unit[u]);
    return text;
}

bool rt_app_join(char out[RT_APP_PATH], const char *directory, const char *file)
{
    int length = snprintf(out, RT_APP_PATH, "%s/%s", directory, file);
    return length > 0 && length < RT_APP_PATH;
}

bool rt_app_key_path(const struct rt_app *app, const char *file, char out[RT_APP_PATH])
{
    const char *path = app->keys ? app->keys : "keys";
    struct stat st;
    bool fits;
    if (stat(path, &st) != 0) {
        if (errno == ENOENT && !app->keys)
            rt_app_error(app, "keys: no such directory; 'keygen keys' of the client makes it");
        else
            rt_app_error(app, "%s: %s", path, strerror(errno));
        return false;
    }
    if (S_ISDIR(st.st_mode))
        fits = rt_app_join(out, path, file);
    else
        fits = snprintf(out, RT_APP_PATH, "%s", path) < RT_APP_PATH;
    if (!fits)
        rt_app_error(app, "%s: %s", path, strerror(ENAMETOOLONG));
    return fits;
}

bool rt_app_data_path(const struct rt_app *app, char out[RT_APP_PATH])
{
    static const char server[] = "-server", suffix[] = ".dat";
    if (app->data) {
        if (snprintf(out, RT_APP_PATH, "%s", app->data) < RT_APP_PATH)
            return true;
        rt_app_error(app, "%s: %s", app->data, strerror(ENAMETOOLONG));
        return false;
    }
    ssize_t length = readlink("/proc/self/exe", out, RT_APP_PATH - sizeof suffix);
    if (length <= 0 || (size_t)length >= RT_APP_PATH - sizeof suffix) {
        rt_app_error(app, "cannot tell where this program lies: name the model data with --data");
        return false;
    }
    size_t end = (size_t)length, tail = sizeof server - 1;
    if (end > tail && memcmp(out + end - tail, server, tail) == 0)
        end -= tail;
    memcpy(out + end, suffix, sizeof suffix);
    return true;
}

bool rt_app_print_json(json_t *root)
{
    /* 12 digits: what is printed was rounded before, and times need no more */
    int failed = !root || json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) != 0;
    json_decref(root);
    if (!failed)
        putchar('\n');
    return !failed;
}
