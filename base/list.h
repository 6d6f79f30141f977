/*
 * base/list.h: a doubly linked list whose links lie in the objects themselves. Not thread-safe; allocates
 * nothing.
 *
 *     typedef struct chunk { kvi_list_node lru; ... } chunk;
 *     kvi_list list;
 *     kvi_list_init(&list);
 *     kvi_list_push_back(&list, &c->lru);
 *     kvi_list_for_each(&list, node) { chunk *c = kvi_list_entry(node, chunk, lru); ... }
 */
#ifndef KVI_BASE_LIST_H
#define KVI_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* A node in no list has both links NULL: zeroed memory is a valid unlinked node. */
typedef struct kvi_list_node {
  struct kvi_list_node *prev;
  struct kvi_list_node *next;
} kvi_list_node;

typedef struct kvi_list {
  kvi_list_node head; /* its next is the first node, its prev the last; to itself if empty */
  size_t length;
} kvi_list;

#define kvi_list_entry(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* The body must not unlink "node"; kvi_list_for_each_safe allows that (and no other change). */
#define kvi_list_for_each(list, node)                                                                        \
  for (kvi_list_node *node = (list)->head.next; node != &(list)->head; node = node->next)

#define kvi_list_for_each_safe(list, node)                                                                   \
  for (kvi_list_node *node = (list)->head.next, *node##_next = node->next; node != &(list)->head;            \
       node = node##_next, node##_next = node->next)

static inline void kvi_list_init(kvi_list *list)
{
  list->head.prev = list->head.next = &list->head;
  list->length = 0;
}

static inline bool kvi_list_is_empty(const kvi_list *list)
{
  return list->head.next == &list->head;
}

static inline bool kvi_list_is_linked(const kvi_list_node *node)
{
  return node->next != NULL;
}

static inline void kvi_list_insert_before(kvi_list *list, kvi_list_node *place, kvi_list_node *node)
{
  node->prev = place->prev;
  node->next = place;
  place->prev->next = node;
  place->prev = node;
  list->length++;
}

static inline void kvi_list_push_back(kvi_list *list, kvi_list_node *node)
{
  kvi_list_insert_before(list, &list->head, node);
}

static inline void kvi_list_push_front(kvi_list *list, kvi_list_node *node)
{
  kvi_list_insert_before(list, list->head.next, node);
}

/* "node" must be in "list". */
static inline void kvi_list_remove(kvi_list *list, kvi_list_node *node)
{
  node->prev->next = node->next;
  node->next->prev = node->prev;
  node->prev = node->next = NULL;
  list->length--;
}

static inline kvi_list_node *kvi_list_first(const kvi_list *list)
{
  /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the analyzer forgets that a removed node is linked no more */
  return kvi_list_is_empty(list) ? NULL : list->head.next;
}

static inline kvi_list_node *kvi_list_last(const kvi_list *list)
{
  return kvi_list_is_empty(list) ? NULL : list->head.prev;
}

static inline kvi_list_node *kvi_list_pop_front(kvi_list *list)
{
  kvi_list_node *node = kvi_list_first(list);

  if (node != NULL)
    kvi_list_remove(list, node);
  return node;
}

static inline void kvi_list_move_to_back(kvi_list *list, kvi_list_node *node)
{
  kvi_list_remove(list, node);
  kvi_list_push_back(list, node);
}

/* Appends all of "from" to "to" in order; "from" is empty after it. */
static inline void kvi_list_splice_back(kvi_list *to, kvi_list *from)
{
  if (kvi_list_is_empty(from))
    return;
  from->head.next->prev = to->head.prev;
  from->head.prev->next = &to->head;
  to->head.prev->next = from->head.next;
  to->head.prev = from->head.prev;
  to->length += from->length;
  kvi_list_init(from);
}

#endif
