/*
 * tiers/policy/continued.h: which branch a request goes on with. Only the last resident chunks of both are known, and how long they were: what is not resident any more cannot be compared, and is taken for
 * the same if all that is left is.
 *
 * O(chunks of both chains, times branches of the program).
 */
#ifndef KVASIR_TIERS_POLICY_CONTINUED_H
#define KVASIR_TIERS_POLICY_CONTINUED_H

#include "tiers/policy/branches.h"

/*
 * The branch of its program that has the most resident chunks in common with the chain; else the one that waits last on the chain, of no known program unless the request has none (that one also if it is the only one at the end of what is there, and was longer); else one of the program of
 * which nothing is left. The first two only if they have half of the shorter of both in common. KVI_BRANCH_NONE: there is none.
 */
uint32_t kvi_continued(const struct kvi_policy *forest, const struct kvi_branches *branches,
                       const struct kvi_policy_use *use);
/* One without a name that ends there; KVI_BRANCH_NONE. */
uint32_t kvi_continued_unnamed(const struct kvi_branches *branches, uint32_t last);
/*
 * The branch whose request has stored the end of this chain: the nearest on it that is not answered and has yet to store more, or has half of it; else the program's that came last, if nothing was there for it. KVI_BRANCH_NONE: none; *is_whole_p: are all chunks
 * before use->last there?
 */
uint32_t kvi_extended(const struct kvi_policy *forest, const struct kvi_branches *branches,
                      const struct kvi_policy_use *use, bool *is_whole_p);

#endif
