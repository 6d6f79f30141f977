/* tiers/redis/greet.c: what is said first on a connection: who we are, and what it must be. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/log.h"
#include "tiers/redis/redis_private.h"

static bool begins(const redisReply *reply, const char *word)
{
  size_t length = strlen(word);

  return (size_t)reply->len >= length && memcmp(reply->str, word, length) == 0;
}

static bool is_denied(const redisReply *reply)
{
  return begins(reply, "NOAUTH") || begins(reply, "WRONGPASS") || begins(reply, "NOPERM") ||
         begins(reply, "ERR invalid password") || begins(reply, "ERR Client sent AUTH") ||
         begins(reply, "ERR AUTH");
}

static void refused(struct kvi_redis_conn *conn, const redisReply *reply)
{
  conn->why = is_denied(reply) ? KVI_REDIS_DENIED : KVI_REDIS_DOWN;
  snprintf(conn->why_text, sizeof(conn->why_text), "%.*s", (int)(reply->len < 100 ? reply->len : 100),
           reply->str);
  kvi_redis_conn_close(conn, true, conn->why_text);
}

static void greeted(struct kvi_redis_conn *conn)
{
  struct kvi_redis *redis = conn->redis;
  char text[KVI_REDIS_ADDRESS_MAX];

  if (--conn->greetings > 0)
    return;
  conn->state = KVI_REDIS_CONN_READY;
  kvi_redis_count(redis, &redis->stats.connects, 1);
  kvi_redis_node_answered(conn->node);
  if (!conn->node->was_up)
    kvi_log_info("tier redis: %s %s: connected", conn->node->is_sentinel ? "sentinel" : "server",
                 kvi_redis_address_format(&conn->node->address, text));
  conn->node->was_up = true;
  kvi_redis_tick_by(redis, redis->now_ns);
}

static void said_hello(struct kvi_redis_conn *conn, const redisReply *reply)
{
  if (!reply)
    return;
  if (reply->type == REDIS_REPLY_ERROR)
    refused(conn, reply);
  else
    greeted(conn);
}

/* Behind the address of Sentinel's master there must be one: it may have been demoted since. */
static void said_role(struct kvi_redis_conn *conn, const redisReply *reply)
{
  if (!reply)
    return;
  if (reply->type == REDIS_REPLY_ERROR) {
    refused(conn, reply);
    return;
  }
  if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
      reply->element[0]->type == REDIS_REPLY_STRING && strcasecmp(reply->element[0]->str, "master") == 0) {
    greeted(conn);
    return;
  }
  kvi_redis_conn_close(conn, true, "it is no master");
}

static kvs_status authenticate(struct kvi_redis_conn *conn)
{
  const struct kvi_redis_config *config = &conn->redis->config;
  const char *user = conn->node->is_sentinel ? config->sentinel_username : config->username;
  const char *password = conn->node->is_sentinel ? config->sentinel_password : config->password;
  const char *with_user[] = {"AUTH", user, password}, *without[] = {"AUTH", password};

  if (password[0] == '\0')
    return KVS_OK;
  conn->greetings++;
  if (user[0] != '\0')
    return kvi_redis_conn_ask(conn, said_hello, 3, with_user, NULL);
  return kvi_redis_conn_ask(conn, said_hello, 2, without, NULL);
}

kvs_status kvi_redis_greet(struct kvi_redis_conn *conn)
{
  static const char *const name[] = {"CLIENT", "SETNAME", "kvasir"};
  static const char *const ping[] = {"PING"}, *const role[] = {"ROLE"};
  bool ask_role = conn->redis->config.mode == KVI_REDIS_SENTINEL && !conn->node->is_sentinel;
  kvs_status status = authenticate(conn);

  if (status == KVS_OK && !conn->node->is_sentinel)
    status = kvi_redis_conn_ask(conn, NULL, KVI_ARRAY_SIZE(name), name,
                                NULL); /* for CLIENT LIST; may be forbidden */
  if (status != KVS_OK)
    return status;
  conn->greetings++;
  return ask_role ? kvi_redis_conn_ask(conn, said_role, 1, role, NULL)
                  : kvi_redis_conn_ask(conn, said_hello, 1, ping, NULL);
}
