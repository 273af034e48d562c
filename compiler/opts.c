/* SPDX-License-Identifier: Apache-2.0 */
#include "compiler.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum cli_option {
    OPT_EMIT = 256,
    OPT_STAGE,
    OPT_FROM,
    OPT_CC,
    OPT_KEEP_C,
    OPT_SAVE_TEMPS,
    OPT_PASSES,
    OPT_LIST_PASSES,
    OPT_IMAGES,
    OPT_NOISE,
    OPT_LIMIT,
    OPT_INSECURE,
    OPT_LOG_N,
    OPT_PRECISION,
    OPT_COST,
    OPT_BOOTSTRAP,
    OPT_BOOT_LEVELS,
    OPT_BOOT_PRECISION,
    OPT_BOOT_PAIRS,
    OPT_AGREEMENT,
    OPT_LAYOUT,
    OPT_ESTIMATE,
    OPT_JSON,
    OPT_COMPARE,
    OPT_ENCRYPTED,
    OPT_PROGRAM,
    OPT_RESUME,
    OPT_COUNT,
    OPT_CHECK,
    OPT_MEMORY,
    OPT_THREADS,
    OPT_EXPLAIN,
    OPT_DUMP_AFTER,
    OPT_DUMP_ALL,
    OPT_DUMP_DIR,
    OPT_VERIFY_EACH,
    OPT_TIME_PASSES,
    OPT_STATS
};

static const char *const emit_names[] = {"exe", "c", "nn", "slot", "ckks", "dot", NULL};
static const char *const stage_names[] = {"nn", "slot", "ckks", NULL};
static const char *const stats_names[] = {"text", "json", NULL};
static const char *const layout_names[] = {"search", "multiplexed", NULL};
static const char *const bootstrap_names[] = {"auto", "never", "always", NULL};
static const char *const pairs_names[] = {"auto", "never", NULL};

static int64_t number(const char *text, int64_t min, int64_t max, const char *what,
                      struct argp_state *state)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (*end || end == text || errno || v < min || v > max) {
        argp_error(state, "%s must be a whole number from %lld to %lld, not '%s'", what,
                   (long long)min, (long long)max, text);
    }
    return v;
}

static int word(const char *text, const char *const *words, const char *what,
                struct argp_state *state)
{
    char list[128] = "";
    for (int i = 0; words[i]; i++) {
        if (strcmp(text, words[i]) == 0) {
            return i;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", words[i]);
    }
    argp_error(state, "%s must be one of %s, not '%s'", what, list, text);
    return 0;
}

static double percent(const char *text, const char *what, struct argp_state *state)
{
    char *end;
    double v = strtod(text, &end);
    bool plain = text[0] >= '0' && text[0] <= '9' && text[1] != 'x' && text[1] != 'X';
    if (!plain || *end || !(v > 0) || v > 100) {
        argp_error(state, "%s must be a number above 0, and at most 100, not '%s'", what, text);
    }
    return v;
}

/* A number, fractions allowed, of bytes or of K, M, G, T: powers of 1024; "iB" or "B" may follow. The programs
 * that are built take the same (runtime/app/options.c). */
static uint64_t size(const char *text, const char *what, struct argp_state *state)
{
    static const char units[] = "KMGT";
    char *end = NULL;
    bool number = text[0] >= '0' && text[0] <= '9' && text[1] != 'x' && text[1] != 'X';
    double value = number ? strtod(text, &end) : 0;
    const char *unit = number && *end ? strchr(units, *end) : NULL;
    for (const char *u = units; unit && u <= unit; u++) {
        value *= 1024;
    }
    if (unit) {
        end += end[1] == 'i' ? 2 : 1;
    }
    if (number && *end == 'B') {
        end++;
    }
    if (!number || *end || !(value >= 1) || value >= 0x1p63) {
        argp_error(state, "%s: '%s' is not a size such as 3G or 800M", what, text);
        return 0;
    }
    return (uint64_t)value;
}

/* ---- options of every command that runs passes ---------------------------------------------- */

static const struct argp_option common_options[] = {
    {.doc = "Parameters:", .group = 2},
    {.name = "insecure",
     .key = OPT_INSECURE,
     .doc = "allow parameters below 128 bits; every file is marked"},
    {.name = "log-n",
     .key = OPT_LOG_N,
     .arg = "K",
     .doc = "ring degree 2^K (default: the smallest that is secure and fits)"},
    {.name = "precision",
     .key = OPT_PRECISION,
     .arg = "BITS",
     .doc = "bits of the scale between layers (default: 27, or what --agreement needs)"},
    {.name = "agreement",
     .key = OPT_AGREEMENT,
     .arg = "PERCENT",
     .doc = "answers that noise is expected to leave unchanged (default: 99.9): with images, "
            "precision "
            "and boot-precision are raised until it is so"},
    {.name = "bootstrap",
     .key = OPT_BOOTSTRAP,
     .arg = "WHEN",
     .doc =
         "auto: where levels do not suffice or it is faster (default); never; always: even where "
         "it is slower"},
    {.name = "boot-levels",
     .key = OPT_BOOT_LEVELS,
     .arg = "U",
     .doc = "a bootstrap leaves at most U levels for layers (default: what is fastest)"},
    {.name = "layout",
     .key = OPT_LAYOUT,
     .arg = "HOW",
     .doc = "search: the cheapest layout of every tensor (default); multiplexed: that of Lee et "
            "al., for "
            "comparisons"},
    {.name = "boot-precision",
     .key = OPT_BOOT_PRECISION,
     .arg = "BITS",
     .doc =
         "what a bootstrap leaves of its largest values, at most 17 (default: 11); from 12 on it "
         "takes two levels more"},
    {.name = "boot-pairs",
     .key = OPT_BOOT_PAIRS,
     .arg = "WHEN",
     .doc = "auto: two ciphertexts share a bootstrap where that is cheaper (default); never"},
    {.name = "cost",
     .key = OPT_COST,
     .arg = "FILE",
     .doc = "figures of the cost model (default: built in)"},
    {.name = "explain", .key = OPT_EXPLAIN, .doc = "say why, on stderr"},
    {.doc = "Looking inside:", .group = 3},
    {.name = "dump-after",
     .key = OPT_DUMP_AFTER,
     .arg = "PASS",
     .doc = "print the program after this pass ('front': as read); may be repeated"},
    {.name = "dump-after-all", .key = OPT_DUMP_ALL, .doc = "print the program after every pass"},
    {.name = "dump-dir",
     .key = OPT_DUMP_DIR,
     .arg = "DIR",
     .doc = "write dumps to DIR/NN_PASS.ir instead of stderr"},
    {.name = "verify-each",
     .key = OPT_VERIFY_EACH,
     .doc = "accepted: the verifier runs after every pass in any case"},
    {.name = "time-passes", .key = OPT_TIME_PASSES, .doc = "wall time of every pass"},
    {.name = "stats",
     .key = OPT_STATS,
     .arg = "FORM",
     .flags = OPTION_ARG_OPTIONAL,
     .doc = "counts of the result; FORM: text (default) or json"},
    {0},
};

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
    struct cli *c = state->input;
    switch (key) {
    case OPT_INSECURE:
        c->opts.insecure = true;
        return 0;
    case OPT_LOG_N:
        c->opts.log_n = (uint32_t)number(arg, 10, 17, "--log-n", state);
        return 0;
    case OPT_PRECISION:
        c->opts.precision = (uint32_t)number(arg, 20, 45, "--precision", state);
        return 0;
    case OPT_BOOTSTRAP:
        c->opts.bootstrap = (enum boot_when)word(arg, bootstrap_names, "--bootstrap", state);
        return 0;
    case OPT_BOOT_LEVELS:
        c->opts.boot_levels = (uint32_t)number(arg, 1, 100, "--boot-levels", state);
        return 0;
    case OPT_LAYOUT:
        c->opts.layout = (enum layout_how)word(arg, layout_names, "--layout", state);
        return 0;
    case OPT_BOOT_PRECISION:
        c->opts.boot_precision = (uint32_t)number(arg, 1, 17, "--boot-precision", state);
        return 0;
    case OPT_AGREEMENT:
        c->agreement = percent(arg, "--agreement", state);
        return 0;
    case OPT_BOOT_PAIRS:
        c->opts.boot_single = word(arg, pairs_names, "--boot-pairs", state) == 1;
        return 0;
    case OPT_COST:
        c->opts.cost_path = arg;
        return 0;
    case OPT_EXPLAIN:
        c->opts.explain = true;
        return 0;
    case OPT_DUMP_AFTER:
        if (c->num_dumps == MAX_DUMPS) {
            argp_error(state, "--dump-after more than %d times: use --dump-after-all", MAX_DUMPS);
        }
        c->dump_after[c->num_dumps++] = arg;
        return 0;
    case OPT_DUMP_ALL:
        c->dump_all = true;
        return 0;
    case OPT_DUMP_DIR:
        c->dump_dir = arg;
        return 0;
    case OPT_VERIFY_EACH:
        return 0;
    case OPT_TIME_PASSES:
        c->time_passes = true;
        return 0;
    case OPT_STATS:
        c->stats = !arg || word(arg, stats_names, "--stats", state) == 0 ? STATS_TEXT : STATS_JSON;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- options of single commands ------------------------------------------------------------- */

static const struct argp_option build_options[] = {
    {.name = "output",
     .key = 'o',
     .arg = "NAME",
     .doc = "name of the result; '-' is stdout for texts"},
    {.name = "emit",
     .key = OPT_EMIT,
     .arg = "WHAT",
     .doc = "exe: NAME, NAME-client, NAME-server, NAME.dat (default); c: their sources in the "
            "folder NAME; nn, slot, ckks: the program as text; dot: a picture"},
    {.name = "stage",
     .key = OPT_STAGE,
     .arg = "STAGE",
     .doc = "what --emit=dot draws: nn (default), slot, ckks"},
    {.name = "from",
     .key = OPT_FROM,
     .arg = "PASS",
     .doc = "first pass to run on a text (default: the one after the pass that wrote it)"},
    {.name = "cc", .key = OPT_CC, .arg = "CC", .doc = "C compiler (default: $CC, else cc)"},
    {.name = "keep-c", .key = OPT_KEEP_C, .arg = "DIR", .doc = "keep the generated sources in DIR"},
    {.name = "save-temps", .key = OPT_SAVE_TEMPS, .doc = "the same as --keep-c=NAME-c"},
    {.name = "images",
     .key = OPT_IMAGES,
     .arg = "FILE",
     .doc = "records of label and picture from which the error, and the ranges of bootstraps, are "
            "predicted and the precision is chosen (default: random ones)"},
    {.name = "estimate",
     .key = OPT_ESTIMATE,
     .doc = "say what running it would take, as weft estimate does, and make nothing"},
    {.name = "json", .key = OPT_JSON, .doc = "with --estimate: as JSON"},
    {.name = "compare",
     .key = OPT_COMPARE,
     .doc = "with --estimate: beside the multiplexed layout"},
    {.name = "max-memory",
     .key = OPT_MEMORY,
     .arg = "SIZE",
     .doc = "what the program's --max-memory is unless it is given: 3G, 800M (default: 5.5G)"},
    {.name = "check",
     .key = OPT_CHECK,
     .doc = "a program to look for mistakes with: NAME run --check compares every layer"},
    {.name = "quiet", .key = 'q', .doc = "no summary"},
    {0},
};

static const struct argp_option estimate_options[] = {
    {.name = "json", .key = OPT_JSON, .doc = "as JSON"},
    {.name = "compare",
     .key = OPT_COMPARE,
     .doc = "also plan it with the multiplexed layout, and show both"},
    {.name = "max-memory",
     .key = OPT_MEMORY,
     .arg = "SIZE",
     .doc = "what the program may take: 3G, 800M (default: 5.5G)"},
    {.name = "images",
     .key = OPT_IMAGES,
     .arg = "FILE",
     .doc = "records of label and picture from which the ranges of bootstraps are taken and the "
            "precision is chosen (default: random ones)"},
    {.name = "from",
     .key = OPT_FROM,
     .arg = "PASS",
     .doc = "first pass to run on a text (default: the one after the pass that wrote it)"},
    {0},
};

static const struct argp_option opt_options[] = {
    {.name = "output", .key = 'o', .arg = "OUT.ir", .doc = "where the text goes (default: stdout)"},
    {.name = "passes",
     .key = OPT_PASSES,
     .arg = "LIST",
     .doc = "a,b,c or first..last (either end may be left out), all (default) or none"},
    {.name = "list-passes", .key = OPT_LIST_PASSES, .doc = "the pipeline in order"},
    {0},
};

static const struct argp_option sim_options[] = {
    {.name = "stage",
     .key = OPT_STAGE,
     .arg = "STAGE",
     .doc = "what is run: nn, slot, ckks (default)"},
    {.name = "from",
     .key = OPT_FROM,
     .arg = "PASS",
     .doc = "first pass to run on a text (default: the one after the pass that wrote it)"},
    {.name = "noise", .key = OPT_NOISE, .doc = "add the modelled errors of the encryption (ckks)"},
    {.name = "limit", .key = OPT_LIMIT, .arg = "N", .doc = "only the first N images"},
    {0},
};

static bool takes_images(enum command command)
{
    return command == CMD_SIM || command == CMD_EVAL || command == CMD_RANGES;
}

static const struct argp_option eval_options[] = {
    {.name = "output",
     .key = 'o',
     .arg = "FILE",
     .doc = "write the result as JSON as well; '-': to stdout, alone"},
    {.name = "limit", .key = OPT_LIMIT, .arg = "N", .doc = "only the first N images"},
    {.name = "encrypted",
     .key = OPT_ENCRYPTED,
     .doc = "also build the program and run it on encrypted images"},
    {.name = "count", .key = OPT_COUNT, .arg = "N", .doc = "how many of those (default: 10)"},
    {.name = "program",
     .key = OPT_PROGRAM,
     .arg = "NAME",
     .doc = "run this program, which weft build made of the model, instead of building one"},
    {.name = "threads",
     .key = OPT_THREADS,
     .arg = "N",
     .doc = "of the program, 1 to 256 (default: all)"},
    {.name = "max-memory",
     .key = OPT_MEMORY,
     .arg = "SIZE",
     .doc = "of the program: 3G, 800M (default: as it was built)"},
    {.name = "resume", .key = OPT_RESUME, .doc = "go on where an interrupted evaluation stopped"},
    {.name = "cc", .key = OPT_CC, .arg = "CC", .doc = "C compiler (default: $CC, else cc)"},
    {.name = "quiet", .key = 'q', .doc = "no progress line"},
    {0},
};

static const struct argp_option ranges_options[] = {
    {.name = "output",
     .key = 'o',
     .arg = "FILE",
     .doc = "where the ranges go (default: beside the model, MODEL.ranges.safetensors)"},
    {.name = "limit", .key = OPT_LIMIT, .arg = "N", .doc = "only the first N images"},
    {0},
};

static error_t parse_own(int key, char *arg, struct argp_state *state)
{
    struct cli *c = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        if (c->command != CMD_CHECK && c->command != CMD_RANGES) { /* without common options */
            state->child_inputs[0] = c;
        }
        return 0;
    case 'o':
        c->output = arg;
        return 0;
    case 'q':
        c->quiet = true;
        return 0;
    case OPT_EMIT:
        c->emit = (enum emit)word(arg, emit_names, "--emit", state);
        return 0;
    case OPT_STAGE:
        c->stage = (enum stage)word(arg, stage_names, "--stage", state);
        return 0;
    case OPT_FROM:
        c->from = arg;
        return 0;
    case OPT_CC:
        c->cc = arg;
        return 0;
    case OPT_KEEP_C:
        c->keep_c = arg;
        return 0;
    case OPT_SAVE_TEMPS:
        c->save_temps = true;
        return 0;
    case OPT_ESTIMATE:
        c->estimate = true;
        return 0;
    case OPT_JSON:
        c->json = true;
        return 0;
    case OPT_COMPARE:
        c->compare = true;
        return 0;
    case OPT_PASSES:
        c->passes = arg;
        return 0;
    case OPT_LIST_PASSES:
        c->list_passes = true;
        return 0;
    case OPT_IMAGES:
        c->images = arg;
        return 0;
    case OPT_ENCRYPTED:
        c->encrypted = true;
        return 0;
    case OPT_PROGRAM:
        c->program = arg;
        return 0;
    case OPT_RESUME:
        c->resume = true;
        return 0;
    case OPT_COUNT:
        c->count = number(arg, 1, 1000000, "--count", state);
        return 0;
    case OPT_CHECK:
        c->check = c->opts.check = true;
        return 0;
    case OPT_MEMORY:
        c->max_memory = size(arg, "--max-memory", state);
        c->max_memory_text = arg;
        return 0;
    case OPT_THREADS:
        number(arg, 1, 256, "--threads", state);
        c->threads = arg;
        return 0;
    case OPT_NOISE:
        c->noise = true;
        return 0;
    case OPT_LIMIT:
        c->limit = number(arg, 1, INT32_MAX, "--limit", state);
        return 0;
    case ARGP_KEY_ARG:
        if (!c->input) {
            c->input = arg;
        } else if (!c->images && takes_images(c->command)) {
            c->images = arg;
        } else {
            argp_error(state, "one argument too many: '%s'", arg);
        }
        return 0;
    case ARGP_KEY_END:
        if (!c->input && !c->list_passes) {
            argp_error(state, "no model file given");
        } else if (takes_images(c->command) && !c->images) {
            argp_error(state, "no file of images given");
        } else if (c->command == CMD_EVAL && !c->encrypted &&
                   (c->program || c->count || c->threads || c->max_memory)) {
            argp_error(state, "%s is for --encrypted",
                       c->program   ? "--program"
                       : c->count   ? "--count"
                       : c->threads ? "--threads"
                                    : "--max-memory");
        } else if (c->estimate && (c->output || c->emit != EMIT_EXE)) {
            argp_error(state, "--estimate makes nothing: leave -o and --emit out");
        } else if (!c->estimate && c->command == CMD_BUILD && (c->json || c->compare)) {
            argp_error(state, "--json and --compare are for --estimate");
        } else if (c->estimate) {
            return 0;
        } else if (c->command == CMD_BUILD && !c->output && c->emit <= EMIT_C) {
            argp_error(state, "-o NAME is missing");
        } else if (c->command == CMD_BUILD && c->emit <= EMIT_C &&
                   (strcmp(c->output, "-") == 0 || !*c->output)) {
            argp_error(state, "-o: '%s' is not the name of a file", c->output);
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp common = {.options = common_options, .parser = parse_common};
static const struct argp_child with_common[] = {{.argp = &common}, {0}};

static const struct {
    const char *name, *summary;
    struct argp argp;
} commands[NUM_COMMANDS] = {
    [CMD_BUILD] = {"build",
                   "compile a model into programs that compute on encrypted images",
                   {.options = build_options,
                    .parser = parse_own,
                    .children = with_common,
                    .args_doc = "MODEL.yaml|PROGRAM.ir",
                    .doc = "Compile a model into NAME (all in one), NAME-client, NAME-server and "
                           "the model's data NAME.dat."}},
    [CMD_OPT] = {"opt",
                 "run passes from text to text",
                 {.options = opt_options,
                  .parser = parse_own,
                  .children = with_common,
                  .args_doc = "MODEL.yaml|PROGRAM.ir",
                  .doc = "Run passes of the pipeline on a program and write the result as text, "
                         "which can be read again."}},
    [CMD_SIM] =
        {"sim",
         "run a model on plain numbers at any stage, with the noise of encryption if asked",
         {.options = sim_options,
          .parser = parse_own,
          .children = with_common,
          .args_doc = "MODEL.yaml|PROGRAM.ir IMAGES.bin",
          .doc = "Run the simulator over a file of records (one label byte, then the bytes of the "
                 "picture, channel by channel) and compare with the network on plain numbers."}},
    [CMD_EVAL] =
        {"eval",
         "accuracy on labelled images: clear, simulated and encrypted, side by side",
         {.options = eval_options,
          .parser = parse_own,
          .children = with_common,
          .args_doc = "MODEL.yaml|PROGRAM.ir IMAGES.bin",
          .doc =
              "Run labelled images (records of a label byte and the bytes of the picture, channel "
              "by "
              "channel: CIFAR-10's own files, for one) through the network on plain numbers, "
              "through "
              "the compiled program with the modelled noise of encryption and, with --encrypted, "
              "through that program on encrypted images. Says where images leave the ranges that "
              "activations were made for. The counts are kept in MODEL.eval.state (FILE.state with "
              "-o "
              "FILE) until the end, so that --resume can go on."}},
    [CMD_RANGES] =
        {"ranges",
         "what reaches a network's activations on pictures",
         {.options = ranges_options,
          .parser = parse_own,
          .args_doc = "MODEL.yaml IMAGES.bin",
          .doc = "Run the network on plain numbers over a file of records, print the range of "
                 "every activation, warn where pictures leave the range of training, and write "
                 "the ranges and quantiles of every channel to a safetensors file."}},
    [CMD_ESTIMATE] = {"estimate",
                      "what running a model would take: ring, keys, memory, time of every layer",
                      {.options = estimate_options,
                       .parser = parse_own,
                       .children = with_common,
                       .args_doc = "MODEL.yaml|PROGRAM.ir",
                       .doc = "Plan a model and print what its program will take, before anything "
                              "is built or run. Bytes "
                              "of keys and ciphertexts are exact. The weights file may be missing: "
                              "every weight is then "
                              "taken to be different from zero, and layers must say the sizes that "
                              "only it knows."}},
    [CMD_CHECK] = {"check",
                   "read a model and report its mistakes",
                   {.parser = parse_own,
                    .args_doc = "MODEL.yaml|PROGRAM.ir",
                    .doc = "Read a model file and its weights; print nothing if they are right."}},
};

const char *cli_name(enum command command)
{
    return commands[command].name;
}

const char *cli_summary(enum command command)
{
    return commands[command].summary;
}

void cli_parse(struct cli *c, enum command command, int argc, char **argv)
{
    char name[32];
    *c = (struct cli){.command = command,
                      .stage = command == CMD_SIM ? STAGE_CKKS : STAGE_NN,
                      .estimate = command == CMD_ESTIMATE};
    snprintf(name, sizeof name, "weft %s", commands[command].name);
    argv[0] = name; /* argp begins every message with it */
    argp_err_exit_status = 2;
    argp_parse(&commands[command].argp, argc, argv, 0, NULL, c);
    argv[0] = NULL;
}
