/* Functions that have caused too many faults elsewhere. Included by force into every file (-include); using one does
 * not compile. What to use instead stands behind each. */
#ifndef SW_BASE_BANNED_H
#define SW_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#pragma GCC poison strcpy strcat strncpy strncat  /* sw_buf, sw_arena_strdup */
#pragma GCC poison sprintf vsprintf gets          /* snprintf, sw_buf_printf */
#pragma GCC poison strtok atoi atol atof          /* sw_str_*, sw_parse_* */
#pragma GCC poison asctime ctime gmtime localtime /* gmtime_r */

#endif
