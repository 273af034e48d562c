/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_RT_APP_H
#define WEFT_RT_APP_H

/*
 * The command lines of the generated binaries: each of their main() functions is one of these
 * calls. They return the exit status: 0, 1 for an error (one line on stderr), 2 for a mistake in
 * the usage.
 */

#include "rt.h"

struct rt_clear_program;

/* NAME-client: keygen, encrypt, decrypt, info. Knows no weights. */
int rt_app_client(const struct rt_interface *model, int argc, char **argv);

/* NAME-server: infer, info. Nothing that it links can make, load or use a secret key. */
int rt_app_server(const struct rt_program *program, int argc, char **argv);

/* NAME: all of it, and `run`, which does every step here and compares with the cleartext network.
 */
int rt_app_all(const struct rt_program *program, const struct rt_clear_program *clear, int argc,
               char **argv);

#endif
