/* The tenants file: what is taken, what is refused and how that is said; whose a credential is, and what a reload changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/rand.h"
#include "base/text.h"
#include "server/node/tenants.h"

static char error[KVI_NODE_TENANTS_ERROR_MAX];

static struct kvi_node_tenants *parse(const char *text)
{
  struct kvi_node_tenants *tenants;

  error[0] = '\0';
  if (kvi_node_tenants_parse("t.yaml", text, strlen(text), &tenants, error, sizeof(error)) == KVS_OK)
    return tenants;
  assert_null(tenants);
  return NULL;
}

static void refused(const char *text, const char *says)
{
  assert_null(parse(text));
  if (!strstr(error, says))
    fail_msg("\"%s\" does not say \"%s\"", error, says);
}

/* "sha256:..." of a token. Up to eight are good at a time. */
static const char *hash_of(const char *token)
{
  static char texts[8][7 + 2 * KVI_SHA256_BYTES + 1];
  static unsigned next;
  uint8_t digest[KVI_SHA256_BYTES];
  char *text = texts[next++ % 8];

  kvi_sha256(token, strlen(token), digest);
  memcpy(text, "sha256:", 7);
  assert_int_equal(kvi_hex_encode(digest, sizeof(digest), text + 7, sizeof(texts[0]) - 7), KVS_OK);
  return text;
}

/* Whose it is; NULL: nobody's. */
static const char *whose(struct kvi_node_tenants *tenants, const char *token, const char *cn,
                         const char *spiffe)
{
  struct kvi_grpc_credential credential = {
      .token = token, .token_length = token ? strlen(token) : 0, .common_name = cn, .spiffe_id = spiffe};
  struct kvi_peer peer = {.id = 5};

  return kvi_node_tenants_identify(tenants, &credential, &peer) == KVS_OK ? peer.tenant : NULL;
}

static void a_file_is_read(void **state)
{
  struct kvi_node_tenants *tenants;
  const struct kvi_tenant_config *configs;
  char text[2048];
  uint32_t n;

  (void)state;
  snprintf(
      text, sizeof(text),
      "# who\n---\n\nname: alpha\nweight: 3\ndram: 2GiB\nssd: 10GiB\nredis: 30GiB\ntokens: [%s,\n  \"%s\"]\n"
      "---  \n# nobody\n---\nname: beta-2\ncertificates:\n  - cn:trainer\n  - spiffe://example.org/b\n---\r\n"
      "name: root\ntokens: ['%s']\nadmin: true\n",
      hash_of("one"), hash_of("two"), hash_of("three"));
  tenants = parse(text);
  if (!tenants)
    fail_msg("%s", error);
  configs = kvi_node_tenants_configs(tenants, &n);
  assert_int_equal(n, 3);
  assert_string_equal(configs[0].name, "alpha");
  assert_int_equal(configs[0].weight, 3);
  assert_int_equal(configs[0].dram_bytes, UINT64_C(2) << 30);
  assert_int_equal(configs[0].medium_bytes, UINT64_C(10) << 30);
  assert_int_equal(configs[0].shared_bytes, UINT64_C(30) << 30);
  assert_int_equal(configs[1].shared_bytes, 0);
  assert_int_equal(configs[1].weight, 1);
  assert_int_equal(configs[1].dram_bytes, 0);
  assert_string_equal(whose(tenants, "one", NULL, NULL), "alpha");
  assert_string_equal(whose(tenants, "two", "trainer", NULL), "alpha"); /* the token counts */
  assert_string_equal(whose(tenants, NULL, "trainer", NULL), "beta-2");
  assert_string_equal(whose(tenants, NULL, "x", "spiffe://example.org/b"), "beta-2");
  assert_null(whose(tenants, "four", "trainer", NULL)); /* and a wrong one too */
  assert_null(whose(tenants, "", "trainer", NULL));
  assert_null(whose(tenants, NULL, "spiffe://example.org/b", NULL));
  assert_null(whose(tenants, NULL, NULL, "cn:trainer"));
  assert_null(whose(tenants, NULL, "trainer2", NULL));
  assert_null(whose(tenants, NULL, NULL, NULL));
  assert_null(whose(tenants, hash_of("one"), NULL, NULL)); /* what is in the file opens nothing */
  kvi_node_tenants_free(tenants);
}

static void who_is_limited(void **state)
{
  struct kvi_node_tenants *tenants;
  struct kvi_grpc_credential nothing = {0}, token = {.token = "one", .token_length = 3};
  struct kvi_peer a = {.id = 5}, b = {.id = 5}, again = {.id = 5};
  char text[512];

  (void)state;
  snprintf(text, sizeof(text), "name: open\nanonymous: true\n---\nname: root\nadmin: true\ntokens: [%s]\n",
           hash_of("one"));
  tenants = parse(text);
  assert_non_null(tenants);
  assert_int_equal(kvi_node_tenants_identify(tenants, &nothing, &a), KVS_OK);
  assert_string_equal(a.tenant, "open");
  assert_true(a.limited);
  assert_int_equal(kvi_node_tenants_identify(tenants, &token, &b), KVS_OK);
  assert_false(b.limited);
  assert_int_equal(kvi_node_tenants_identify(tenants, &nothing, &again), KVS_OK);
  assert_int_equal(a.id, again.id); /* the same for all calls of a session */
  assert_int_not_equal(a.id, b.id); /* and no other tenant's, who names the same one */
  kvi_node_tenants_free(tenants);
}

static void what_is_wrong_is_said(void **state)
{
  char text[1024], longest[KVI_TENANT_MAX + 1];

  (void)state;
  refused("", "t.yaml: names no tenant");
  refused("# none\n---\n---\n", "names no tenant");
  refused("weight: 2\n", "from line 1: name is missing");
  refused("name: a\n---\nname: b\nwieght: 2\n",
          "from line 3: line:2: wieght: unknown key (did you mean weight?)");
  refused("name: a\n---\nname: a\n", "\"a\" is there already");
  refused("name: a b\n", "has others than");
  refused("name: -a\n", "has others than");
  refused("name: a\"\n", "has others than");
  refused("name: \"\"\n", "name is missing");
  refused("name: a\nweight: 0\n", "weight");
  refused("name: a\nweight: 1001\n", "weight");
  refused("name: a\ndram: much\n", "dram");
  refused("name: a\nname: b\n", "duplicate");
  refused("name: &x a\n", "anchors");
  refused("name: a\ntokens: [secret]\n", "\"sha256:\" and 64 hex digits");
  refused("name: a\ntokens: [sha256:00]\n", "64 hex digits");
  refused("name: a\ntokens: secret\n", "list");
  refused("name: a\ncertificates: [trainer]\n", "neither cn:NAME nor spiffe://");
  refused("name: a\ncertificates: ['cn:']\n", "neither");
  refused("name: a\ncertificates: [cn:x]\n---\nname: b\ncertificates: [cn:x]\n",
          "from line 4: certificates: \"cn:x\"");
  refused("name: a\nanonymous: true\n---\nname: b\nanonymous: true\n", "another tenant");
  refused("name: a\nanonymous: true\nadmin: true\n", "admin");
  refused("- a\n", "t.yaml, from line 1");
  refused("{", "t.yaml, from line 1");
  snprintf(text, sizeof(text), "name: a\ntokens: [%s]\n---\nname: b\ntokens: [%s]\n", hash_of("x"),
           hash_of("x"));
  refused(text, "one is there already");
  assert_null(strstr(error, "x"));
  memset(longest, 'n', sizeof(longest));
  longest[KVI_TENANT_MAX] = '\0';
  snprintf(text, sizeof(text), "name: %s\n", longest);
  refused(text, "name");
}

/* A good file with some bytes changed, cut or doubled is taken or refused, with a sentence. */
static void any_bytes_are_taken_or_refused(void **state)
{
  static const char bytes[] = "\n\r\t\0 -:#[]{},&*!|>'\"%@`~\xc3\xff\xefnamedrtoken0sha256---";
  char good[1024], text[2048];
  uint32_t taken = 0;
  kvi_rand rand;

  (void)state;
  kvi_rand_seed(&rand, 1);
  snprintf(good, sizeof(good),
           "name: a\nweight: 3\ndram: 2GiB\ntokens: [%s]\n---\nname: b\ncertificates:\n  - cn:x\n---\nname: "
           "c\nadmin: true\n",
           hash_of("x"));
  for (int i = 0; i < 30000; i++) {
    struct kvi_node_tenants *tenants;
    size_t length = strlen(good);

    memcpy(text, good, length);
    for (uint64_t n = kvi_rand_next(&rand) % 8; n > 0; n--) {
      size_t at = kvi_rand_next(&rand) % length;

      if (kvi_rand_next(&rand) % 4 == 0) { /* a part comes twice, or is gone */
        size_t part = kvi_rand_next(&rand) % (length - at) % 64;

        memmove(text + at + part, text + at, length - at);
        length = kvi_rand_next(&rand) % 2 ? length + part : at + part + 1;
      } else {
        text[at] = bytes[kvi_rand_next(&rand) % (sizeof(bytes) - 1)];
      }
    }
    error[0] = '\0';
    if (kvi_node_tenants_parse("t", text, length, &tenants, error, sizeof(error)) == KVS_OK) {
      taken++;
      assert_string_equal(error, "");
      kvi_node_tenants_free(tenants);
    } else {
      assert_null(tenants);
      assert_memory_equal(error, "t", 1);
    }
  }
  assert_true(taken > 1000 && taken < 29000);
}

static void as_many_as_there_may_be(void **state)
{
  struct kvi_node_tenants *tenants;
  size_t length = 0, room = (KVI_TENANTS_MAX + 1) * 160;
  char *text = malloc(room), token[16];

  (void)state;
  for (uint32_t i = 0; i <= KVI_TENANTS_MAX; i++) {
    snprintf(token, sizeof(token), "token %u", i);
    length +=
        (size_t)snprintf(text + length, room - length, "name: t%u\ntokens: [%s]\n---\n", i, hash_of(token));
    if (i != KVI_TENANTS_MAX - 1)
      continue;
    tenants = parse(text);
    assert_non_null(tenants);
    for (uint32_t j = 0; j < KVI_TENANTS_MAX; j++) {
      char name[16];

      snprintf(token, sizeof(token), "token %u", j);
      snprintf(name, sizeof(name), "t%u", j);
      assert_string_equal(whose(tenants, token, NULL, NULL), name);
    }
    kvi_node_tenants_free(tenants);
  }
  refused(text, "more than 1024");
  free(text);
}

static void a_file_that_others_may_touch_is_refused(void **state)
{
  static const struct {
    mode_t mode;
    bool good;
  } modes[] = {{0600, true}, {0400, true}, {0640, true}, {0660, false}, {0644, false}, {0602, false}};
  char path[] = "/tmp/kvasir-tenants-XXXXXX";
  struct kvi_node_tenants *tenants;
  int fd = mkstemp(path);
  FILE *file;

  (void)state;
  assert_true(fd >= 0);
  assert_int_equal(write(fd, "name: a\n", 8), 8);
  close(fd);
  for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
    assert_int_equal(chmod(path, modes[i].mode), 0);
    assert_int_equal(kvi_node_tenants_load(path, false, &tenants, error, sizeof(error)),
                     modes[i].good ? KVS_OK : KVS_ERR_CONFIG);
    kvi_node_tenants_free(tenants);
  }
  assert_non_null(strstr(error, "others may change or read it"));
  assert_int_equal(chmod(path, 0600), 0);
  assert_int_equal(kvi_node_tenants_load(path, true, &tenants, error, sizeof(error)), KVS_OK);
  kvi_node_tenants_free(tenants);
  file = fopen(path, "a");
  assert_true(file && fputs("---\nname: b\nredis: 1GiB\n", file) >= 0 && fclose(file) == 0);
  assert_int_equal(kvi_node_tenants_load(path, true, &tenants, error, sizeof(error)), KVS_ERR_CONFIG);
  assert_null(tenants);
  assert_non_null(strstr(error, "the bound of b needs a redis.ttl"));
  if (geteuid() == 0) { /* another user's, who could change it: of those that only root can make */
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
    assert_int_equal(kvi_node_tenants_load(path, false, &tenants, error, sizeof(error)), KVS_ERR_CONFIG);
    assert_non_null(strstr(error, "belongs to another user (12345)"));
  }
  unlink(path);
  assert_int_equal(mkfifo(path, 0600), 0); /* nobody writes to it */
  assert_int_equal(kvi_node_tenants_load(path, false, &tenants, error, sizeof(error)), KVS_ERR_CONFIG);
  assert_non_null(strstr(error, "is no file"));
  unlink(path);
  assert_int_equal(kvi_node_tenants_load(path, false, &tenants, error, sizeof(error)), KVS_ERR_CONFIG);
  assert_non_null(strstr(error, "cannot be read"));
  assert_int_equal(kvi_node_tenants_load("/tmp", false, &tenants, error, sizeof(error)), KVS_ERR_CONFIG);
}

static void a_reload_changes_credentials_and_shares(void **state)
{
  struct kvi_store_config config = {.dram_bytes = 1 << 20};
  struct kvi_node_tenants *tenants, *fresh;
  struct kvi_tenant_info infos[4];
  struct kvi_store *store;
  char text[1024];

  (void)state;
  snprintf(text, sizeof(text), "name: a\ntokens: [%s]\n---\nname: b\ntokens: [%s]\ncertificates: [cn:b]\n",
           hash_of("1"), hash_of("2"));
  tenants = parse(text);
  assert_non_null(tenants);
  config.tenants = kvi_node_tenants_configs(tenants, &config.n_tenants);
  assert_int_equal(kvi_store_open(&config, &store), KVS_OK);
  snprintf(
      text, sizeof(text),
      "name: new\ntokens: [%s]\ncertificates: [cn:new]\n---\nname: b\ntokens: [%s]\nweight: 7\ndram: 1GiB\n",
      hash_of("3"), hash_of("4"));
  fresh = parse(text);
  assert_non_null(fresh);
  kvi_node_tenants_take_over(tenants, fresh, store);
  assert_null(whose(tenants, "1", NULL, NULL));
  assert_null(whose(tenants, "2", NULL, NULL));
  assert_null(whose(tenants, "3", NULL, NULL)); /* new ones wait for a restart */
  assert_null(whose(tenants, NULL, "b", NULL));
  assert_null(whose(tenants, NULL, "new", NULL));
  assert_string_equal(whose(tenants, "4", NULL, NULL), "b");
  assert_int_equal(kvi_store_tenants(store, 0, infos, 4), 3);
  assert_int_equal(infos[1].dram_max, 1); /* it has gone, and so does what it has */
  assert_int_equal(infos[1].weight, 0);
  assert_int_equal(infos[2].weight, 7);
  assert_int_equal(infos[2].dram_max, UINT64_C(1) << 30);
  kvi_store_close(store);
  kvi_node_tenants_free(tenants);
}

static void what_bounds_may_add_up_to(void **state)
{
  (void)state;
  assert_int_equal(kvi_node_tenants_room(1050, false, 90), 1050); /* without SSD nothing leaves by the mark */
  assert_int_equal(kvi_node_tenants_room(1050, true, 90), 945);
  assert_int_equal(kvi_node_tenants_room(1050, true, 100), 1050);
  assert_int_equal(kvi_node_tenants_room(UINT64_MAX, true, 100), UINT64_MAX);
  assert_int_equal(kvi_node_tenants_room(UINT64_MAX - 15, true, 50), UINT64_MAX / 2 - 7);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_file_is_read),
                                     cmocka_unit_test(who_is_limited),
                                     cmocka_unit_test(what_is_wrong_is_said),
                                     cmocka_unit_test(any_bytes_are_taken_or_refused),
                                     cmocka_unit_test(as_many_as_there_may_be),
                                     cmocka_unit_test(a_file_that_others_may_touch_is_refused),
                                     cmocka_unit_test(a_reload_changes_credentials_and_shares),
                                     cmocka_unit_test(what_bounds_may_add_up_to)};

  return cmocka_run_group_tests_name("server/node_tenants", tests, NULL, NULL);
}
