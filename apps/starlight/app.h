/* Starlight over HTTP: the state of the application in a server, and its handlers' entry points.
 *
 * The detector itself is a model like any other, served by its name; its input step takes the image as one BYTES element
 * and its outputs are those of the output step `starlight` (step.h). The application turns the ways in which people send
 * an image into that element, and the outputs into one answer. Routes: spec/routes.toml, app "starlight".
 *
 * image_url, off by default, has another server's file fetched (http/fetch.h) on a lane of its own: a few threads behind
 * a short queue, so that slow servers hold up nobody but those who asked for them. */
#ifndef APPS_STARLIGHT_APP_H
#define APPS_STARLIGHT_APP_H

#include "http/fetch.h"
#include "observe/metrics.h"

struct sw_starlight_app;

struct sw_starlight_app_options {
    const char *model;             /* name of the detector; copied */
    struct sw_metrics *metrics;    /* borrowed until destroy */
    struct sw_clock *clock;        /* the API's */
    uint64_t image_bytes_max;      /* of one image file; more: 413 */
    bool fetches;                  /* is image_url allowed? */
    struct sw_fetch_options fetch; /* with `fetches`; bytes_max and clock are taken from above */
    unsigned fetch_threads;
    size_t fetch_queue;
};

/* SW_E_INVALID_ARGUMENT: of sw_fetcher_create, or image_url allowed without a host. */
SW_MUST_CHECK sw_status sw_starlight_app_create(const struct sw_starlight_app_options *options,
                                                struct sw_starlight_app **ret, struct sw_error *err);
const char *sw_starlight_app_model(const struct sw_starlight_app *app); /* valid until destroy */
void sw_starlight_app_destroy(struct sw_starlight_app *app);            /* after the server; NULL is allowed */

#endif
