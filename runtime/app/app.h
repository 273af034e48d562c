/* SPDX-License-Identifier: Apache-2.0 */
#ifndef APP_APP_H
#define APP_APP_H

/*
 * The folder's own interface. Files that the server links (options.c, common.c, info.c, progress.c,
 * app_server.c) refer to nothing in the others; the server test with nm depends on that.
 */

#include <jansson.h>

#include "rt.h"
#include "rt_clear.h"

/* ---- options.c: one table of options, one of commands --------------------------------------- */

enum rt_app_option {
    RT_APP_OUT = 1,          /* -o FILE */
    RT_APP_SECRET = 2,       /* --key DIR or file */
    RT_APP_KEYS = 4,         /* --keys DIR or file */
    RT_APP_DATA = 8,         /* --data FILE */
    RT_APP_THREADS = 16,     /* --threads N */
    RT_APP_FORCE = 32,       /* --force */
    RT_APP_JSON = 64,        /* --json */
    RT_APP_TOP = 128,        /* --top K */
    RT_APP_INDEX = 256,      /* --index I */
    RT_APP_COUNT = 512,      /* --count N */
    RT_APP_KEEP = 1024,      /* --keep DIR */
    RT_APP_QUIET = 2048,     /* -q */
    RT_APP_MEMORY = 1 << 24, /* --max-memory SIZE */
    RT_APP_HELP = 4096,      /* -h */
    RT_APP_LINES = 1 << 20,  /* --lines */
    RT_APP_CHECK = 1 << 22,  /* --check */
    RT_APP_LAYERS = 1 << 21  /* --layers */
};

struct rt_app {
    const char *name; /* of the executable, for messages */
    const struct rt_interface *model;
    const struct rt_program *program;     /* NULL in the client */
    const struct rt_clear_program *clear; /* only in the all-in-one binary */
    unsigned given;                       /* which options were given, enum rt_app_option */
    const char *argument;                 /* the one positional argument, or NULL */
    const char *out, *keys, *data, *keep; /* NULL unless given */
    uint64_t index, count;
    uint32_t top;
    int threads;         /* 0 unless given: as many as the machine has */
    uint64_t max_memory; /* bytes, 0 unless given */
};

struct rt_app_command {
    const char *name, *argument, *summary; /* argument: its name in the help, or NULL */
    unsigned options;                      /* that it takes */
    unsigned required;                     /* of those, which it cannot do without */
    int (*run)(struct rt_app *app);
};

/* Parses, warns of toy parameters, runs the command, and makes sure that stdout was written.
 * `commands` ends with NULL. */
int rt_app_main(struct rt_app *app, const struct rt_app_command *const *commands, int argc,
                char **argv);

/* ---- common.c ------------------------------------------------------------------------------- */

/* Called first by the three entry points: starts the program again with threads that sleep when
 * idle. */
void rt_app_let_threads_sleep(char **argv);
/* Print "NAME: error: ..." as one line (control characters are replaced) and return 1. */
int rt_app_error(const struct rt_app *app, const char *format, ...) RT_PRINTF(2, 3);
int rt_app_fail(const struct rt_app *app, const struct rt_error *err); /* the same, from a status */
int rt_app_usage(const struct rt_app *app, const char *format, ...) RT_PRINTF(2, 3); /* returns 2 */
void rt_app_warn(const struct rt_app *app, const char *format, ...) RT_PRINTF(2, 3);

/* Fills err and returns status. */
enum rt_status rt_app_status(struct rt_error *err, enum rt_status status, const char *format, ...)
    RT_PRINTF(3, 4);

double rt_app_seconds(void);                  /* monotonic clock */
uint64_t rt_app_peak_rss(void);               /* bytes */
uint64_t rt_app_file_bytes(const char *path); /* 0 when there is none */
int rt_app_threads(const struct rt_app *app); /* as given, else as many as the machine has */

#define RT_APP_BYTES_TEXT 32
const char *rt_app_bytes(char text[RT_APP_BYTES_TEXT], uint64_t bytes); /* "35.2 MiB" */

/* "directory/file", or false (and a message) when it does not fit. */
#define RT_APP_PATH 4096
bool rt_app_join(char out[RT_APP_PATH], const char *directory, const char *file);
/* The key file meant by --key or --keys: the path itself, or `file` in it when it is a directory.
 * Default "keys". On failure says so, with the command that makes keys, and returns false. */
bool rt_app_key_path(const struct rt_app *app, const char *file, char out[RT_APP_PATH]);
/* --data, else the executable's own path without "-server", with ".dat". */
bool rt_app_data_path(const struct rt_app *app, char out[RT_APP_PATH]);

/* Prints and frees. False when there was no memory for it. */
bool rt_app_print_json(json_t *root);

/* ---- info.c --------------------------------------------------------------------------------- */

struct rt_app_sizes {
    uint64_t key_file; /* bytes */
    uint64_t ciphertext_in, ciphertext_out;
};
struct rt_app_sizes rt_app_sizes(const struct rt_interface *model);
extern const struct rt_app_command rt_app_info;

/* ---- layers.c: the time of every layer beside the prediction ---------------------------------- */

struct rt_app_layers {
    const struct rt_program *program;
    double *seconds; /* [num_rows], NULL: not wanted */
    uint64_t images;
    uint32_t row; /* that runs; UINT32_MAX: none */
    double since;
    struct rt_memory kept; /* what the prediction depends on: set once the keys are loaded */
};
/* False when there was no memory. Without --layers everything below does nothing. */
bool rt_app_layers_open(struct rt_app_layers *l, const struct rt_app *app);
void rt_app_layers_close(struct rt_app_layers *l);
void rt_app_layers_next(struct rt_app_layers *l, const struct rt_layer *layer);
void rt_app_layers_end(struct rt_app_layers *l); /* of an inference */
void rt_app_layers_print(const struct rt_app_layers *l, int threads);
json_t *rt_app_layers_json(const struct rt_app_layers *l);

/* ---- progress.c: a line on the terminal, nothing elsewhere ----------------------------------- */

struct rt_app_progress {
    bool shown;                  /* stderr is a terminal and nobody said -q */
    double start;                /* of the inference; 0: not begun */
    double predicted_total;      /* seconds, one thread */
    struct rt_app_layers layers; /* timed where it was opened */
};
void rt_app_progress_open(struct rt_app_progress *p, const struct rt_app *app);
void rt_app_progress_step(struct rt_app_progress *p, const char *what); /* "making keys" */
void rt_app_progress_layer(void *progress, const struct rt_layer *layer, double done);
void rt_app_progress_clear(struct rt_app_progress *p);
/* Text of the line, without control characters; apart for the tests. */
void rt_app_progress_text(char *out, size_t size, const char *layer, double done, double elapsed,
                          double predicted_total);

/* ---- image.c, image_decode.c, image_npy.c (client) ------------------------------------------- */

/* Reads one image as raw values [c][h][w] in the units of the model's range. *label is the record's
 * first byte in a record file (.bin), else -1. has_index is an error elsewhere. */
RT_MUST_CHECK enum rt_status rt_app_image_load(const struct rt_interface *model, const char *path,
                                               bool has_index, uint64_t index, double *values,
                                               int *label, struct rt_error *err);
/* Records in a record file; 0 when the file is an image of another kind. */
RT_MUST_CHECK enum rt_status rt_app_image_records(const struct rt_interface *model,
                                                  const char *path, uint64_t *count,
                                                  struct rt_error *err);
/* Values outside the range that the model was made for: correctness is not promised there. */
uint64_t rt_app_image_outside(const struct rt_interface *model, const double *values);

/* Interleaved bytes, as in the file: 1 grey, 3 RGB. `bytes` is allocated with malloc. */
struct rt_app_pixels {
    uint32_t width, height, channels;
    uint8_t *bytes;
};
/* The size is compared before anything of that size is allocated. `path` is for messages. */
RT_MUST_CHECK enum rt_status rt_app_decode_png(const char *path, const uint8_t *data, size_t size,
                                               uint32_t width, uint32_t height,
                                               struct rt_app_pixels *out, struct rt_error *err);
RT_MUST_CHECK enum rt_status rt_app_decode_jpeg(const char *path, const uint8_t *data, size_t size,
                                                uint32_t width, uint32_t height,
                                                struct rt_app_pixels *out, struct rt_error *err);
RT_MUST_CHECK enum rt_status rt_app_decode_npy(const struct rt_interface *model, const char *path,
                                               const uint8_t *data, size_t size, double *values,
                                               struct rt_error *err);
uint64_t rt_app_pixel_count(const struct rt_interface *model); /* c h w */
/* The raw value that a byte of an image stands for. */
double rt_app_byte_value(const struct rt_interface *model, uint8_t byte);
/* Little-endian float32 at p. */
double rt_app_float32(const uint8_t *p);

/* ---- app_client.c: also used by the all-in-one binary ---------------------------------------- */

extern const struct rt_app_command rt_app_keygen, rt_app_encrypt, rt_app_decrypt;
/* ---- answer.c: what a decrypted result is shown as ------------------------------------------- */

/* Indices of the `count` largest values, largest first, ties by index. */
void rt_app_top(const double *values, uint32_t num_values, uint32_t count, uint32_t *indices);
/* Decimals whose last is not below the predicted error: the rest is noise that depends on the key.
 */
int rt_app_decimals(const struct rt_interface *model);
double rt_app_rounded(const struct rt_interface *model, double value);
/* labels[index], or the index as text in `buffer` */
const char *rt_app_label(const struct rt_interface *model, uint32_t index, char buffer[16]);
json_t *rt_app_scores_json(const struct rt_interface *model, const double *values,
                           const uint32_t *indices, uint32_t count);
json_t *rt_app_values_json(const struct rt_interface *model, const double *values); /* rounded */

/* ---- app_server.c ---------------------------------------------------------------------------- */

extern const struct rt_app_command rt_app_infer;

/* ---- app_run.c
 * ----------------------------------------------------------------------------------- */

extern const struct rt_app_command rt_app_run;

/* ---- workdir.c: where `run` puts its files --------------------------------------------------- */

/* A directory that only this user can read, removed with its files by close(), and also when the
 * program is interrupted: it holds a secret key. With `keep`, that directory, and nothing is
 * removed. */
struct rt_app_workdir {
    char path[RT_APP_PATH];
    bool kept;
};
RT_MUST_CHECK enum rt_status rt_app_workdir_open(struct rt_app_workdir *w, const char *keep,
                                                 struct rt_error *err);
void rt_app_workdir_close(struct rt_app_workdir *w);

#endif
