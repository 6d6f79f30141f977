/* tests/sim/picture.h: a picture into a file. */
#ifndef KVASIR_SIM_PICTURE_H
#define KVASIR_SIM_PICTURE_H

#include <stdio.h>

#include "client/traces/error.h"

/*
 * What comes behind a report on stdout: its picture, where path is not NULL, by draw, and nothing of either is held back any more. KVS_ERR_SYSTEM: the file cannot be written, or one of both was not
 * written whole.
 */
kvs_status sim_picture_end(const char *path, void (*draw)(const void *what, FILE *out), const void *what,
                           struct sim_error *error);

#endif
