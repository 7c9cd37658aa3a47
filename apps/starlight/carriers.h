/* The character code in front of an EXIF UserComment (Exif 2.32, 4.6.5), for carriers.c and extract.c. */
#ifndef APPS_STARLIGHT_CARRIERS_H
#define APPS_STARLIGHT_CARRIERS_H

#include "apps/starlight/text.h"

enum { SW_STARLIGHT_CODE_SIZE = 8 };

enum sw_starlight_code {
    SW_STARLIGHT_CODE_NONE,      /* the comment begins without one */
    SW_STARLIGHT_CODE_UNDEFINED, /* eight zeros */
    SW_STARLIGHT_CODE_ASCII,
    SW_STARLIGHT_CODE_UNICODE,
    SW_STARLIGHT_CODE_JIS,
};

/* Case and padding (zeros or blanks) are not looked at. */
enum sw_starlight_code sw_starlight_comment_code(struct sw_str comment);
/* What stands behind the code; all of it when there is none. */
struct sw_str sw_starlight_comment_text(struct sw_str comment);

#endif
