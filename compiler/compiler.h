/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_COMPILER_H
#define WEFT_COMPILER_H

/*
 * The front end (YAML -> nn program) and the command line.
 *
 *     yaml.c      text -> tree, every node with its place
 *     scalar.c    what a scalar says: integer, real, flag, name
 *     model.c     tree -> program: the header, then the network
 *     blocks.c    the layer list with its blocks -> a flat list of layers
 *     graph.c     names -> edges; cycles, forward references, what the output needs
 *     layers.c    the table of operators; attrs.c and tensors.c read a layer's keys and weights
 *     ops_*.c     one builder an operator
 *     main.c      subcommands; opts.c, driver.c, build.c, link.c, opt.c, simulate.c, ranges.c, report.c, tiers.c
 *
 * Only the second group sees passes and backends.
 */

#include "base/base.h"
#include "ir.h"

struct sim_trials; /* backends.h */

/* ---- yaml.c: the tree ----------------------------------------------------------------------- */

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAPPING };

struct yaml {
    enum yaml_kind kind;
    struct loc loc;
    const char *text;         /* SCALAR, NUL-terminated, no NUL inside */
    bool plain;               /* SCALAR: written without quotes */
    struct yaml *const *item; /* LIST: elements; MAPPING: values */
    struct yaml *const *key;  /* MAPPING: scalars, all different */
    uint32_t len;
    uint32_t size; /* nodes in this tree, aliases counted as often as they are used */
};

enum {
    YAML_MAX_DEPTH = 64,
    YAML_MAX_NODES = 1000000,
    YAML_MAX_SCALAR = 1 << 16,
    YAML_MAX_BYTES = 1 << 24
};

/* The document, or diag_fatal(). An alias shares the tree of its anchor. text must outlive
 * all diagnostics. */
struct yaml *yaml_parse(struct arena *a, const char *name, const char *text, size_t len);
/* Value of a key of a mapping, or NULL. */
struct yaml *yaml_get(const struct yaml *map, const char *key);
/* Its key node (for the place), or NULL. */
struct yaml *yaml_get_key(const struct yaml *map, const char *key);

/* ---- scalar.c ------------------------------------------------------------------------------- */

bool yaml_is_null(const struct yaml *y);
/* False when the scalar says something else (or y is no scalar); nothing is reported. */
bool yaml_bool(const struct yaml *y, bool *out);
bool yaml_int(const struct yaml *y, int64_t min, int64_t max, int64_t *out);
bool yaml_real(const struct yaml *y, double *out); /* finite */
/* "'5x'", "[1, 2]", "a mapping": for messages; control characters replaced, long texts cut. */
const char *yaml_describe(struct arena *a, const struct yaml *y);

/* ---- the front end's state ------------------------------------------------------------------ */

enum {
    MAX_LAYERS = 65536,
    MAX_BLOCK_DEPTH = 16,
    MAX_REPEAT = 1000,
    MAX_NAME = 200,
    MAX_CHANNELS = 65536,
    MAX_EXTENT = 16384, /* height, width */
    MAX_ELEMENTS = 1 << 28,
    MAX_WINDOW = 1024, /* kernel, stride, dilation, factor */
    MAX_DEGREE = 8,
    MAX_INPUTS = 1024
};

/* The parameters of one repetition of a block. */
struct scope {
    const struct scope *outer; /* NULL: the block is used at the top level */
    const char *prefix;        /* "layer1.0" */
    const struct yaml *block;  /* its definition */
    struct map params;         /* name -> const struct yaml * */
    uint32_t input;            /* layer that the block's `input` names */
};

enum { INPUT_LAYER = 0 }; /* layers[0] stands for the network's input */

/* A layer of the flat list. */
struct layer {
    const char *name;          /* "layer1.0.conv1" */
    const struct yaml *entry;  /* its mapping in the file */
    const struct scope *scope; /* NULL at the top level */
    const struct layer_op
        *op;          /* NULL: passes its one input on (input, a block's input, `when: false`) */
    uint32_t *inputs; /* layers; known after graph_resolve() */
    uint32_t num_inputs;
    uint32_t previous; /* the default input */
    bool silent;       /* made by expansion: not worth a warning when it is unused */
    bool used;         /* the output needs it */
    uint32_t value;    /* node, or NONE: not built */
};

struct front {
    struct arena *a;
    struct prog *p;
    const char *path;   /* of the model file, as given */
    const char *folder; /* "" or "dir/": where the files that it names are */
    const struct yaml *root;
    struct weights *weights; /* NULL: none named */
    bool planning;           /* a missing weights file is no mistake */
    bool inventing;          /* and it is missing */
    struct loc weights_loc;
    struct map places; /* where something was already reported */
    bool printed;      /* the last front_error() was */
    struct map names;  /* layer or block name -> layer */
    struct map blocks; /* block name -> const struct yaml * */
    struct map used_blocks;
    struct map checked; /* tensors whose values were looked at */
    struct layer *layers;
    uint32_t num_layers, cap_layers;
};

/*
 * Report a mistake once a place: what is wrong with a line of a block would otherwise come
 * back with every repetition. front_hint() adds to the mistake before it, if that was printed.
 */
void front_error(struct front *f, struct loc loc, const char *fmt, ...) WEFT_PRINTF(3, 4);
/* The same, beginning with "conv2d 'conv1': ". */
void layer_error(struct front *f, const struct layer *l, struct loc loc, const char *fmt, ...)
    WEFT_PRINTF(4, 5);
void front_hint(struct front *f, struct loc loc, const char *fmt, ...) WEFT_PRINTF(3, 4);
/* True the first time for this place. */
bool front_once(struct front *f, struct loc loc);
/* Keys of a mapping against a NULL-terminated list; what: "block", "input". */
void front_check_keys(struct front *f, const struct yaml *map, const char *what,
                      const char *const *known);
/* A name made of letters, digits and _ . - ; reports otherwise. */
bool front_name(struct front *f, const struct yaml *y, const char *what, const char **out);
/* folder + name, or name when it is absolute */
const char *front_path(struct front *f, const char *name);

/* ---- model.c -------------------------------------------------------------------------------- */

/* Reads a model file; every mistake ends in diag_fatal() or diag_check(). */
struct prog *model_load(struct arena *a, const char *path);
/* The same from text in memory; path is for messages and to find the files that it names. */
struct prog *model_parse(struct arena *a, const char *path, const char *text, size_t len);
/* The same for a plan: a weights file that is not there is replaced by invented, dense weights. */
struct prog *model_parse_plan(struct arena *a, const char *path, const char *text, size_t len);

/* ---- blocks.c, graph.c ---------------------------------------------------------------------- */

void blocks_read(struct front *f, const struct yaml *blocks); /* NULL: none */
/* Fills f->layers from the `layers` list; the layer whose result is the list's. */
uint32_t blocks_expand(struct front *f, const struct yaml *layers);
/* Resolves `inputs`, refuses cycles and forward references, marks what `output` needs. */
void graph_resolve(struct front *f, uint32_t output);
/* Layer of that name as seen from a scope, or NONE. */
uint32_t graph_find(struct front *f, const struct scope *s, const char *name);
/* The closest name that can be seen from there, or NULL. */
const char *graph_nearest(struct front *f, const struct scope *s, const char *name);

/* ---- layers.c: the table -------------------------------------------------------------------- */

enum { MAX_LAYER_KEYS = 12, MANY_INPUTS = MAX_INPUTS };

struct layer_op {
    const char *name;
    const char *text; /* one line for `weft help ops` */
    uint32_t min_inputs, max_inputs;
    const char *required[3];          /* keys, NULL at the end */
    const char *keys[MAX_LAYER_KEYS]; /* all that it takes beside name, op, inputs, when */
    /* Appends nodes; NONE after reporting a mistake. in: the values of the inputs. */
    uint32_t (*build)(struct front *f, const struct layer *l, const uint32_t *in);
};
extern const struct layer_op layer_ops[];
extern const uint32_t num_layer_ops;
const struct layer_op *layer_op_find(const char *name);
/* Operator of an entry; reports an unknown one (with what to use instead), unknown and missing
 * keys. */
const struct layer_op *layer_op_of(struct front *f, const struct yaml *entry, const struct scope *s,
                                   const char *name);
void layers_build(struct front *f);

uint32_t op_conv2d(struct front *f, const struct layer *l, const uint32_t *in);
uint32_t op_batch_norm(struct front *f, const struct layer *l, const uint32_t *in);
uint32_t op_linear(struct front *f, const struct layer *l, const uint32_t *in);
uint32_t op_avg_pool(struct front *f, const struct layer *l, const uint32_t *in);
uint32_t op_global_avg_pool(struct front *f, const struct layer *l, const uint32_t *in);
uint32_t op_add(struct front *f, const struct layer *l, const uint32_t *in);
uint32_t op_concat(struct front *f, const struct layer *l, const uint32_t *in);
uint32_t op_flatten(struct front *f, const struct layer *l, const uint32_t *in);
uint32_t op_upsample_nearest(struct front *f, const struct layer *l, const uint32_t *in);
uint32_t op_subsample(struct front *f, const struct layer *l, const uint32_t *in);
uint32_t op_square(struct front *f, const struct layer *l, const uint32_t *in);
uint32_t op_poly(struct front *f, const struct layer *l, const uint32_t *in);

/* ---- attrs.c: a layer's keys, parameters substituted ---------------------------------------- */

/* y, or what the parameter `$name` stands for; NULL after reporting an unknown parameter. */
const struct yaml *scope_value(struct front *f, const struct scope *s, const struct yaml *y);
/* Text with ${name} replaced; NULL after reporting. */
const char *scope_text(struct front *f, const struct scope *s, const struct yaml *y);

/* All return false after reporting. A missing key leaves *out as it is. */
const struct yaml *layer_key(struct front *f, const struct layer *l, const char *key, bool *ok);
bool layer_int(struct front *f, const struct layer *l, const char *key, int64_t min, int64_t max,
               int64_t *out);
/* One integer for both, or a list of two; pair: "rows, columns". */
bool layer_pair(struct front *f, const struct layer *l, const char *key, const char *pair,
                int64_t min, int64_t max, int64_t out[2]);
bool layer_real(struct front *f, const struct layer *l, const char *key, double *out);
/* One of a NULL-terminated list of words; *out is its index. */
bool layer_word(struct front *f, const struct layer *l, const char *key, const char *const *words,
                int64_t *out);

/* padding: n, [rows, columns], [top, bottom, left, right] or same */
struct window {
    int64_t kernel[2], stride[2], dilation[2], pad[4];
    enum wrap wrap;
};
/* Reads padding for a window of which the rest is known, and checks that it fits an input of in's
 * size. */
bool layer_padding(struct front *f, const struct layer *l, const struct type *in, struct window *w);
/* The place of a key's value, or of the layer. */
struct loc layer_place(const struct layer *l, const char *key);
/* Appends a node of the layer; NONE after reporting operands or attributes that do not fit. */
uint32_t layer_node(struct front *f, const struct layer *l, struct build *b, enum op op,
                    const uint32_t *args, uint32_t num_args);
const struct type *value_type(const struct front *f, uint32_t node);
/* "8x12x12" */
const char *shape_text(struct arena *a, const struct type *t);
/* Reports a result that is larger than the limits. */
bool layer_size(struct front *f, const struct layer *l, uint64_t c, uint64_t h, uint64_t w);

/* ---- tensors.c: a layer's weights ----------------------------------------------------------- */

enum tensor_use {
    TENSOR_REQUIRED, /* NAME.suffix unless the key gives another name */
    TENSOR_OPTIONAL  /* `key: false` means none; the default name counts when the file has it */
};
/* *out is NULL when there is none. False after reporting a missing tensor or bad values. */
bool layer_tensor(struct front *f, const struct layer *l, const char *key, const char *suffix,
                  enum tensor_use use, const struct weights_tensor **out);
/* Where a plan is made without the weights file: invents the tensor that layer_tensor() then finds;
 * `most` as of weights_invent(). Elsewhere nothing. False after reporting. */
bool layer_tensor_plan(struct front *f, const struct layer *l, const char *key, const char *suffix,
                       enum tensor_use use, uint32_t rank, const uint32_t *dims, double most);
/* Such a plan needs this key, which otherwise only repeats what the weight says. */
bool layer_plan_key(struct front *f, const struct layer *l, const char *key);
/* Reports a tensor of another shape; dims 0 match anything. */
bool layer_tensor_shape(struct front *f, const struct layer *l, const char *key,
                        const struct weights_tensor *t, uint32_t rank, const uint32_t *dims,
                        const char *meaning);
/* The constant that stands for it. */
uint32_t layer_tensor_const(struct front *f, const struct layer *l, const struct weights_tensor *t);
/* A constant [count], all `value`. */
uint32_t layer_fill_const(struct front *f, const struct layer *l, uint32_t count, double value);
const char *tensor_shape_text(struct arena *a, const struct weights_tensor *t);

/* ---- opts.c: the command line --------------------------------------------------------------- */

enum command {
    CMD_BUILD,
    CMD_ESTIMATE,
    CMD_OPT,
    CMD_SIM,
    CMD_EVAL,
    CMD_RANGES,
    CMD_CHECK,
    NUM_COMMANDS
};
enum emit { EMIT_EXE, EMIT_C, EMIT_NN, EMIT_SLOT, EMIT_CKKS, EMIT_DOT };
enum stats_form { STATS_NONE, STATS_TEXT, STATS_JSON };

enum { MAX_DUMPS = 32 };
struct cli {
    enum command command;
    struct opts opts;
    const char *input, *images; /* positional arguments */
    const char *output;         /* -o, or NULL */
    enum emit emit;
    enum stage stage;   /* --stage: what sim runs and dot draws */
    const char *passes; /* --passes, or NULL */
    const char *from;   /* --from: the pass to go on with, or NULL */
    const char *dump_after[MAX_DUMPS];
    uint32_t num_dumps;
    bool dump_all, time_passes, list_passes, noise, quiet, save_temps;
    bool estimate;          /* --estimate of build, or the command itself */
    bool json, compare;     /* of an estimate */
    const char *program;    /* --program of eval, or NULL */
    bool encrypted, resume; /* of eval */
    bool check;             /* --check of build */
    uint64_t max_memory;    /* --max-memory in bytes, and as it was given; 0, NULL: not */
    const char *max_memory_text;
    const char *threads; /* --threads of eval, or NULL */
    int64_t count;       /* images to encrypt; 0: the default */
    const char *dump_dir;
    enum stats_form stats;
    const char *cc;     /* --cc, or NULL */
    const char *keep_c; /* --keep-c, or NULL */
    int64_t limit;      /* images to simulate; 0: all */
    double agreement;   /* --agreement in percent; 0: not given */
};
/* One line for the list of commands. */
const char *cli_summary(enum command command);
const char *cli_name(enum command command);
/* Parses `weft COMMAND ...`, argv[0] being the command; a mistake in the usage exits with 2. */
void cli_parse(struct cli *c, enum command command, int argc, char **argv);

/* ---- driver.c: what build, opt and sim have in common --------------------------------------- */

struct timing {
    const char *pass;
    double ms;
    uint32_t nodes;
};
struct driver {
    const struct cli *cli;
    struct arena *a;
    FILE *report; /* where stats and times go: stdout, unless that carries the result */
    struct timing times[64];
    uint32_t num_times;
    double start; /* seconds, monotonic */
};
struct driver driver_open(const struct cli *c, struct arena *a);
/* Model file or IR text; *next is the pass to go on with. */
struct prog *driver_load(struct driver *d, uint32_t *next);
/* Runs passes [first, last] with dumps and times; nothing when first > last. */
struct prog *driver_run(struct driver *d, struct prog *p, uint32_t first, uint32_t last);
/* --stats and --time-passes */
void driver_report(struct driver *d, const struct prog *p);
/* The text form, headed by the pass that it came from (NONE: the front end). */
void driver_print(const struct prog *p, uint32_t after, struct str *out);
/* The last pass whose result is of that stage. */
uint32_t driver_last_pass(enum stage s);
/* Number of a pass; diag_fatal() when there is none of that name. */
uint32_t driver_pass(const char *name);
double driver_seconds(void); /* monotonic */

/* ---- the commands --------------------------------------------------------------------------- */

int cmd_build(const struct cli *c);
int cmd_estimate(const struct cli *c);
int cmd_opt(const struct cli *c);
int cmd_sim(const struct cli *c);
int cmd_eval(const struct cli *c);
int cmd_ranges(const struct cli *c);
int cmd_check(const struct cli *c);

/* calibrate.c: gives every bootstrap that has no range the one that its values have on pictures of
 * --images, or on random ones */
void calibrate(const struct driver *d, struct prog *p);
/* The first pictures of --images, or random ones, as the network sees them */
const double **sample_pictures(const struct driver *d, const struct model *m, uint32_t most,
                               uint32_t *count);

/* agreement.c: the expected share of answers that noise changes; NaN where it is not known */
double agreement_changed(const struct sim_trials *t);
double agreement_mean_tail(double z); /* of a Gaussian's upper tail over [0, z] */

/* tiers.c: all passes from `next` on, and the precision that --agreement asks for where it was left open: d gets the
 * options that were chosen. Judged on --images only, unless --agreement was given. */
struct prog *driver_compile(struct driver *d, struct prog *p, uint32_t next);
/* Error bound and agreement of a finished program, on --images or on random ones */
void judge_precision(const struct driver *d, struct prog *p);
uint32_t precision_bits(const struct prog *p);
uint32_t boot_precision_bits(const struct prog *p); /* 0: no bootstraps */
/* "99.98 %" */
const char *agreement_percent(double changed, struct arena *a);
void report_precision(FILE *to, const struct prog *p);

/* checkpoints.c: finds where the program has the tensors of its packed network, and how wrong they may be */
void find_checkpoints(const struct driver *d, struct prog *p);

/* build.c: the program `path` and the files beside it, from a program after its last pass */
void build_quietly(const struct driver *d, struct prog *p, const char *path);

/* images.c: a file of pictures */
struct images {
    const uint8_t *bytes;
    uint64_t len;     /* that were asked for */
    uint64_t in_file; /* all */
    size_t pixels;    /* values of one picture */
};
/* limit: at most so many; 0: all */
struct images images_open(const struct model *m, const char *path, int64_t limit);
/* Picture i as the network sees it, [C][H][W]; its label. */
uint32_t images_get(const struct images *images, const struct model *m, uint64_t i, double *x);

/* score.c: one way of computing a network against the network on plain numbers. Zero to begin. */
enum { SCORE_LEAST = -40, SCORE_MOST = 8, SCORE_BINS = SCORE_MOST - SCORE_LEAST };
struct score {
    uint64_t images, right, clear_right, agree;
    double worst_margin; /* between the clear network's two best, where the classes differ */
    uint64_t values;     /* results, num_outputs an image */
    double max_error, sum_error;
    uint64_t bin[SCORE_BINS]; /* of |error| from 2^(SCORE_LEAST + k) on; the ends take the rest */
};
uint32_t score_top(const double *v, uint32_t len);
double score_margin(const double *v,
                    uint32_t len); /* of the best over the second; infinite of one */
void score_class(struct score *s, uint32_t label, uint32_t top, uint32_t clear_top, double margin);
void score_error(struct score *s, double error);
/* Both, of one picture's results */
void score_add(struct score *s, uint32_t label, const double *result, const double *clear,
               uint32_t len);
double score_percent(uint64_t part, uint64_t all);
/* 95 % confidence interval of a share, in [0, 1]; all > 0 */
void score_interval(uint64_t part, uint64_t all, double *low, double *high);

/* survey.c: what reaches the activations of a network */
struct activation {
    const struct node *node; /* the first that reads the value */
    uint32_t source;         /* node whose value is looked at */
    uint32_t channels;
    size_t plane;
    double *min, *max;    /* [channels] */
    uint64_t *bin;        /* [channels][BINS] */
    double *low, *high;   /* [channels] of training, or NULL: not known */
    uint64_t left;        /* pictures that left it */
    uint32_t worst;       /* channel and value that are furthest outside */
    double excess, value; /* in units of the training range's size */
    bool outside;         /* the picture in work does */
};

struct survey {
    struct activation *act;
    uint32_t num_acts, cap_acts;
    uint32_t *act_of; /* [nodes.len] activation that looks at a node, or NONE */
};

/* Every polynomial and every square of the network `nodes`; a value that two of them read is looked at once. */
struct survey survey_network(struct prog *p, const struct nodes *nodes);
/* The simulator's hook, with the survey as its context */
void survey_look(void *survey, uint32_t index, const struct node *n, const double *value,
                 size_t len);
void survey_next(struct survey *s); /* after each picture */
/* What a share of the values of a channel does not exceed, at most 4.4 % too far from 0 */
double survey_quantile(const struct activation *a, uint32_t c, double share);
void survey_warn(const struct survey *s, uint64_t pictures);

/* report.c: the summary of a plan, and of a build; "69.3 MiB" */
const char *bytes_text(struct arena *a, uint64_t n);
/* diag_fatal() with the least that would do where --max-memory is less */
void memory_check(const struct prog *p);
void report_plan(FILE *to, const struct prog *p);
void report_build(FILE *to, const struct prog *p, const struct cli *c, double seconds);

/* estimate.c: what a program will take, read off the program as ckks_regs left it */
struct node_ns *estimate_node_ns(const struct prog *p,
                                 struct arena *a); /* predicted time of every node */
/* Sizes of files, with all that is in them beside the numbers */
struct file_bytes {
    uint64_t keys, image, result;
};
struct file_bytes estimate_files(const struct prog *p);
/* The same model with the multiplexed layout: p NULL where there is no such plan, and why (NULL: nobody asked).
 * JSON is one object. */
struct beside {
    struct prog *p;
    const char *why;
};
void estimate_text(FILE *to, const struct prog *p, struct beside beside);
char *estimate_json(const struct prog *p, struct beside beside); /* to be freed */

/* link.c: run the C compiler on the generated sources and put the binaries in place */
enum {
    GEN_MODEL,
    GEN_INTERFACE,
    GEN_CLEAR,
    GEN_MAIN_CLIENT,
    GEN_MAIN_SERVER,
    GEN_MAIN_ALL,
    GEN_DATA, /* the last: no C */
    NUM_GENERATED
};
struct generated {
    struct generated_file {
        const char *name, *text;
        size_t len;
    } file[NUM_GENERATED];
    uint32_t num_files;
};
struct generated generated_sources(const struct str *model, const struct str *interface,
                                   const struct str *clear, const struct str *data);
/* Refuses early what would fail at the end: no runtime, a folder in the way. */
void link_check(struct arena *a, const struct cli *c);
/* The sources alone, into a folder that is made if it is not there */
void link_sources(struct arena *a, const struct generated *g, const char *folder);
void link_binaries(struct arena *a, const struct cli *c, const struct generated *g);

/* ---- signals.c */
/* From now on SIGINT, SIGTERM and SIGHUP only make signals_caught() true, and what waits returns EINTR. */
void signals_catch(void);
bool signals_caught(void);

#endif
