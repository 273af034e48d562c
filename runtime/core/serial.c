/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The container that every file of Weft is (rt.h). A reader maps the file and believes nothing:
 * first the fixed header, then the length against the bytes that are there, then the checksum, so
 * that a damaged file is called damaged; only then whether it is the file that was wanted.
 * Nothing is allocated here that a length in the file could make large.
 */
#include "core/core.h"

/* XXH3_state_t as a complete type, so that the library allocates nothing */
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files are little-endian and are mapped: this needs a little-endian machine"
#endif

#define HASHED_BYTES 56u /* of the header: all but the checksum itself */
_Static_assert(sizeof(struct core_header) == 64, "the header's layout is the file's");

static const uint8_t magic[8] = {'W', 'E', 'F', 'T', 'F', 'I', 'L', 'E'};

static const char *kind_text(uint32_t kind)
{
    switch (kind) {
    case RT_KIND_SECRET_KEY:
        return "a secret key";
    case RT_KIND_EVAL_KEYS:
        return "evaluation keys";
    case RT_KIND_CIPHERTEXT:
        return "a ciphertext";
    case RT_KIND_MODEL_DATA:
        return "model data";
    default:
        return "of an unknown kind";
    }
}

static uint64_t checksum(const struct core_header *h, const uint8_t *payload, size_t bytes)
{
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, h, HASHED_BYTES);
    XXH3_64bits_update(&state, payload, bytes);
    return XXH3_64bits_digest(&state);
}

/* ---- reading -------------------------------------------------------------------------------- */

static enum rt_status map_file(struct core_file *f, const char *path, struct rt_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hang us */
    if (fd < 0) {
        return core_fail(err, RT_ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    }
    struct stat st;
    enum rt_status status = RT_OK;
    if (fstat(fd, &st) != 0) {
        status = core_fail(err, RT_ERR_IO, "%s: cannot read: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        status = core_fail(err, RT_ERR_IO, "%s: not a regular file", path);
    } else if (st.st_size < (off_t)sizeof(struct core_header)) {
        status = core_fail(err, RT_ERR_FORMAT, "%s: truncated at byte %lld of a header of %zu",
                           path, (long long)st.st_size, sizeof(struct core_header));
    } else {
        f->size = (size_t)st.st_size;
        f->map = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (f->map == MAP_FAILED) {
            f->map = NULL;
            status = core_fail(err, RT_ERR_IO, "%s: cannot map: %s", path, strerror(errno));
        }
    }
    (void)close(fd);
    return status;
}

/* Is this a whole and undamaged container that this build can read, of the kind that is wanted? */
static enum rt_status check_container(const struct core_file *f, const char *path,
                                      enum rt_kind kind, struct rt_error *err)
{
    const struct core_header *h = &f->header;
    if (memcmp(h->magic, magic, sizeof magic) != 0) {
        return core_fail(err, RT_ERR_FORMAT, "%s: not a Weft file", path);
    }
    if (h->version != CORE_VERSION) {
        return core_fail(err, RT_ERR_FORMAT, "%s: file is v%u, this build reads v%u", path,
                         h->version, CORE_VERSION);
    }
    if (h->kind != (uint32_t)kind) {
        return core_fail(err, RT_ERR_MISMATCH, "%s: is %s, expected %s", path, kind_text(h->kind),
                         kind_text(kind));
    }
    uint64_t there = f->size - sizeof *h;
    if (h->payload > there) {
        return core_fail(err, RT_ERR_FORMAT, "%s: truncated at byte %zu of %llu", path, f->size,
                         h->payload > UINT64_MAX - sizeof *h
                             ? (unsigned long long)UINT64_MAX
                             : (unsigned long long)(h->payload + sizeof *h));
    }
    if (h->payload < there) {
        return core_fail(err, RT_ERR_FORMAT, "%s: %llu bytes too many after the end", path,
                         (unsigned long long)(there - h->payload));
    }
    if (h->checksum != checksum(h, f->payload, (size_t)h->payload)) {
        return core_fail(err, RT_ERR_FORMAT, "%s: wrong checksum: the file is damaged", path);
    }
    if ((h->flags & ~CORE_FLAG_INSECURE) != 0 || h->zero != 0) {
        return core_fail(err, RT_ERR_FORMAT, "%s: unknown flags", path);
    }
    return RT_OK;
}

/* Was it made for this model, these parameters, this key? */
static enum rt_status check_match(const struct core_header *h, const char *path,
                                  const struct core_expect *want, struct rt_error *err)
{
    bool insecure = (h->flags & CORE_FLAG_INSECURE) != 0;
    if (want->ctx != NULL && insecure != want->ctx->insecure) {
        return core_fail(err, RT_ERR_MISMATCH,
                         insecure
                             ? "%s: made with insecure toy parameters, refused by a secure program"
                             : "%s: made with secure parameters, but this program's are toys",
                         path);
    }
    if (h->model_hash != want->model_hash) {
        return core_fail(err, RT_ERR_MISMATCH,
                         "%s: belongs to another model (%016llx, expected %016llx)", path,
                         (unsigned long long)h->model_hash, (unsigned long long)want->model_hash);
    }
    uint64_t fingerprint = want->ctx != NULL ? want->ctx->fingerprint : 0;
    if (h->fingerprint != fingerprint) {
        return core_fail(err, RT_ERR_MISMATCH,
                         "%s: made for other parameters (%016llx, expected %016llx)", path,
                         (unsigned long long)h->fingerprint, (unsigned long long)fingerprint);
    }
    if ((want->ctx == NULL) != (h->key_id == 0)) {
        return core_fail(err, RT_ERR_FORMAT, "%s: %s", path,
                         h->key_id == 0 ? "names no key" : "names a key but holds no key's data");
    }
    if (want->key_id != 0 && h->key_id != want->key_id) {
        return core_fail(err, RT_ERR_MISMATCH,
                         "%s: made with another key (%016llx, expected %016llx)", path,
                         (unsigned long long)h->key_id, (unsigned long long)want->key_id);
    }
    return RT_OK;
}

enum rt_status core_file_open(struct core_file *f, const char *path, const struct core_expect *want,
                              struct rt_error *err)
{
    memset(f, 0, sizeof *f);
    enum rt_status status = map_file(f, path, err);
    if (status == RT_OK) {
        memcpy(&f->header, f->map, sizeof f->header);
        f->payload = (const uint8_t *)f->map + sizeof f->header;
        status = check_container(f, path, want->kind, err);
    }
    if (status == RT_OK) {
        status = check_match(&f->header, path, want, err);
    }
    if (status != RT_OK) {
        core_file_close(f);
    }
    return status;
}

void core_file_close(struct core_file *f)
{
    if (f->map != NULL) {
        (void)munmap(f->map, f->size);
    }
    memset(f, 0, sizeof *f);
}

void core_file_forget(const struct core_file *f, const uint8_t *at, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t from = (size_t)(at - (const uint8_t *)f->map);
    size_t first = (from + page - 1) / page * page;
    size_t end = (from + bytes) / page * page;
    if (first < end) {
        (void)madvise((uint8_t *)f->map + first, end - first, MADV_DONTNEED);
    }
}

bool core_residues_ok(const uint64_t *x, size_t n, uint64_t q)
{
    uint64_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        bad |= x[i] | (q - 1 - x[i]); /* bit 63 is set by x >= 2^63 or, q being small, by x >= q */
    }
    return bad >> 63 == 0;
}

/* ---- writing -------------------------------------------------------------------------------- */

struct core_writer {
    struct core_header header;
    XXH3_state_t hash;
    uint64_t written; /* payload bytes so far */
    int fd;           /* -1 once finished */
    bool finished;
    bool named;      /* the file has its temporary name */
    char *temporary; /* both names live behind the struct, in the same block */
    char *path;
};

static enum rt_status write_failed(const struct core_writer *w, struct rt_error *err)
{
    return core_fail(err, RT_ERR_IO, "%s: cannot write: %s", w->path, strerror(errno));
}

static bool write_all(int fd, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    while (bytes != 0) {
        ssize_t n = write(fd, at, bytes < (size_t)1 << 30 ? bytes : (size_t)1 << 30);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

#define SUFFIX ".000000"

/* The temporary name with number `i` of those that this process may take */
static void number_name(struct core_writer *w, unsigned i)
{
    size_t stem = strlen(w->temporary) - (sizeof SUFFIX - 2);
    unsigned number = ((unsigned)getpid() + i) % 1000000;
    (void)snprintf(w->temporary + stem, sizeof SUFFIX - 1, "%06u", number);
}

/*
 * A file without a name where the file system can (w->named says): it vanishes with the process, however
 * that ends. -1 and errno on failure. The mode is less what the process's mask forbids.
 */
static int create(struct core_writer *w, mode_t mode)
{
    char *slash = strrchr(w->path, '/');
    const char *folder = slash == NULL ? "." : slash == w->path ? "/" : w->path;
    if (slash != NULL && slash != w->path) {
        *slash = 0;
    }
    int fd = access("/proc/self/fd", X_OK) != 0 /* what give_name() needs */
                 ? -1
                 : open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);
    if (slash != NULL) {
        *slash = '/';
    }
    w->named = fd < 0;
    for (unsigned i = 0; fd < 0 && i < 1000; i++) {
        number_name(w, i);
        fd = open(w->temporary, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode);
        if (fd < 0 && errno != EEXIST) {
            break;
        }
    }
    return fd;
}

/* The temporary name, for the moment from here to the renaming. */
static bool give_name(struct core_writer *w)
{
    char self[32];
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", w->fd);
    for (unsigned i = 0; i < 1000 && !w->named; i++) {
        number_name(w, i);
        w->named = linkat(AT_FDCWD, self, AT_FDCWD, w->temporary, AT_SYMLINK_FOLLOW) == 0;
        if (!w->named && errno != EEXIST) {
            break;
        }
    }
    return w->named;
}

enum rt_status core_writer_open(struct core_writer **out, const char *path,
                                const struct core_header *h, struct rt_error *err)
{
    static const char suffix[] = SUFFIX;
    *out = NULL;
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        return core_fail(err, RT_ERR_IO, "%s: exists and is not a regular file", path);
    }
    size_t length = strlen(path);
    struct core_writer *w = sys_alloc(sizeof *w + 2 * length + 1 + sizeof suffix);
    if (w == NULL) {
        return core_no_memory(err, path);
    }
    w->path = (char *)(w + 1);
    memcpy(w->path, path, length + 1);
    w->temporary = w->path + length + 1;
    memcpy(w->temporary, path, length);
    memcpy(w->temporary + length, suffix, sizeof suffix);
    w->header = *h;
    memcpy(w->header.magic, magic, sizeof magic);
    w->header.version = CORE_VERSION;
    w->header.zero = 0;
    w->header.checksum = 0;
    XXH3_64bits_reset(&w->hash);
    XXH3_64bits_update(&w->hash, &w->header, HASHED_BYTES);
    w->fd = create(w, h->kind == RT_KIND_SECRET_KEY ? 0600 : 0666);
    if (w->fd < 0) {
        enum rt_status status = core_fail(err, RT_ERR_IO, "%s: cannot create a file beside it: %s",
                                          path, strerror(errno));
        sys_free(w);
        return status;
    }
    /* The real header follows when the checksum is known: until then the file has no magic. */
    const struct core_header blank = {{0}, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    if (!write_all(w->fd, &blank, sizeof blank)) {
        enum rt_status status = write_failed(w, err);
        core_writer_abandon(w);
        return status;
    }
    *out = w;
    return RT_OK;
}

enum rt_status core_writer_put(struct core_writer *w, const void *data, size_t bytes,
                               struct rt_error *err)
{
    XXH3_64bits_update(&w->hash, data, bytes);
    w->written += bytes;
    return write_all(w->fd, data, bytes) ? RT_OK : write_failed(w, err);
}

enum rt_status core_writer_finish(struct core_writer *w, struct rt_error *err)
{
    if (w->finished) {
        return RT_OK;
    }
    if (w->written != w->header.payload) {
        return core_fail(err, RT_ERR_ARGUMENT, "%s: %llu bytes written, %llu announced", w->path,
                         (unsigned long long)w->written, (unsigned long long)w->header.payload);
    }
    w->header.checksum = XXH3_64bits_digest(&w->hash);
    if (lseek(w->fd, 0, SEEK_SET) != 0 || !write_all(w->fd, &w->header, sizeof w->header)) {
        return write_failed(w, err);
    }
    /* Ciphertexts can be made again, keys cannot. */
    bool durable = w->header.kind == RT_KIND_SECRET_KEY || w->header.kind == RT_KIND_EVAL_KEYS;
    if ((durable && fsync(w->fd) != 0) || !give_name(w)) {
        return write_failed(w, err);
    }
    int fd = w->fd;
    w->fd = -1;
    if (close(fd) != 0) {
        return write_failed(w, err);
    }
    w->finished = true;
    return RT_OK;
}

enum rt_status core_writer_commit(struct core_writer *w, struct rt_error *err)
{
    enum rt_status status = core_writer_finish(w, err);
    if (status == RT_OK && rename(w->temporary, w->path) != 0) {
        status = core_fail(err, RT_ERR_IO, "%s: cannot rename to it: %s", w->path, strerror(errno));
    }
    if (status != RT_OK) {
        core_writer_abandon(w);
        return status;
    }
    sys_free(w);
    return RT_OK;
}

const char *core_writer_path(const struct core_writer *w)
{
    return w->path;
}

void core_writer_abandon(struct core_writer *w)
{
    if (w == NULL) {
        return;
    }
    if (w->fd >= 0) {
        (void)close(w->fd);
    }
    if (w->named) {
        (void)unlink(w->temporary);
    }
    sys_free(w);
}
