#include <stdbool.h>

#include "testing.h"

#include "base/list.h"

typedef struct item {
  int number;
  kvi_list_node link;
} item;

static void expect(const kvi_list *list, const int *numbers, size_t count)
{
  size_t i = 0;

  assert_int_equal(list->length, count);
  kvi_list_for_each(list, node)
  {
    assert_true(i < count);
    assert_int_equal(kvi_list_entry(node, item, link)->number, numbers[i++]);
    assert_ptr_equal(node->next->prev, node);
  }
  assert_int_equal(i, count);
}

static void order(void **state)
{
  item items[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
  kvi_list list, other;

  (void)state;
  kvi_list_init(&list);
  kvi_list_init(&other);
  assert_true(kvi_list_is_empty(&list));
  assert_null(kvi_list_first(&list));
  assert_null(kvi_list_last(&list));
  assert_null(kvi_list_pop_front(&list));
  kvi_list_push_back(&list, &items[1].link);
  kvi_list_push_back(&list, &items[2].link);
  kvi_list_push_front(&list, &items[0].link);
  expect(&list, (const int[]){0, 1, 2}, 3);
  kvi_list_insert_before(&list, &items[2].link, &items[3].link);
  expect(&list, (const int[]){0, 1, 3, 2}, 4);
  kvi_list_move_to_back(&list, &items[0].link);
  expect(&list, (const int[]){1, 3, 2, 0}, 4);
  kvi_list_remove(&list, &items[3].link);
  assert_false(kvi_list_is_linked(&items[3].link));
  assert_true(kvi_list_is_linked(&items[2].link));
  kvi_list_push_back(&other, &items[3].link);
  kvi_list_splice_back(&other, &list);
  expect(&other, (const int[]){3, 1, 2, 0}, 4);
  assert_true(kvi_list_is_empty(&list));
  kvi_list_splice_back(&other, &list);
  assert_ptr_equal(kvi_list_pop_front(&other), &items[3].link);
  assert_ptr_equal(kvi_list_last(&other), &items[0].link);
  kvi_list_for_each_safe(&other, node) kvi_list_remove(&other, node);
  expect(&other, NULL, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(order)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
