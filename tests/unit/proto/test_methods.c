/* The method table agrees with the services of cache.proto. */
#include "tests/unit/proto/testing.h"

#include <stdio.h>

#include "proto/kvasir/v1/cache.pb-c.h"
#include "proto/wire.h"

static const ProtobufCMethodDescriptor *find(const ProtobufCServiceDescriptor *service, const char *path)
{
  for (unsigned i = 0; i < service->n_methods; i++) {
    char name[128];
    snprintf(name, sizeof name, "/%s/%s", service->name, service->methods[i].name);
    if (strcmp(name, path) == 0)
      return &service->methods[i];
  }
  return NULL;
}

static void every_method_is_in_a_service(void **state)
{
  const ProtobufCServiceDescriptor *cache = &kvasir__v1__cache__descriptor;
  const ProtobufCServiceDescriptor *admin = &kvasir__v1__admin__descriptor;

  (void)state;
  for (int i = 0; i < KVI_METHOD_COUNT; i++) {
    const struct kvi_method_info *info = kvi_method_info((enum kvi_method)i);
    assert_non_null(info);
    const ProtobufCMethodDescriptor *method = find(cache, info->path);
    if (!method)
      method = find(admin, info->path);
    assert_non_null(method);
    assert_ptr_equal(method->input, info->request);
    assert_ptr_equal(method->output, info->reply);
  }
  /* and the other way round: all but Transfer, which is a stream */
  assert_int_equal(cache->n_methods + admin->n_methods, KVI_METHOD_COUNT + 1);
}

static void methods_are_where_the_enum_says(void **state)
{
  (void)state;
  assert_string_equal(kvi_method_info(KVI_METHOD_HELLO)->path, "/kvasir.v1.Cache/Hello");
  assert_string_equal(kvi_method_info(KVI_METHOD_LOOKUP)->path, "/kvasir.v1.Cache/Lookup");
  assert_string_equal(kvi_method_info(KVI_METHOD_CONFIG)->path, "/kvasir.v1.Admin/Config");
  assert_null(kvi_method_info(KVI_METHOD_COUNT));
  assert_null(kvi_method_info((enum kvi_method) - 1));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_method_is_in_a_service),
      cmocka_unit_test(methods_are_where_the_enum_says),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
