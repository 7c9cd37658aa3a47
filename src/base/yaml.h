/* YAML into a jansson tree, through libyaml.
 *
 * A deliberately small YAML: one document; mappings with string keys (a duplicate key is an error), sequences,
 * scalars of the 1.2 core schema (plain `true`, `12`, `1.5`, `null`; quoted is always a string). Anchors, aliases and
 * tags are refused, which rules out exponential expansion. Depth <= 32, size bounded by the caller. Steps and
 * applications have open-ended parameters, so a generic tree serves better here than a schema-bound loader. */
#ifndef SW_BASE_YAML_H
#define SW_BASE_YAML_H

#include <jansson.h>

#include "base/error.h"
#include "base/str.h"

/* *ret is a new reference. Errors are SW_E_INVALID_ARGUMENT, with line and column. An empty document gives an empty
 * object. */
SW_MUST_CHECK sw_status sw_yaml_parse(struct sw_str text, json_t **ret, struct sw_error *err);

#endif
