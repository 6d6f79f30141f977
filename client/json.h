/* client/json.h: a node's answers as JSON documents; docs/cli.md lists their fields. */
#ifndef KVI_CLIENT_JSON_H
#define KVI_CLIENT_JSON_H

#include "base/strbuf.h"
#include "proto/kvasir/v1/cache.pb-c.h"

#define KVI_CLIENT_JSON_MAX (64u << 20) /* bytes of one document */

/* Each appends one document, save spaces and tenants: one page of them, with commas between. */
void kvi_client_json_stats(kvi_strbuf *json, const Kvasir__V1__StatsReply *reply);
void kvi_client_json_programs(kvi_strbuf *json, const Kvasir__V1__ListProgramsReply *reply);
void kvi_client_json_spaces(kvi_strbuf *json, const Kvasir__V1__ListSpacesReply *reply);
void kvi_client_json_tenants(kvi_strbuf *json, const Kvasir__V1__TenantsReply *reply);
void kvi_client_json_chunks(kvi_strbuf *json, const Kvasir__V1__ListChunksReply *reply);
void kvi_client_json_curve(kvi_strbuf *json, const Kvasir__V1__CurveReply *reply);
void kvi_client_json_hint(kvi_strbuf *json, const Kvasir__V1__HintReply *reply);
void kvi_client_json_why(kvi_strbuf *json, const Kvasir__V1__WhyMissReply *reply);

#endif
