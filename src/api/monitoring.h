/* The monitoring API, /monitoring/v1/...: what its files share.
 *
 * Work runs on the lane SW_API_MONITOR: merging a week of points takes milliseconds, and alerts may ask the database.
 * Errors have a shape of their own (SW_ERROR_MONITORING), which the route table says. */
#ifndef SW_API_MONITORING_H
#define SW_API_MONITORING_H

#include "api/mount.h"
#include "api/registry_common.h"

/* On the lane. Sets the answer and returns SW_OK, or fails: then the error is the answer. */
typedef sw_status sw_monitoring_work(struct sw_http_exchange *x, struct sw_monitor *monitor, struct sw_error *err);
/* Without a monitor: 503. Lane full: 429. */
enum sw_http_result sw_monitoring_run(struct sw_http_exchange *x, sw_monitoring_work *work);

#endif
