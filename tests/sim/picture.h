/* tests/sim/picture.h: a picture into a file. */
#ifndef KVASIR_SIM_PICTURE_H
#define KVASIR_SIM_PICTURE_H

#include <stdio.h>

#include "client/traces/error.h"

/* draw: writes it to out. KVS_ERR_SYSTEM: the file cannot be written, or was not whole. */
kvs_status sim_picture_write(const char *path, void (*draw)(const void *what, FILE *out), const void *what,
                             struct sim_error *error);

#endif
