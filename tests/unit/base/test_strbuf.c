#include <string.h>

#include "testing.h"

#include "base/strbuf.h"

static void grows_to_its_limit(void **state)
{
  kvi_strbuf buf;

  (void)state;
  kvi_strbuf_init(&buf, 1000);
  assert_string_equal(kvi_strbuf_text(&buf), "");
  for (int i = 0; i < 100; i++)
    kvi_strbuf_addf(&buf, "%s%04d", "number", i);
  assert_int_equal(buf.status, KVS_OK);
  assert_int_equal(buf.length, 1000);
  assert_string_equal(buf.text + 990, "number0099");
  kvi_strbuf_add(&buf, "");
  assert_int_equal(buf.status, KVS_OK);
  kvi_strbuf_add(&buf, "x");
  assert_int_equal(buf.status, KVS_ERR_TOO_LARGE);
  assert_int_equal(strlen(kvi_strbuf_text(&buf)), 1000);
  kvi_strbuf_free(&buf);
  kvi_strbuf_free(&buf);
}

static void json_strings(void **state)
{
  kvi_strbuf buf;

  (void)state;
  kvi_strbuf_init(&buf, 1000);
  kvi_strbuf_add_json(&buf, "a\"\\\n\x01\xc3\xa9\xff\xe2\x82\xac\xed\xa0\x80\xf0\x9f\x98\x80\xc3");
  assert_string_equal(kvi_strbuf_text(&buf), "\"a\\\"\\\\\\u000a\\u0001\xc3\xa9\\ufffd\xe2\x82\xac"
                                             "\\ufffd\\ufffd\\ufffd\xf0\x9f\x98\x80\\ufffd\"");
  kvi_strbuf_free(&buf);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(grows_to_its_limit),
      cmocka_unit_test(json_strings),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
