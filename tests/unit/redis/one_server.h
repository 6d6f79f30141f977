/* one_server.h: the one redis-server that all tests of a program use, and its start and stop as cmocka calls them. */
#ifndef KVI_TESTS_UNIT_REDIS_ONE_SERVER_H
#define KVI_TESTS_UNIT_REDIS_ONE_SERVER_H

#include <stddef.h>

#include "tests/unit/redis/server.h"

static struct redis_server server;

static inline int start(void **state)
{
  (void)state;
  server_start(&server, NULL);
  return 0;
}

static inline int stop(void **state)
{
  (void)state;
  server_stop(&server);
  return 0;
}

#endif
