/* client/traces/error.h: why something could not be done, in words for whoever gave the input. */
#ifndef KVASIR_CLIENT_TRACES_ERROR_H
#define KVASIR_CLIENT_TRACES_ERROR_H

#include <stddef.h>

#include <kvasir/status.h>

#define SIM_ERROR_MAX 320u

struct sim_error {
  kvs_status status;        /* KVS_OK until something failed */
  char text[SIM_ERROR_MAX]; /* "file:line: what is wrong"; printable ASCII, cut where it is too long */
};

/* Sets both and returns the status. What is not printable becomes "?", since names and texts may be another's. */
kvs_status sim_fail(struct sim_error *error, kvs_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
