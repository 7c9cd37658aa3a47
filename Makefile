# Thin front of Meson and of the scripts in tools/ and tests/: `make help` lists the targets.
#
# Variables: PYTHON (3.11 or later), BUILD (build folder of the program), UNIT_BUILD (of the unit tests), BUILDTYPE, PORT and ONCE=1 (make run), FUZZ_SECONDS,
# PYTEST_ARGS, NO_SETUP=1 (trust that everything is installed).

PYTHON ?= /usr/bin/python3
BUILD ?= build
UNIT_BUILD ?= build-unit
BUILDTYPE ?= release
FUZZ_SECONDS ?= 30
PYTEST_ARGS ?=
export PYTHON

SHELL := /bin/bash
.SHELLFLAGS := -e -o pipefail -c
.DEFAULT_GOAL := build
.PHONY: help setup build run test unit scenario interop bench bench-peers docs lint format fuzz fuzz-requests check-asan check-tsan check-fault clean

# Targets begin with their set-up and then call make again, so that the set-up is over, under -j too, before the rest.
AGAIN = @$(MAKE) --no-print-directory NO_SETUP=1
PYTEST = timeout -k 10 1800 $(PYTHON) -m pytest $(PYTEST_ARGS)
comma := ,
SANITIZE = --buildtype=debugoptimized -Db_lundef=false -Db_sanitize
# What the sanitizers are told: stop at the first fault.
ASAN = ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1 \
       UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
TSAN = TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions=$(CURDIR)/tests/tsan.supp

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

# setup-TIER-TIER...: packages of these tiers, and ONNX Runtime.
setup-%:
	@test -n "$(NO_SETUP)" || tools/setup.sh $(subst -, ,$*)

setup: setup-build-test ## install what build and test need (apt packages; ONNX Runtime into third_party/)

# Configures folder $(1) with the options $(2) unless that is done, and builds it.
define meson_build
	@test -f $(1)/build.ninja || meson setup $(1) $(2)
	@ninja -C $(1)
endef

build: setup-build ## build build/slipway
	$(call meson_build,$(BUILD),--buildtype=$(BUILDTYPE) -Db_lto=true -Dtests=false)

run: setup-build ## serve the starter model and show one prediction over HTTP (PORT=8080; ONCE=1: stop after it)
	$(AGAIN) build
	@$(PYTHON) tools/first_prediction.py --binary $(BUILD)/slipway $(if $(PORT),--port $(PORT)) $(if $(ONCE),--once)

test: setup-build-test ## set up, build, run every test
	$(AGAIN) unit
	$(AGAIN) scenario
	@echo "make test: passed: $$(awk '/^Ok:/ {print $$2}' $(UNIT_BUILD)/unit.log) unit test programs;" \
		"Python tests: $$(tail -n 1 $(BUILD)/scenario.log | tr -d '=' | xargs)"

unit: setup-build-test ## unit tests, and the check of include directions
	$(call meson_build,$(UNIT_BUILD),--buildtype=debugoptimized)
	@meson test -C $(UNIT_BUILD) --suite unit --no-rebuild --print-errorlogs | tee $(UNIT_BUILD)/unit.log

scenario: setup-build-test ## tests of the real binary, of golden numbers and of the set-up
	$(AGAIN) build
	@SLIPWAY_BIN=$(abspath $(BUILD))/slipway $(PYTEST) tests/setup tests/golden tests/corpus tests/scenario | tee $(BUILD)/scenario.log

interop: setup-build-test ## tests with clients of others, as far as they are installed (PYTHON=venv/bin/python)
	$(AGAIN) build
	@SLIPWAY_BIN=$(abspath $(BUILD))/slipway $(PYTEST) tests/interop

bench: setup-build-bench ## benchmarks, side by side with nginx and a bare in-process loop: see bench/README.md
	$(AGAIN) build
	@for script in serving batching overload fairness cache footprint isolation swap registry_scale replicas restore starlight; do $(PYTHON) bench/$$script.py; done

bench-peers: setup-bench ## the same requests to other model servers, which pip and npm install below build/peers
	$(AGAIN) build
	@$(PYTHON) bench/peers/setup.py && $(PYTHON) bench/peers/run.py

docs: setup-build ## write the pages of docs/reference from the tables in spec/
	@tools/docs.sh

lint: setup-build-lint ## layout, clang-tidy, shellcheck, pyflakes, stale pages, banned words, includes
	$(call meson_build,$(UNIT_BUILD),--buildtype=debugoptimized)
	@BUILD=$(UNIT_BUILD) tools/lint.sh

format: setup-build-lint ## reformat the C sources
	@tools/lint.sh --format

fuzz: setup-build-lint ## run each fuzz target for FUZZ_SECONDS (30)
	@test -f build-fuzz/build.ninja || \
		CC=clang meson setup build-fuzz -Dfuzz=true -Dtests=false $(SANITIZE)=address$(comma)undefined
	@ninja -C build-fuzz $(patsubst %.c,%,$(wildcard tests/fuzz/fuzz_*.c))
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tools/fuzz.sh build-fuzz

REQUESTS ?= 1000000
fuzz-requests: setup-build-test ## send REQUESTS (1000000) fuzzed requests to a running server, which must stay healthy
	$(AGAIN) build
	@$(PYTHON) tests/fuzz/fuzz_requests.py --requests $(REQUESTS) --binary $(BUILD)/slipway

check-asan: setup-build-test ## unit and scenario tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call meson_build,build-asan,$(SANITIZE)=address$(comma)undefined)
	@$(ASAN) meson test -C build-asan --suite unit --no-rebuild --print-errorlogs --timeout-multiplier 5
	@$(ASAN) TEST_SANITIZER=address SLIPWAY_BIN=$(CURDIR)/build-asan/slipway $(PYTEST) -m "not slow" tests/scenario

check-tsan: setup-build-test ## unit and scenario tests under ThreadSanitizer
	$(call meson_build,build-tsan,$(SANITIZE)=thread)
	@$(TSAN) meson test -C build-tsan --suite unit --no-rebuild --print-errorlogs --timeout-multiplier 5
	@$(TSAN) TEST_SANITIZER=thread SLIPWAY_BIN=$(CURDIR)/build-tsan/slipway $(PYTEST) -m "not slow" tests/scenario

check-fault: setup-build-test ## kill -9 at random moments (KILLS=12), database and object store that go away
	$(AGAIN) build
	@SLIPWAY_BIN=$(abspath $(BUILD))/slipway $(PYTEST) -s tests/fault

clean: ## delete what was built (third_party/ stays)
	rm -rf build build-unit build-asan build-tsan build-fuzz $(BUILD) $(UNIT_BUILD)
