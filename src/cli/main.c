/* The program. Everything is in sw_cli_main, so that the tests can link the rest. */
#include "cli/cli.h"

int main(int argc, char **argv) {
    return sw_cli_main(argc, argv);
}
