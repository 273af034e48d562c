/* SPDX-License-Identifier: Apache-2.0 */
/* Signals that end a command through its ordinary clean-up, not at once. */
#include "compiler.h"

#include <signal.h>

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught = number;
}

void signals_catch(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction act = {.sa_handler = on_signal};
    sigemptyset(&act.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        sigaction(numbers[i], &act, NULL);
    }
}

bool signals_caught(void)
{
    return caught != 0;
}
