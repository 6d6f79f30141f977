/* tests/bench/lmcache_resp.h: the text of lmcache_resp.py, which says what it answers. */
#ifndef KVASIR_BENCH_LMCACHE_RESP_H
#define KVASIR_BENCH_LMCACHE_RESP_H

extern const char bench_lmcache_resp[]; /* with a NUL at its end */

#endif
