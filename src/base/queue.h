/* Bounded queue of pointers between threads (mutex and condition variable; any number of producers and consumers). */
#ifndef SW_BASE_QUEUE_H
#define SW_BASE_QUEUE_H

#include <stdbool.h>

#include "base/macros.h"

struct sw_queue;

struct sw_queue *sw_queue_create(size_t capacity);
void sw_queue_destroy(struct sw_queue *queue);          /* must be empty of waiters */
bool sw_queue_push(struct sw_queue *queue, void *item); /* false: full or closed; never blocks */
void *sw_queue_pop(struct sw_queue *queue);             /* blocks; NULL: closed and empty */
void *sw_queue_try_pop(struct sw_queue *queue);         /* NULL: empty */
void sw_queue_close(struct sw_queue *queue);            /* pushes fail from now on; waiters wake */
size_t sw_queue_len(struct sw_queue *queue);

#endif
