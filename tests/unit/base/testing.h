/* What every cmocka test includes, in the order cmocka wants. */
#ifndef KVI_TESTS_UNIT_BASE_TESTING_H
#define KVI_TESTS_UNIT_BASE_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define WAIT_MS 20000 /* for what must happen: far more than a loaded machine needs */

#endif
