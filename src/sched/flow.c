/* One flow: what is let in, what is taken next, and when. See scheduler.h for the reasons. */
#include "sched/sched_internal.h"

enum {
    SCAN_MAX = 256,    /* works looked at for one batch */
    HIGH_IN_A_ROW = 8, /* takes of high priority while a normal one waits */
    RETRY_AFTER_MAX_S = 60,
    ANSWER_PART = 8, /* this part of a deadline is for what comes after the run: encoding, sending, and the way back */
    BAD_PACE = 4,    /* times what runs take */
};
#define WINDOW_MIN_NS UINT64_C(50000000) /* of the peak of clients */
#define LOAD_MIN 0.5                     /* of a crew: below it, no batch waits for more */
#define MARGIN_MAX 0.8
#define MARGIN_MIN 0.1
#define MARGIN_STEP 0.002
#define MARGIN_CUT 0.9
#define LOWER_EVERY_NS UINT64_C(10000000)

static bool is_batched(const struct sw_flow *flow) {
    return flow->settings.plan.mode == SW_RUN_BATCHED && flow->settings.plan.max_batch > 1;
}

static uint64_t rows_of(const struct sw_work *work) {
    return work->rows ? work->rows : 1;
}

/* ---- lists */

static void append(struct work_list *list, struct sw_work *work) {
    work->next = NULL;
    work->previous = list->tail;
    *(list->tail ? &list->tail->next : &list->head) = work;
    list->tail = work;
    list->count++;
}

static void take_out(struct queue *queue, struct sw_work *work) {
    struct work_list *list = work->task ? &queue->tasks[work->priority] : &queue->runs[work->priority];
    *(work->previous ? &work->previous->next : &list->head) = work->next;
    *(work->next ? &work->next->previous : &list->tail) = work->previous;
    work->previous = work->next = NULL;
    list->count--;
    queue->waiting--;
    queue->waiting_rows -= work->task ? 0 : rows_of(work);
}

static size_t waiting_runs(const struct queue *queue) {
    return queue->runs[SW_PRIORITY_HIGH].count + queue->runs[SW_PRIORITY_NORMAL].count;
}

static size_t waiting_tasks(const struct queue *queue) {
    return queue->tasks[SW_PRIORITY_HIGH].count + queue->tasks[SW_PRIORITY_NORMAL].count;
}

uint64_t queue_oldest_ns(const struct queue *queue) {
    uint64_t oldest = UINT64_MAX;
    for (size_t i = 0; i < SW_PRIORITIES; i++) {
        const struct sw_work *heads[] = {queue->tasks[i].head, queue->runs[i].head};
        for (size_t k = 0; k < SW_COUNTOF(heads); k++) {
            oldest = heads[k] && heads[k]->queued_ns < oldest ? heads[k]->queued_ns : oldest;
        }
    }
    return oldest == UINT64_MAX ? 0 : oldest;
}

/* ---- life */

void flow_init(struct sw_flow *flow, struct core *core, const struct sw_flow_settings *settings, void *owner) {
    *flow = (struct sw_flow){.core = core, .owner = owner, .margin = MARGIN_MAX};
    for (size_t i = 0; i < CREWS; i++) {
        flow->queues[i].flow = flow;
        flow->queues[i].index = SIZE_MAX;
        flow->queues[i].give_up_ns = UINT64_MAX;
    }
    flow_set(flow, settings);
}

void flow_set(struct sw_flow *flow, const struct sw_flow_settings *settings) {
    SW_ASSERT(settings->weight > 0 && settings->queue_max > 0 && settings->preferred_count <= SW_PREFERRED_MAX);
    flow->settings = *settings;
    for (size_t i = 0; i < CREWS; i++) {
        flow->queues[i].pace_ns = flow->queues[i].taken_ns = 0;
    }
}

uint64_t flow_run_ns(const struct sw_flow *flow, uint64_t units) {
    return sw_profile_ns(&flow->settings.profile, units);
}

enum crew flow_crew(const struct sw_flow *flow, const struct sw_work *work) {
    uint64_t ns = work->task ? work->expected_ns : flow_run_ns(flow, work->units);
    return ns > flow->core->slow_ns ? CREW_LONG : CREW_SHORT;
}

static unsigned most_running(const struct sw_flow *flow) {
    return flow->settings.concurrency ? flow->settings.concurrency : UINT32_MAX;
}

/* ---- admission */

/* Of a batch as it is under load. */
static uint64_t typical_run_ns(const struct sw_flow *flow) {
    return flow_run_ns(flow, is_batched(flow) ? flow->settings.plan.enough : 1);
}

/* As runs take. */
static uint64_t ideal_pace_ns(const struct sw_flow *flow) {
    uint64_t rows = is_batched(flow) ? flow->settings.plan.enough : 1;
    unsigned slots = most_running(flow) < flow->core->workers ? most_running(flow) : flow->core->workers;
    return typical_run_ns(flow) / rows / slots;
}

/* Of one more work: as the queue has moved, else as runs take. */
static uint64_t expected_wait_ns(const struct queue *queue) {
    return (queue->pace_ns ? queue->pace_ns : ideal_pace_ns(queue->flow)) * queue->waiting;
}

static sw_status refuse(struct queue *queue, enum sw_drop drop, struct sw_refusal *ret) {
    uint64_t s = (expected_wait_ns(queue) + 999999999) / 1000000000;
    queue->flow->dropped[drop]++;
    ret->drop = drop;
    ret->retry_after_s = s < 1 ? 1 : s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : (unsigned)s;
    return drop == SW_DROP_DEADLINE ? SW_E_DEADLINE_EXCEEDED : SW_E_TOO_MANY_REQUESTS;
}

sw_status flow_admit(struct sw_flow *flow, enum crew crew, uint64_t deadline_ns, uint64_t now, struct sw_refusal *ret,
                     struct sw_error *err) {
    const struct sw_flow_settings *s = &flow->settings;
    struct queue *queue = &flow->queues[crew];
    size_t waiting = flow->queues[CREW_SHORT].waiting + flow->queues[CREW_LONG].waiting;
    if (deadline_ns && deadline_ns <= now) {
        return sw_fail(err, refuse(queue, SW_DROP_DEADLINE, ret), "the deadline passed before the model could run");
    }
    if (waiting >= s->queue_max) {
        return sw_fail(err, refuse(queue, SW_DROP_FULL, ret), "%zu inferences of this model wait already", waiting);
    }
    uint64_t wait = expected_wait_ns(queue);
    if (s->wait_ns_max && wait > s->wait_ns_max) {
        return sw_fail(err, refuse(queue, SW_DROP_WAIT, ret),
                       "%zu inferences of this model wait already: about %llu ms", waiting,
                       (unsigned long long)(wait / 1000000));
    }
    uint64_t whole = wait + (queue->waiting ? typical_run_ns(flow) : 0); /* who finds nobody waiting may try */
    if (deadline_ns && (double)whole > flow->margin * (double)(deadline_ns - now)) {
        return sw_fail(err, refuse(queue, SW_DROP_WAIT, ret),
                       "%zu inferences of this model wait already: about %llu ms, too long for a deadline in %llu ms",
                       waiting, (unsigned long long)(wait / 1000000),
                       (unsigned long long)((deadline_ns - now) / 1000000));
    }
    return SW_OK;
}

void flow_came_late(struct sw_flow *flow, uint64_t now) {
    if (now - flow->lowered_ns >= LOWER_EVERY_NS) {
        flow->lowered_ns = now;
        flow->margin = flow->margin * MARGIN_CUT > MARGIN_MIN ? flow->margin * MARGIN_CUT : MARGIN_MIN;
    }
}

static void raise_margin(struct sw_flow *flow) {
    flow->margin = flow->margin + MARGIN_STEP < MARGIN_MAX ? flow->margin + MARGIN_STEP : MARGIN_MAX;
}

size_t queue_expire(struct queue *queue, uint64_t now, struct sw_work **ret, size_t room) {
    struct work_list *lists[] = {&queue->tasks[0], &queue->tasks[1], &queue->runs[0], &queue->runs[1]};
    size_t count = 0;
    uint64_t earliest = UINT64_MAX;
    for (size_t i = 0; i < SW_COUNTOF(lists); i++) {
        for (struct sw_work *work = lists[i]->head, *next; work; work = next) {
            next = work->next;
            if (work->give_up_ns > now || count == room) {
                earliest = work->give_up_ns < earliest ? work->give_up_ns : earliest;
                continue;
            }
            take_out(queue, work);
            queue->taken_ns = queue->waiting ? queue->taken_ns : 0;
            work->queue_ns += now - work->queued_ns;
            work->drop = work->give_up_for;
            queue->flow->dropped[work->drop]++;
            flow_came_late(queue->flow, now);
            ret[count++] = work;
        }
    }
    queue->give_up_ns = earliest;
    return count;
}

/* ---- arrivals */

static size_t works_here(const struct queue *queue) {
    return queue->waiting + queue->running_works;
}

/* The window is long enough to see each client once: a few of the longest batches. */
static void note_clients(struct queue *queue, uint64_t now) {
    struct peak *peak = &queue->clients;
    uint64_t window = 4 * flow_run_ns(queue->flow, queue->flow->settings.plan.max_batch);
    window = window > WINDOW_MIN_NS ? window : WINDOW_MIN_NS;
    if (now - peak->since_ns >= window) {
        peak->before = now - peak->since_ns < 2 * window ? peak->now : 0;
        peak->now = 0;
        peak->since_ns = now;
    }
    size_t here = works_here(queue);
    peak->now = here > peak->now ? here : peak->now;
}

static size_t clients_of(const struct queue *queue) {
    return queue->clients.now > queue->clients.before ? queue->clients.now : queue->clients.before;
}

/* A client whose request runs cannot come, which is no gap: counted from the end of the last take. A silence longer than
 * any delay says no more than that, so that a burst is recognised after a few arrivals. */
static void note_gap(struct queue *queue, uint64_t now) {
    uint64_t since = queue->last_ns > queue->freed_ns ? queue->last_ns : queue->freed_ns;
    uint64_t gap = now > since ? now - since : 0, most = 2 * queue->flow->settings.max_delay_ns;
    gap = gap < most ? gap : most;
    queue->gap_ns = queue->last_ns ? queue->gap_ns - queue->gap_ns / 4 + gap / 4 : gap;
    queue->last_ns = now;
}

static uint64_t due_ns(const struct sw_work *work, uint64_t now) {
    uint64_t deadline = work->deadline_ns;
    return !deadline ? UINT64_MAX : deadline > now ? deadline - (deadline - now) / ANSWER_PART : deadline;
}

/* In a crowd a work has to begin so early that it can end in time: a run that comes too late only takes from others. Half
 * of its time is always left to it, should the expected time be wrong. */
static uint64_t latest_start(const struct queue *queue, const struct sw_work *work, uint64_t now) {
    if (work->deadline_ns <= now || queue->waiting == 0) {
        return work->deadline_ns;
    }
    uint64_t run = typical_run_ns(queue->flow), half = (work->due_ns - now) / 2;
    return work->due_ns - (run < half ? run : half);
}

static void set_give_up(const struct queue *queue, struct sw_work *work, uint64_t now) {
    /* What it did meanwhile, on a worker or elsewhere, was no waiting. */
    const uint64_t most = queue->flow->settings.wait_ns_max, left = most > work->queue_ns ? most - work->queue_ns : 0;
    work->give_up_ns = most ? now + left : UINT64_MAX;
    work->give_up_for = SW_DROP_WAIT;
    uint64_t latest = work->deadline_ns ? latest_start(queue, work, now) : UINT64_MAX;
    if (latest < work->give_up_ns) {
        work->give_up_ns = latest;
        work->give_up_for = SW_DROP_DEADLINE;
    }
}

void queue_push(struct queue *queue, struct sw_work *work, uint64_t now) {
    if (!work->returning) {
        work->queue_ns = 0;
        work->drop = SW_DROP_NONE;
    }
    work->due_ns = due_ns(work, now);
    set_give_up(queue, work, now);
    work->queued_ns = now;
    if (!work->task) {
        queue->first_ns = waiting_runs(queue) ? queue->first_ns : now;
        queue->waiting_rows += rows_of(work);
        note_gap(queue, now);
    }
    append(work->task ? &queue->tasks[work->priority] : &queue->runs[work->priority], work);
    queue->waiting++;
    queue->give_up_ns = work->give_up_ns < queue->give_up_ns ? work->give_up_ns : queue->give_up_ns;
    note_clients(queue, now);
}

/* ---- what next */

/* The oldest of high priority, but now and then a normal one. */
static struct sw_work *first_of(const struct queue *queue, const struct work_list lists[SW_PRIORITIES]) {
    struct sw_work *high = lists[SW_PRIORITY_HIGH].head, *normal = lists[SW_PRIORITY_NORMAL].head;
    return !high || (normal && queue->passed_over >= HIGH_IN_A_ROW) ? normal : high;
}

/* A batch that is not enough yet grows first, by tasks that came before it had waited for long; else by age. NULL: as
 * many runs as may are under way. */
static struct sw_work *next_work(const struct queue *queue) {
    struct sw_work *task = first_of(queue, queue->tasks);
    struct sw_work *run = queue->flow->running < most_running(queue->flow) ? first_of(queue, queue->runs) : NULL;
    if (!task || !run) {
        return task ? task : run;
    }
    const struct sw_flow_settings *s = &queue->flow->settings;
    if (is_batched(queue->flow)) {
        bool grows = queue->waiting_rows < s->plan.enough && task->queued_ns <= run->queued_ns + s->max_delay_ns;
        return grows ? task : run;
    }
    return task->queued_ns < run->queued_ns ? task : run;
}

/* ---- when */

/* Expected time of a run of that many rows like the one that is first. */
static uint64_t rows_ns(const struct queue *queue, uint64_t rows) {
    const struct sw_work *first = first_of(queue, queue->runs);
    uint64_t units = first ? first->units / rows_of(first) : 1;
    return flow_run_ns(queue->flow, rows * (units ? units : 1));
}

/* Until when a batch waits for more; 0: it does not. */
static uint64_t hold_until(const struct queue *queue, unsigned free) {
    const struct sw_flow_settings *s = &queue->flow->settings;
    uint64_t rows = queue->waiting_rows;
    uint64_t wanted = s->preferred_count ? s->preferred[s->preferred_count - 1] : s->plan.enough;
    size_t runs = waiting_runs(queue), here = works_here(queue), clients = clients_of(queue);
    const enum crew crew = queue == &queue->flow->queues[CREW_SHORT] ? CREW_SHORT : CREW_LONG;
    bool loaded = queue->flow->core->crews[crew].load >= LOAD_MIN;
    if (!is_batched(queue->flow) || !s->max_delay_ns || !loaded || rows >= wanted || clients <= here) {
        return 0;
    }
    size_t others = clients - here;
    if (runs + others < 2 * (size_t)free) {
        return 0; /* there is a worker for each */
    }
    uint64_t more = others * (rows / runs);
    more = more < wanted - rows ? more : wanted - rows;
    uint64_t apart = rows_ns(queue, rows) + rows_ns(queue, more ? more : 1);
    uint64_t together = rows_ns(queue, rows + more);
    uint64_t saved = apart > together ? apart - together : 0;
    uint64_t budget = saved < s->max_delay_ns ? saved : s->max_delay_ns;
    if (queue->gap_ns > budget) {
        return 0; /* nobody is expected in time */
    }
    uint64_t until = queue->first_ns + budget, patience = queue->last_ns + 4 * queue->gap_ns + budget / 4;
    return until < patience ? until : patience;
}

uint64_t queue_ready_at(const struct queue *queue, uint64_t now, unsigned free) {
    unsigned most = most_running(queue->flow), running = queue->flow->running;
    if (waiting_tasks(queue)) {
        return now;
    }
    if (waiting_runs(queue) == 0 || running >= most) {
        return UINT64_MAX;
    }
    uint64_t until = hold_until(queue, free < most - running ? free : most - running);
    return until > now ? until : now;
}

/* ---- taking */

/* Rows for one worker of `free`: all that wait up to the largest batch; cut to a preferred size; and where others are
 * free, a fair part of them, when that is done a good deal sooner. */
static uint64_t batch_rows(const struct queue *queue, unsigned free) {
    const struct sw_flow_settings *s = &queue->flow->settings;
    uint64_t rows = queue->waiting_rows < s->plan.max_batch ? queue->waiting_rows : s->plan.max_batch;
    uint64_t preferred = 0;
    for (size_t i = 0; i < s->preferred_count && s->preferred[i] <= rows; i++) {
        preferred = s->preferred[i];
    }
    if (preferred) {
        return preferred;
    }
    uint64_t part = (queue->waiting_rows + free - 1) / free;
    bool sooner = free > 1 && part < rows && 4 * rows_ns(queue, part) <= 3 * rows_ns(queue, rows);
    return sooner ? part : rows;
}

static void give(struct queue *queue, struct sw_work *work, uint64_t now, struct take *take) {
    take_out(queue, work);
    work->queue_ns += now - work->queued_ns;
    take->works[take->count++] = work;
}

/* Joins what fits to the first, in order, high priority before normal. */
static void fill_batch(struct queue *queue, uint64_t rows_max, uint64_t now, struct take *take) {
    const struct sw_work *first = take->works[0];
    uint64_t rows = first->rows, bytes = first->bytes;
    size_t looked_at = 0;
    for (size_t i = 0; i < SW_PRIORITIES; i++) {
        for (struct sw_work *work = queue->runs[i].head, *next; work && rows < rows_max; work = next) {
            next = work->next;
            if (looked_at++ == SCAN_MAX || take->count == SW_BATCH_REQUESTS_MAX) {
                return;
            }
            if (work->rows && work->rows <= rows_max - rows && work->bytes <= SW_BATCH_BYTES_MAX - bytes &&
                sw_batch_joins(first, work)) {
                rows += work->rows;
                bytes += work->bytes;
                give(queue, work, now, take);
            }
        }
    }
}

static void note_pace(struct queue *queue, size_t waited, size_t taken, uint64_t now) {
    if (queue->taken_ns) {
        uint64_t sample = (now - queue->taken_ns) / taken;
        queue->pace_ns = queue->pace_ns ? queue->pace_ns - queue->pace_ns / 8 + sample / 8 : sample;
    }
    queue->taken_ns = waited > taken ? now : 0; /* a queue that ran empty moves no faster than its clients */
    /* A pace that keeps everybody out who would find another waiting would never be measured again: so it fades. */
    if (waited <= taken && queue->pace_ns > BAD_PACE * ideal_pace_ns(queue->flow)) {
        queue->pace_ns -= queue->pace_ns / 8;
    }
}

void queue_take(struct queue *queue, uint64_t now, unsigned free, struct take *ret) {
    struct sw_work *first = next_work(queue);
    const unsigned most = most_running(queue->flow), running = queue->flow->running;
    const size_t waited = queue->waiting;
    SW_ASSERT(first);
    free = free < most - running ? free : most - running;
    bool joins = !first->task && first->rows && !first->alone && is_batched(queue->flow);
    uint64_t rows = joins ? batch_rows(queue, free ? free : 1) : 0, units = 0;
    bool normal_waits = queue->runs[SW_PRIORITY_NORMAL].head || queue->tasks[SW_PRIORITY_NORMAL].head;
    queue->passed_over = first->priority == SW_PRIORITY_HIGH && normal_waits ? queue->passed_over + 1 : 0;
    ret->queue = queue;
    ret->is_task = first->task != NULL;
    ret->count = 0;
    give(queue, first, now, ret);
    if (first->rows < rows && first->bytes <= SW_BATCH_BYTES_MAX) {
        fill_batch(queue, rows, now, ret);
    }
    ret->due_ns = UINT64_MAX;
    for (size_t i = 0; i < ret->count; i++) {
        const struct sw_work *work = ret->works[i];
        units += work->units;
        ret->due_ns = work->due_ns < ret->due_ns ? work->due_ns : ret->due_ns;
    }
    ret->expected_ns = ret->is_task ? first->expected_ns : flow_run_ns(queue->flow, units);
    note_pace(queue, waited, ret->count, now);
    raise_margin(queue->flow);
}
