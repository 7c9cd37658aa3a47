/* A temporary folder with an artifact store in it, on either back end, and what tests do with it again and again. */
#ifndef TESTS_ARTIFACT_PLACE_H
#define TESTS_ARTIFACT_PLACE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "artifact/artifact.h"

struct place {
    char root[64];  /* the temporary folder */
    char store[80]; /* the store's folder in it */
    char prefix[64];
    char url[160]; /* "": file system */
    struct sw_artifacts_options options;
    struct sw_artifacts *artifacts;
};

/* file system; with_s3: the bucket that tests/servers/s3.py names in the environment, under a prefix of its own */
void place_make(struct place *place, bool with_s3);
void place_remove(struct place *place);
void place_reopen(struct place *place); /* as after a restart */

void place_path(const struct place *place, const char *name, char ret_path[256]); /* in the temporary folder */
void write_file(const char *path, const void *data, size_t len);
/* sw_free; asserts that it is there */
char *read_file(const char *path, size_t *ret_len);
bool file_exists(const char *path);
size_t count_files(const char *folder); /* below it, at any depth; 0 when it is not there */
/* len bytes that differ for each seed; sw_free */
char *make_bytes(size_t len, uint64_t seed);
struct sw_digest digest_of(const void *data, size_t len);
/* bytes as a blob, through an upload */
struct sw_blob put_bytes(struct place *place, const void *data, size_t len);
uint64_t now_ms(void);

/* The tests that hold for both back ends: each takes a struct place * as its state. */
extern const struct CMUnitTest suite_tests[];
extern const size_t suite_count;
/* Puts other bytes where the blob is stored (not into a cache); the test program of the back end defines it. */
void tamper_blob(struct place *place, const struct sw_digest *digest, const void *data, size_t len);

#endif
