/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The directory of the interrupt watcher, below; one `run` a process. */
static char watched[RT_APP_PATH];
static atomic_bool interrupted;

/* The directory is flat. Another thread may be about to add a file: try until it is gone. */
static void remove_directory(const char *path)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        DIR *dir = opendir(path);
        struct dirent *entry;
        if (!dir)
            return;
        while ((entry = readdir(dir)))
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                unlinkat(dirfd(dir), entry->d_name, 0);
        closedir(dir);
        if (rmdir(path) == 0 || errno != ENOTEMPTY)
            return;
    }
}

/*
 * An interrupted program must not leave a secret key in /tmp. Listing a directory is not allowed in
 * a signal handler, so a thread waits for the signals, which all the others block.
 */
static void *watch(void *arg)
{
    const sigset_t *signals = arg;
    int number = 0;
    sigwait(signals, &number);
    atomic_store(&interrupted, true);
    remove_directory(watched);
    signal(number, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
    raise(number);
    return NULL;
}

static bool start_watch(void)
{
    static sigset_t signals;
    pthread_t thread;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    return pthread_sigmask(SIG_BLOCK, &signals, NULL) == 0 &&
           pthread_create(&thread, NULL, watch, &signals) == 0 && pthread_detach(thread) == 0;
}

static enum rt_status keep_directory(struct rt_app_workdir *w, const char *keep,
                                     struct rt_error *err)
{
    w->kept = true;
    if (snprintf(w->path, sizeof w->path, "%s", keep) >= (int)sizeof w->path)
        return rt_app_status(err, RT_ERR_IO, "%s: %s", keep, strerror(ENAMETOOLONG));
    if (mkdir(keep, 0700) != 0 && errno != EEXIST)
        return rt_app_status(err, RT_ERR_IO, "%s: %s", keep, strerror(errno));
    return RT_OK;
}

enum rt_status rt_app_workdir_open(struct rt_app_workdir *w, const char *keep, struct rt_error *err)
{
    const char *base = getenv("TMPDIR");
    w->kept = false;
    if (keep)
        return keep_directory(w, keep, err);
    if (!rt_app_join(w->path, base && base[0] ? base : "/tmp", "weft-run-XXXXXX"))
        return rt_app_status(err, RT_ERR_IO, "TMPDIR: %s", strerror(ENAMETOOLONG));
    if (!mkdtemp(w->path))
        return rt_app_status(err, RT_ERR_IO, "%s: %s", w->path, strerror(errno));
    memcpy(watched, w->path, sizeof watched);
    if (!start_watch()) {
        remove_directory(w->path);
        return rt_app_status(err, RT_ERR_MEMORY, "cannot start a thread");
    }
    return RT_OK;
}

void rt_app_workdir_close(struct rt_app_workdir *w)
{
    if (w->kept)
        return;
    /* whose files vanish fails; but the signal, not that, is how the program ends */
    while (atomic_load(&interrupted))
        pause();
    remove_directory(w->path);
}
