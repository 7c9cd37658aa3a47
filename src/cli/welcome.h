/* What a person at a terminal sees when the server is ready: what is served, where, and a request to try. */
#ifndef SW_CLI_WELCOME_H
#define SW_CLI_WELCOME_H

#include <stdio.h>

#include "base/buf.h"
#include "cli/app.h"
#include "cli/loads.h"

void sw_welcome(FILE *file, struct sw_app *app, const struct sw_loads *loads, const char *host, uint64_t start_ms);

/* Appends a curl command line with a request that fits the model's inputs: zeros when they are few, the bytes of a file
 * where the model takes an image, else the address that describes the inputs. `url` is without a slash at its end. */
void sw_welcome_request(const struct sw_model *model, const char *url, struct sw_buf *out);

#endif
