/* Names of formats and methods, as answers and manifests spell them. */
#include "apps/starlight/text.h"

#include "base/macros.h"

const char *sw_starlight_format_name(enum sw_starlight_format format) {
    static const char *const names[SW_STARLIGHT_FORMATS] = {"png", "jpeg", "gif", "webp", "bmp"};
    SW_ASSERT((unsigned)format < SW_STARLIGHT_FORMATS);
    return names[format];
}

const char *sw_starlight_method_name(enum sw_starlight_method method) {
    static const char *const names[SW_STARLIGHT_METHODS] = {"alpha", "palette", "lsb.rgb", "exif", "raw"};
    SW_ASSERT((unsigned)method < SW_STARLIGHT_METHODS);
    return names[method];
}
