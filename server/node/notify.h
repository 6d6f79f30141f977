/* server/node/notify.h: tells systemd how the node is (sd_notify's protocol). Does nothing outside systemd.
 */
#ifndef KVI_NODE_NOTIFY_H
#define KVI_NODE_NOTIFY_H

/* "READY=1", "STOPPING=1", "RELOADING=1": one or more lines. Any thread, does not block. */
void kvi_notify(const char *state);

#endif
