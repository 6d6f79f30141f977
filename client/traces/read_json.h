/* client/traces/read_json.h: what the readers have in common: lines, and fields of a JSON object within bounds. */
#ifndef KVASIR_CLIENT_TRACES_READ_JSON_H
#define KVASIR_CLIENT_TRACES_READ_JSON_H

#include <stdint.h>

#include <cjson/cJSON.h>

#include "client/traces/error.h"

/* Where the reader is, for errors. */
struct sim_place {
  const char *name;
  size_t line;
};

/* The error's text gets file and line in front. Returns the status. */
kvs_status sim_fail_at(const struct sim_place *place, struct sim_error *error);

/* Calls take for each line that is not empty, parsed; the object is freed after it. Ends with the first error. */
typedef kvs_status (*sim_take_line)(void *own, const cJSON *object, struct sim_error *error);
kvs_status sim_json_lines(const char *name, const char *text, size_t length, sim_take_line take, void *own,
                          struct sim_error *error);

/* A number from 0 to most. KVS_ERR_INVALID: it is not there, or is none, or out of bounds. */
kvs_status sim_json_number(const cJSON *object, const char *field, double most, double *value_p,
                           struct sim_error *error);
/* The same for one that may be missing or null: then `otherwise`. */
kvs_status sim_json_optional(const cJSON *object, const char *field, double most, double otherwise,
                             double *value_p, struct sim_error *error);
/* A whole number; fractions are an error. */
kvs_status sim_json_whole(const cJSON *object, const char *field, uint64_t most, uint64_t *value_p,
                          struct sim_error *error);

/* Block ids, in memory that is kept from one request to the next. */
struct sim_ids {
  uint64_t *ids;
  size_t n, room;
};
/* The field's array of whole numbers below 2^53. */
kvs_status sim_json_ids(const cJSON *object, const char *field, struct sim_ids *ids, struct sim_error *error);
void sim_ids_free(struct sim_ids *ids);

#endif
