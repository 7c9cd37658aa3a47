/* Filters and orders as MLflow's clients write them: "name LIKE 'dig%' AND tags.team = 'vision'".
 *
 *   filter   condition { AND condition }                         nothing at all: everything
 *   condition  field operator value
 *   field    [attribute.]NAME, or tag.KEY or tags.KEY; the last part plain, in `...` or in "..."
 *   operator = != <> < <= > >= LIKE ILIKE IN "NOT IN"           words in any case
 *   value    'text' or "text" (the quote twice: itself), a number, or for IN ('text', ...)
 *   order    [attribute.]NAME [ASC | DESC]
 *
 * Attributes of models: name. Of versions: name, version_number (also <, > and so on), run_id, source_path. Of orders:
 * name, creation_timestamp, last_updated_timestamp (timestamp for short), and version_number of versions. */
#ifndef SW_API_MLFLOW_FILTER_H
#define SW_API_MLFLOW_FILTER_H

#include "base/arena.h"
#include "registry/registry.h"

enum sw_mlflow_kind { SW_MLFLOW_MODELS, SW_MLFLOW_VERSIONS };

/* Adds the conditions to *search; texts live in the arena. SW_E_INVALID_ARGUMENT says what is wrong and where. */
SW_MUST_CHECK sw_status sw_mlflow_parse_filter(struct sw_str text, enum sw_mlflow_kind kind, struct sw_arena *arena,
                                               struct sw_search *search, struct sw_error *err);
/* Adds one order. */
SW_MUST_CHECK sw_status sw_mlflow_parse_order(struct sw_str text, enum sw_mlflow_kind kind, struct sw_search *search,
                                              struct sw_error *err);

#endif
