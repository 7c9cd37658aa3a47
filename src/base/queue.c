#include "base/queue.h"

#include <pthread.h>

#include "base/memory.h"

struct sw_queue {
    pthread_mutex_t lock;
    pthread_cond_t not_empty;
    size_t capacity, head, len;
    bool closed;
    void *items[];
};

struct sw_queue *sw_queue_create(size_t capacity) {
    SW_ASSERT(capacity > 0 && capacity < SIZE_MAX / sizeof(void *) / 2);
    struct sw_queue *queue = sw_xcalloc(1, sizeof *queue + capacity * sizeof(void *));
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->not_empty, NULL);
    queue->capacity = capacity;
    return queue;
}

void sw_queue_destroy(struct sw_queue *queue) {
    if (queue) {
        pthread_cond_destroy(&queue->not_empty);
        pthread_mutex_destroy(&queue->lock);
        sw_free(queue);
    }
}

bool sw_queue_push(struct sw_queue *queue, void *item) {
    SW_ASSERT(item);
    pthread_mutex_lock(&queue->lock);
    bool room = !queue->closed && queue->len < queue->capacity;
    if (room) {
        queue->items[(queue->head + queue->len++) % queue->capacity] = item;
    }
    pthread_mutex_unlock(&queue->lock);
    if (room) {
        pthread_cond_signal(&queue->not_empty);
    }
    return room;
}

static void *take(struct sw_queue *queue) {
    if (queue->len == 0) {
        return NULL;
    }
    void *item = queue->items[queue->head];
    queue->head = (queue->head + 1) % queue->capacity;
    queue->len--;
    return item;
}

void *sw_queue_pop(struct sw_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    while (queue->len == 0 && !queue->closed) {
        pthread_cond_wait(&queue->not_empty, &queue->lock);
    }
    void *item = take(queue);
    pthread_mutex_unlock(&queue->lock);
    return item;
}

void *sw_queue_try_pop(struct sw_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    void *item = take(queue);
    pthread_mutex_unlock(&queue->lock);
    return item;
}

void sw_queue_close(struct sw_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_mutex_unlock(&queue->lock);
    pthread_cond_broadcast(&queue->not_empty);
}

size_t sw_queue_len(struct sw_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    size_t len = queue->len;
    pthread_mutex_unlock(&queue->lock);
    return len;
}
