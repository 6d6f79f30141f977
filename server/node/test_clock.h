/*
 * server/node/test_clock.h: a clock that a test turns: the machine's, and what a file says that it is ahead, 8 bytes, nanoseconds, little-endian, mapped, so that a write to the file is seen at once. The test
 * never makes it less.
 */
#ifndef KVI_NODE_TEST_CLOCK_H
#define KVI_NODE_TEST_CLOCK_H

#include <stdint.h>

#include <kvasir/status.h>

struct kvi_test_clock;

/* KVS_ERR_SYSTEM (errno: the file), KVS_ERR_INVALID (it is shorter), KVS_ERR_NOMEM. */
kvs_status kvi_test_clock_open(const char *path, struct kvi_test_clock **clock_p);
void kvi_test_clock_close(struct kvi_test_clock *clock); /* NULL is fine */
/* As kvi_store_config.policy_clock. */
uint64_t kvi_test_clock_now(void *clock);

#endif
