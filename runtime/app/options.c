/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const struct option_row {
    const char *name; /* long name, NULL: only the letter */
    char letter;      /* 0: only the long name */
    const char *argument, *help;
    enum rt_app_option bit;
} option_table[] = {
    {NULL, 'o', "FILE", "where to write the ciphertext", RT_APP_OUT},
    {"key", 0, "PATH", "secret key, or the directory it is in (default: keys)", RT_APP_SECRET},
    {"keys", 0, "PATH", "evaluation keys, or the directory they are in (default: keys)",
     RT_APP_KEYS},
    {"data", 0, "FILE", "model data (default: NAME.dat beside the program)", RT_APP_DATA},
    {"threads", 0, "N", "threads, 1 to 256 (default: all)", RT_APP_THREADS},
    {"max-memory", 0, "SIZE", "use no more memory: 3G, 800M (default: see info)", RT_APP_MEMORY},
    {"force", 0, NULL, "overwrite a secret key", RT_APP_FORCE},
    {"json", 0, NULL, "the answer as JSON", RT_APP_JSON},
    {"top", 0, "K", "how many classes to show (default: 5)", RT_APP_TOP},
    {"index", 0, "I", "which record of a .bin file, from 0", RT_APP_INDEX},
    {"count", 0, "N", "so many records of a .bin file, with one set of keys", RT_APP_COUNT},
    {"keep", 0, "DIR", "keep keys and ciphertexts in DIR", RT_APP_KEEP},
    {"lines", 0, NULL, "one line of JSON for each record, as soon as it is done", RT_APP_LINES},
    {"layers", 0, NULL, "a table of the layers: predicted and measured time, and what they compute",
     RT_APP_LAYERS},
    {"check", 0, NULL,
     "compare every layer with the network on plain numbers, stop at the first that is wrong",
     RT_APP_CHECK},
    {"quiet", 'q', NULL, "no progress line, no report", RT_APP_QUIET},
    {"help", 'h', NULL, "this text", RT_APP_HELP},
};
enum { NUM_OPTIONS = sizeof option_table / sizeof option_table[0] };

/* Edit distance of two short words; long ones are far from everything. */
static uint32_t distance(const char *a, const char *b)
{
    enum { LONGEST = 31 };
    uint32_t row[LONGEST + 1];
    size_t la = strlen(a), lb = strlen(b);
    if (la > LONGEST || lb > LONGEST)
        return UINT32_MAX;
    for (uint32_t j = 0; j <= lb; j++)
        row[j] = j;
    for (uint32_t i = 1; i <= la; i++) {
        uint32_t diagonal = row[0];
        row[0] = i;
        for (uint32_t j = 1; j <= lb; j++) {
            uint32_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[lb];
}

static void consider(const char *word, const char *candidate, const char **best, uint32_t *nearest)
{
    uint32_t d = distance(word, candidate);
    if (d < *nearest) {
        *nearest = d;
        *best = candidate;
    }
}

static int unknown_option(const struct rt_app *app, const struct rt_app_command *command,
                          const char *text)
{
    char word[32];
    const char *best = NULL;
    uint32_t nearest = 3;
    size_t length = strcspn(text, "=");
    if (strncmp(text, "--", 2) == 0 && length - 2 < sizeof word) {
        memcpy(word, text + 2, length - 2);
        word[length - 2] = '\0';
        for (uint32_t i = 0; i < NUM_OPTIONS; i++)
            if (option_table[i].name && (command->options & option_table[i].bit))
                consider(word, option_table[i].name, &best, &nearest);
    }
    if (best)
        return rt_app_usage(app, "%s: unknown option '%s', did you mean '--%s'?", command->name,
                            text, best);
    return rt_app_usage(app, "%s: unknown option '%s', try '%s %s --help'", command->name, text,
                        app->name, command->name);
}

static bool parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || value < low || value > high)
        return false;
    *out = value;
    return true;
}

static int take_number(const struct rt_app *app, const char *option, const char *text, uint64_t low,
                       uint64_t high, uint64_t *out)
{
    if (parse_number(text, low, high, out))
        return 0;
    if (high > INT32_MAX)
        return rt_app_usage(app, "--%s: '%s' is not a whole number of at least %llu", option, text,
                            (unsigned long long)low);
    return rt_app_usage(app, "--%s: '%s' is not a whole number from %llu to %llu", option, text,
                        (unsigned long long)low, (unsigned long long)high);
}

/* A number, fractions allowed, of bytes or of K, M, G, T: powers of 1024; "iB" or "B" may follow. */
static bool parse_size(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    char *end;
    if (text[0] < '0' || text[0] > '9' || text[1] == 'x' || text[1] == 'X')
        return false;
    double value = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (unit) {
        for (const char *u = units; u <= unit; u++)
            value *= 1024;
        end += end[1] == 'i' ? 2 : 1;
    }
    if (*end == 'B')
        end++;
    if (*end || !(value >= 1) || value >= 0x1p63)
        return false;
    *out = (uint64_t)value;
    return true;
}

static int take_option(struct rt_app *app, enum rt_app_option option, const char *text)
{
    uint64_t number = 0;
    int status = 0;
    app->given |= option;
    switch (option) {
    case RT_APP_OUT:
        if (strcmp(text, "-") == 0)
            return rt_app_usage(app, "-o -: a ciphertext is written to a file only");
        app->out = text;
        break;
    case RT_APP_SECRET:
    case RT_APP_KEYS:
        app->keys = text;
        break;
    case RT_APP_DATA:
        app->data = text;
        break;
    case RT_APP_KEEP:
        app->keep = text;
        break;
    case RT_APP_THREADS:
        status = take_number(app, "threads", text, 1, 256, &number);
        app->threads = (int)number;
        break;
    case RT_APP_MEMORY:
        if (!parse_size(text, &app->max_memory))
            return rt_app_usage(app, "--max-memory: '%s' is not a size such as 3G or 800M", text);
        break;
    case RT_APP_TOP:
        status = take_number(app, "top", text, 1, 1000000, &number);
        app->top = (uint32_t)number;
        break;
    case RT_APP_INDEX:
        status = take_number(app, "index", text, 0, INT64_MAX, &app->index);
        break;
    case RT_APP_COUNT:
        status = take_number(app, "count", text, 1, 1000000, &app->count);
        break;
    case RT_APP_FORCE:
    case RT_APP_JSON:
    case RT_APP_CHECK:
    case RT_APP_LINES:
    case RT_APP_LAYERS:
    case RT_APP_QUIET:
    case RT_APP_HELP:
        break;
    }
    return status;
}

/* getopt's two tables, cut down to what the command takes. Values are 256 + row. */
static void getopt_tables(unsigned options, struct option longs[NUM_OPTIONS + 1],
                          char letters[2 * NUM_OPTIONS + 3])
{
    char *letter = letters;
    *letter++ = '-'; /* positional arguments come in order, as option 1 */
    *letter++ = ':'; /* a missing argument is reported as ':' */
    for (int i = 0; i < NUM_OPTIONS; i++) {
        const struct option_row *row = &option_table[i];
        if (!(options & row->bit))
            continue;
        if (row->name)
            *longs++ = (struct option){row->name, row->argument != NULL, NULL, 256 + i};
        if (row->letter) {
            *letter++ = row->letter;
            if (row->argument)
                *letter++ = ':';
        }
    }
    *longs = (struct option){NULL, 0, NULL, 0};
    *letter = '\0';
}

static const struct option_row *row_of(int value)
{
    for (int i = 0; i < NUM_OPTIONS; i++)
        if (value == 256 + i || (option_table[i].letter && value == option_table[i].letter))
            return &option_table[i];
    return NULL;
}

static int take_argument(struct rt_app *app, const struct rt_app_command *command, const char *text)
{
    if (!command->argument)
        return rt_app_usage(app, "%s: unexpected argument '%s'", command->name, text);
    if (app->argument)
        return rt_app_usage(app, "%s: one %s only, but also '%s' was given", command->name,
                            command->argument, text);
    if (!text[0])
        return rt_app_usage(app, "%s: the %s is an empty word", command->name, command->argument);
    app->argument = text;
    return 0;
}

/* argv[0] is the command's own name */
static int parse_options(struct rt_app *app, const struct rt_app_command *command, int argc,
                         char **argv)
{
    struct option longs[NUM_OPTIONS + 1];
    char letters[2 * NUM_OPTIONS + 3];
    int value, status = 0;
    getopt_tables(command->options | RT_APP_HELP, longs, letters);
    opterr = 0;
    optind = 0; /* glibc: start afresh */
    while (!status && (value = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        const struct option_row *row = row_of(value);
        if (value == 1)
            status = take_argument(app, command, optarg);
        else if (value == ':')
            status = rt_app_usage(app, "%s: option '%s' needs an argument", command->name,
                                  argv[optind - 1]);
        else if (!row && optopt >= 256)
            status = rt_app_usage(app, "%s: option '--%s' takes no argument", command->name,
                                  row_of(optopt)->name);
        else if (!row && optopt)
            status = rt_app_usage(app, "%s: unknown option '-%c', try '%s %s --help'",
                                  command->name, optopt, app->name, command->name);
        else if (!row)
            status = unknown_option(app, command, argv[optind - 1]);
        else
            status = take_option(app, row->bit, optarg);
    }
    for (; !status && optind < argc; optind++) /* after "--" */
        status = take_argument(app, command, argv[optind]);
    return status;
}

static int check_required(const struct rt_app *app, const struct rt_app_command *command)
{
    if (command->argument && !app->argument)
        return rt_app_usage(app, "%s: no %s given, try '%s %s --help'", command->name,
                            command->argument, app->name, command->name);
    if ((command->required & RT_APP_OUT) && !app->out)
        return rt_app_usage(app, "%s: say where to write with -o FILE", command->name);
    return 0;
}

static void print_command_line(const struct rt_app *app, const struct rt_app_command *command)
{
    printf("usage: %s %s", app->name, command->name);
    if (command->argument)
        printf(" %s", command->argument);
    if (command->required & RT_APP_OUT)
        printf(" -o FILE");
    printf(" [options]\n");
}

static void print_command_help(const struct rt_app *app, const struct rt_app_command *command)
{
    unsigned options = command->options | RT_APP_HELP;
    print_command_line(app, command);
    printf("\n%s\n\n", command->summary);
    for (int i = 0; i < NUM_OPTIONS; i++) {
        const struct option_row *row = &option_table[i];
        char left[40];
        if (!(options & row->bit))
            continue;
        snprintf(left, sizeof left, "%s%s%s%s%s%s", row->letter ? "-" : "",
                 row->letter ? (char[2]){row->letter, '\0'} : "",
                 row->letter && row->name ? ", --"
                 : row->name              ? "--"
                                          : "",
                 row->name ? row->name : "", row->argument ? " " : "",
                 row->argument ? row->argument : "");
        printf("  %-17s %s\n", left, row->help);
    }
}

static void print_help(const struct rt_app *app, const struct rt_app_command *const *commands)
{
    printf("%s: encrypted inference with the model '%s'\n\nusage:", app->name, app->model->name);
    for (uint32_t i = 0; commands[i]; i++) {
        const struct rt_app_command *c = commands[i];
        char left[48];
        snprintf(left, sizeof left, "%s%s%s%s", c->name, c->argument ? " " : "",
                 c->argument ? c->argument : "", c->required & RT_APP_OUT ? " -o FILE" : "");
        printf("%s%s %-26s %s\n", i ? "       " : " ", app->name, left, c->summary);
    }
    printf("\n'%s COMMAND --help' lists the options of a command.\n", app->name);
}

static int no_such_command(const struct rt_app *app, const struct rt_app_command *const *commands,
                           const char *word)
{
    const char *best = NULL;
    uint32_t nearest = 3;
    for (uint32_t i = 0; commands[i]; i++)
        consider(word, commands[i]->name, &best, &nearest);
    if (best)
        return rt_app_usage(app, "unknown command '%s', did you mean '%s'?", word, best);
    return rt_app_usage(app, "unknown command '%s', try '%s --help'", word, app->name);
}

static int finish_output(const struct rt_app *app, int status)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        return rt_app_error(app, "cannot write to the standard output: %s", strerror(errno));
    return status;
}

static int run_command(struct rt_app *app, const struct rt_app_command *command, int argc,
                       char **argv)
{
    int status = parse_options(app, command, argc, argv);
    if (status)
        return status;
    if (app->given & RT_APP_HELP) {
        print_command_help(app, command);
        return 0;
    }
    status = check_required(app, command);
    if (status)
        return status;
    if (app->model->params.insecure)
        rt_app_warn(app,
                    "this program was built with toy parameters: its ciphertexts are not secure");
    return command->run(app);
}

int rt_app_main(struct rt_app *app, const struct rt_app_command *const *commands, int argc,
                char **argv)
{
    const char *path = argc > 0 && argv[0] && argv[0][0] ? argv[0] : app->model->name;
    const char *slash = strrchr(path, '/');
    const char *word = argc > 1 ? argv[1] : NULL;
    app->name = slash ? slash + 1 : path;
    if (!word)
        return rt_app_usage(app, "no command given, try '%s --help'", app->name);
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        print_help(app, commands);
        return finish_output(app, 0);
    }
    if (strcmp(word, "--version") == 0) {
        printf("%s (model %s %016llx, weft %s)\n", app->name, app->model->name,
               (unsigned long long)app->model->model_hash, app->model->version);
        return finish_output(app, 0);
    }
    for (uint32_t i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, word) == 0)
            return finish_output(app, run_command(app, commands[i], argc - 1, argv + 1));
    if (word[0] == '-')
        return rt_app_usage(app, "unknown option '%s', try '%s --help'", word, app->name);
    return no_such_command(app, commands, word);
}
