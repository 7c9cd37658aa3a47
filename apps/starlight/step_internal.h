/* What the input step leaves for the output step: the decoded images of one request. */
#ifndef APPS_STARLIGHT_STEP_INTERNAL_H
#define APPS_STARLIGHT_STEP_INTERNAL_H

#include "apps/starlight/image.h"

extern const char sw_starlight_images_key; /* of the note */

struct sw_starlight_images {
    size_t count; /* decoded so far */
    struct sw_starlight_seen {
        struct sw_starlight_image image;
        uint64_t bytes; /* of the file */
    } * items;          /* in the arena; deinit when it is reset */
};

#endif
