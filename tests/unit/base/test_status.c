#include <string.h>

#include "testing.h"

#include <kvasir/status.h>

static const int all[] = {
    KVS_OK,
    KVS_MISS,
    KVS_PARTIAL,
    KVS_EXISTS,
    KVS_PENDING,
    KVS_DECLINED,
    KVS_ERR_INVALID,
    KVS_ERR_DEADLINE,
    KVS_ERR_CANCELED,
    KVS_ERR_KEY_LENGTH,
    KVS_ERR_TOO_LARGE,
    KVS_ERR_SPACE_UNKNOWN,
    KVS_ERR_SPACE_MISMATCH,
    KVS_ERR_UNSUPPORTED,
    KVS_ERR_BUSY,
    KVS_ERR_QUOTA,
    KVS_ERR_BUFFER,
    KVS_ERR_CHECKSUM,
    KVS_ERR_UNREACHABLE,
    KVS_ERR_VERSION,
    KVS_ERR_PROTOCOL,
    KVS_ERR_DRAINING,
    KVS_ERR_DENIED,
    KVS_ERR_FULL,
    KVS_ERR_CORRUPT,
    KVS_ERR_IO,
    KVS_ERR_NOMEM,
    KVS_ERR_CONFIG,
    KVS_ERR_SYSTEM,
    KVS_ERR_FORKED,
    KVS_ERR_CLOSED,
    KVS_ERR_INTERNAL,
};
#define COUNT (sizeof all / sizeof all[0])

/* Every integer in the range of the enum either has both a text and a name, or neither; and there are COUNT
 * that have. */
static void every_value_has_text_and_name(void **state)
{
  size_t named = 0;

  (void)state;
  for (int value = -1000; value <= 1000; value++) {
    const char *text = kvs_status_text((kvs_status)value);
    const char *name = kvs_status_name((kvs_status)value);

    assert_non_null(text);
    assert_non_null(name);
    assert_int_equal(strcmp(text, "unknown status") == 0, strcmp(name, "UNKNOWN") == 0);
    named += strcmp(name, "UNKNOWN") != 0;
  }
  assert_int_equal(named, COUNT);
}

static void texts_and_names_are_distinct_and_in_style(void **state)
{
  (void)state;
  for (size_t i = 0; i < COUNT; i++) {
    const char *text = kvs_status_text((kvs_status)all[i]);

    assert_true(text[0] >= 'a' && text[0] <= 'z');
    assert_int_not_equal(text[strlen(text) - 1], '.');
    assert_int_equal(strncmp(kvs_status_name((kvs_status)all[i]), "ERR_", 4) == 0, all[i] < 0);
    for (size_t j = 0; j < i; j++) {
      assert_string_not_equal(text, kvs_status_text((kvs_status)all[j]));
      assert_string_not_equal(kvs_status_name((kvs_status)all[i]), kvs_status_name((kvs_status)all[j]));
    }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_value_has_text_and_name),
      cmocka_unit_test(texts_and_names_are_distinct_and_in_style),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
