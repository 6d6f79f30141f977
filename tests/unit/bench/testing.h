/* tests/unit/bench/testing.h: what cmocka.h wants to be included before it. */
#ifndef KVI_TESTS_UNIT_BENCH_TESTING_H
#define KVI_TESTS_UNIT_BENCH_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Doubles that are exact in these tests up to rounding. */
#define assert_close(a, b) assert_float_equal((float)(a), (float)(b), 1e-5f)

#endif
