/* The fake models that the API's tests share. */
#ifndef SW_TESTS_API_MODELS_H
#define SW_TESTS_API_MODELS_H

#define MODEL(inputs, outputs, rest) "{\"inputs\": [" inputs "], \"outputs\": [" outputs "], " rest "}"
#define TENSOR(name, type, shape) "{\"name\": \"" name "\", \"datatype\": \"" type "\", \"shape\": " shape "}"

/* One row of four numbers to their sum. */
#define MODEL_SUM MODEL(TENSOR("x", "FP32", "[\"N\", 4]"), TENSOR("y", "FP32", "[\"N\", 1]"), "\"op\": \"sum\"")
/* Two inputs, one more that may be left out, two outputs. */
#define MODEL_TWO                                                                                                   \
    MODEL(TENSOR("a", "FP32", "[\"N\", 2]") "," TENSOR(                                                             \
              "b", "INT64",                                                                                         \
              "[\"N\", 1]") ","                                                                                     \
                            "{\"name\": \"c\", \"datatype\": \"FP32\", \"shape\": [\"N\", 1], \"optional\": true}", \
          TENSOR("s", "FP32", "[\"N\"]") "," TENSOR("t", "FP64", "[\"N\", 2]"), "\"op\": \"sum\"")
/* Dimension 0 is always 1. */
#define MODEL_FIXED MODEL(TENSOR("x", "FP32", "[1, 3]"), TENSOR("y", "FP32", "[1, 1]"), "\"op\": \"sum\"")
/* No dimension for rows. */
#define MODEL_VECTOR MODEL(TENSOR("x", "FP32", "[3]"), TENSOR("y", "FP32", "[3]"), "\"op\": \"identity\"")
#define MODEL_SCALAR MODEL(TENSOR("x", "FP64", "[]"), TENSOR("y", "FP64", "[]"), "\"op\": \"identity\"")
#define MODEL_TEXT MODEL(TENSOR("text", "BYTES", "[\"N\"]"), TENSOR("same", "BYTES", "[\"N\"]"), "\"op\": \"identity\"")
#define MODEL_HALF MODEL(TENSOR("x", "FP16", "[\"N\", 2]"), TENSOR("y", "FP16", "[\"N\", 2]"), "\"op\": \"identity\"")
#define MODEL_NAN MODEL(TENSOR("x", "FP32", "[\"N\"]"), TENSOR("y", "FP32", "[\"N\"]"), "\"op\": \"nan\"")
#define MODEL_FAIL                                                        \
    MODEL(TENSOR("x", "FP32", "[\"N\"]"), TENSOR("y", "FP32", "[\"N\"]"), \
          "\"op\": \"fail\", \"message\": \"no such operator\"")
/* The first output is never given. */
#define MODEL_ABSENT                                                                                                \
    MODEL(TENSOR("x", "FP32", "[\"N\"]"),                                                                           \
          "{\"name\": \"gone\", \"datatype\": \"FP32\", \"shape\": [\"N\"], \"absent\": true}," TENSOR("y", "FP32", \
                                                                                                       "[\"N\"]"),  \
          "\"op\": \"sum\"")
/* An output that has no row for each row of the input. */
#define MODEL_GLOBAL MODEL(TENSOR("x", "FP32", "[\"N\"]"), TENSOR("y", "FP32", "[5]"), "\"op\": \"rows\"")

#endif
