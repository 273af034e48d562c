/* SPDX-License-Identifier: Apache-2.0 */
#include "compiler.h"

#include <string.h>

#include "backends.h"

static int print_help(FILE *to)
{
    fprintf(to, "Usage: weft COMMAND [OPTION...] FILE...\n\n"
                "Compiles convolutional networks into programs that work on encrypted images.\n\n");
    for (int i = 0; i < NUM_COMMANDS; i++) {
        fprintf(to, "  weft %-8s %s\n", cli_name((enum command)i), cli_summary((enum command)i));
    }
    fprintf(to, "  weft %-8s %s\n", "help",
            "help on a command, or on `ops`: the operators of a model file");
    fprintf(to, "\nweft COMMAND --help shows its options; weft --version the version.\n");
    return to == stdout ? 0 : 2;
}

static int print_ops(void)
{
    for (uint32_t i = 0; i < num_layer_ops; i++) {
        const struct layer_op *op = &layer_ops[i];
        printf("%-17s %s\n", op->name, op->text);
        for (uint32_t k = 0; k < MAX_LAYER_KEYS && op->keys[k]; k++) {
            printf("%s%s", k ? ", " : "                  keys: ", op->keys[k]);
        }
        printf("%s", op->keys[0] ? "\n" : "");
    }
    return 0;
}

static int run_command(enum command command, int argc, char **argv)
{
    static int (*const run[NUM_COMMANDS])(const struct cli *) = {
        [CMD_BUILD] = cmd_build, [CMD_ESTIMATE] = cmd_estimate, [CMD_OPT] = cmd_opt,
        [CMD_SIM] = cmd_sim,     [CMD_EVAL] = cmd_eval,         [CMD_RANGES] = cmd_ranges,
        [CMD_CHECK] = cmd_check};
    struct cli c;
    cli_parse(&c, command, argc, argv);
    return run[command](&c);
}

/* The command of that name, or NUM_COMMANDS after an error. */
static enum command find_command(const char *name)
{
    const char *names[NUM_COMMANDS + 1] = {NULL};
    for (int i = 0; i < NUM_COMMANDS; i++) {
        names[i] = cli_name((enum command)i);
        if (strcmp(name, names[i]) == 0) {
            return (enum command)i;
        }
    }
    const char *near = diag_nearest(name, names);
    fprintf(stderr, "weft: there is no command '%s'%s%s%s\n", name, near ? ": did you mean '" : "",
            near ? near : "", near ? "'?" : "");
    fprintf(stderr, "Try 'weft --help'.\n");
    return NUM_COMMANDS;
}

int main(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : NULL;
    if (!first) {
        return print_help(stderr);
    }
    if (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0) {
        printf("weft %s\n", WEFT_VERSION);
        return 0;
    }
    bool help = strcmp(first, "help") == 0;
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || (help && argc == 2)) {
        return print_help(stdout);
    }
    if (help && strcmp(argv[2], "ops") == 0) {
        return print_ops();
    }
    enum command command = find_command(help ? argv[2] : first);
    if (command == NUM_COMMANDS) {
        return 2;
    }
    if (help) {
        char word[] = "--help", *ask[] = {argv[2], word, NULL};
        return run_command(command, 2, ask);
    }
    return run_command(command, argc - 1, argv + 1);
}
