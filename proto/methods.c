/* The control methods: their paths and messages, in the order of enum kvi_method. */
#include "proto/wire.h"

#include "proto/kvasir/v1/cache.pb-c.h"

#define METHOD(service, name, request, reply)                                                                \
  {                                                                                                          \
    "/kvasir.v1." service "/" name, &kvasir__v1__##request##__descriptor, &kvasir__v1__##reply##__descriptor \
  }

static const struct kvi_method_info method_table[KVI_METHOD_COUNT] = {
    [KVI_METHOD_HELLO] = METHOD("Cache", "Hello", hello_request, hello_reply),
    [KVI_METHOD_PING] = METHOD("Cache", "Ping", empty, empty),
    [KVI_METHOD_OPEN_SPACE] = METHOD("Cache", "OpenSpace", open_space_request, open_space_reply),
    [KVI_METHOD_LOOKUP] = METHOD("Cache", "Lookup", lookup_request, lookup_reply),
    [KVI_METHOD_RELEASE] = METHOD("Cache", "Release", release_request, release_reply),
    [KVI_METHOD_DELETE] = METHOD("Cache", "Delete", delete_request, delete_reply),
    [KVI_METHOD_HINT] = METHOD("Cache", "Hint", hint_request, hint_reply),
    [KVI_METHOD_STATS] = METHOD("Admin", "Stats", stats_request, stats_reply),
    [KVI_METHOD_LIST_SPACES] = METHOD("Admin", "ListSpaces", list_spaces_request, list_spaces_reply),
    [KVI_METHOD_LIST_CHUNKS] = METHOD("Admin", "ListChunks", list_chunks_request, list_chunks_reply),
    [KVI_METHOD_EVICT] = METHOD("Admin", "Evict", evict_request, evict_reply),
    [KVI_METHOD_CONFIG] = METHOD("Admin", "Config", empty, config_reply),
    [KVI_METHOD_LIST_PROGRAMS] = METHOD("Admin", "ListPrograms", list_programs_request, list_programs_reply),
    [KVI_METHOD_WHY_MISS] = METHOD("Admin", "WhyMiss", why_miss_request, why_miss_reply),
    [KVI_METHOD_TENANTS] = METHOD("Admin", "Tenants", tenants_request, tenants_reply),
    [KVI_METHOD_CURVE] = METHOD("Admin", "Curve", curve_request, curve_reply),
};

const struct kvi_method_info *kvi_method_info(enum kvi_method method)
{
  if ((unsigned)method >= KVI_METHOD_COUNT)
    return NULL;
  return &method_table[method];
}
