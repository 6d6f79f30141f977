/* tests/sim/args.h: values of options, within bounds. */
#ifndef KVASIR_SIM_ARGS_H
#define KVASIR_SIM_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A number from least to most; *rest_p: what is behind it. */
bool sim_args_number(const char *text, double least, double most, double *value_p, const char **rest_p);
/* One with nothing behind it. */
bool sim_args_plain(const char *text, double least, double most, double *value_p);
bool sim_args_whole(const char *text, double least, double most, uint64_t *value_p);

/* Each part between commas, until one is refused. */
bool sim_args_list(const char *text, bool (*take_one)(void *own, const char *part), void *own);

/* Is it the name of a file of a picture, FILE.svg? */
bool sim_args_picture(const char *text);

/* The name's number among n; false: it is none of them. */
bool sim_args_name(const char *text, const char *const *names, size_t n, size_t *number_p);

#endif
