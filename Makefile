# cfn - Concepts from Neurons.  `make help` lists the targets.
# Non-recursive; products only under build/.

.DEFAULT_GOAL := all
ifeq ($(origin CC),default)
CC = gcc
endif
ARCH    ?= native
OPT     ?= -O3 -g
WIDE    ?= $(if $(filter native x86-64-v4,$(ARCH)),-mprefer-vector-width=512)
PREFIX  ?= /usr/local
DESTDIR ?=
SAN     ?=
WERROR  ?= 0
FUZZ_SECONDS ?= 20
comma   := ,
# A folder of its own for each instruction set that is asked for, so that none is made of parts of another.
BUILD   ?= build/$(notdir $(CC))$(if $(filter native,$(ARCH)),,-$(ARCH))$(if $(SAN),-$(subst $(comma),-,$(SAN)))

# Commands are shown in short; V=1 shows them whole.
Q    = $(if $(V),,@)
SAY  = $(if $(V),:,echo)

# Off: ABI notes on vectors that are passed by inlined functions only; loops that clang leaves scalar.
WARN = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wformat=2 -Wno-psabi -Wno-pass-failed
ifeq ($(WERROR),1)
WARN += -Werror
endif
SANFLAGS = $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)

# Libraries. scripts/probe answers from pkg-config, then from a trial compile,
# and otherwise names what is missing; each answer can be overridden: make BLIS_LIBS=-L/opt/blis\ -lblis
LIBRARIES = MPI HDF5 BLIS DNNL YAML JPEG PNG TIFF WEBP JANSSON CSV NIFTI SVM LBFGS RANDOM123 XXHASH UTF8PROC ZIP ZLIB CRYPTO
ifneq ($(filter-out help clean deps format lint docs-clean uninstall on-debian12 on-debian13 dist,$(or $(MAKECMDGOALS),all)),)
$(if $(wildcard $(BUILD)),,$(shell mkdir -p $(BUILD)))
-include $(BUILD)/libraries.mk
endif
$(BUILD)/libraries.mk: scripts/probe | deps-build
	@mkdir -p $(@D)
	@CC="$(CC)" scripts/probe $(LIBRARIES) > $@.part && mv $@.part $@

LIB_CFLAGS = $(foreach l,$(LIBRARIES),$($(l)_CFLAGS))
LIB_LIBS   = $(foreach l,$(LIBRARIES),$($(l)_LIBS))

VERSION  := $(shell cat VERSION)
# In a tarball the file REVISION says it.
REVISION := $(shell cat REVISION 2>/dev/null || git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
CFLAGS   ?= $(OPT)
TARGET     = -march=$(ARCH) $(WIDE)
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -Iinclude -Isrc $(WARN) $(TARGET) -fno-math-errno -fopenmp $(CFLAGS) $(SANFLAGS) $(LIB_CFLAGS)
ALL_LIBS   = -fopenmp $(SANFLAGS) $(LDFLAGS) -Wl,--as-needed $(LIB_LIBS) -lm -lpthread

MODULES = base dist config store math report image nn concept job stage cli
SOURCES = $(foreach m,$(MODULES),$(sort $(wildcard src/$(m)/*.c src/$(m)/*/*.c src/$(m)/*/*/*.c src/$(m)/*/*/*/*.c)))
OBJECTS = $(SOURCES:src/%.c=$(BUILD)/%.o)
ARCHIVE = $(BUILD)/libcfn.a

TEST_DIRS    = unit mpi parity
TEST_SOURCES = $(foreach d,$(TEST_DIRS),$(sort $(wildcard tests/$(d)/test_*.c)))
TEST_PROGS   = $(TEST_SOURCES:%.c=$(BUILD)/%)
TOOL_SOURCES = $(sort $(wildcard tests/tools/*.c))
TOOL_PROGS   = $(TOOL_SOURCES:%.c=$(BUILD)/%)
BENCH_SOURCES = $(sort $(wildcard tests/bench/bench_*.c))
BENCH_PROGS   = $(BENCH_SOURCES:%.c=$(BUILD)/%)
FUZZ_SOURCES = $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_PROGS   = $(FUZZ_SOURCES:%.c=$(BUILD)/%)
FUZZ_SHARED  = $(filter-out tests/fuzz/replay.c $(FUZZ_SOURCES),$(sort $(wildcard tests/fuzz/*.c)))
FUZZ_OBJ     = $(FUZZ_SHARED:%.c=$(BUILD)/%.o)
SUPPORT      = $(sort $(wildcard tests/support/*.c))
SUPPORT_OBJ  = $(SUPPORT:%.c=$(BUILD)/%.o)

.PHONY: all fuzz fuzz-build check check-all check-isa check-releases check-build check-demo check-precision check-retention check-sae demo bench bench-peers bench-scale on-debian12 on-debian13 lint tidy format compile_commands docs program man install uninstall dist deb check-deb deps deps-build deps-check deps-demo deps-parity deps-package deps-lint deps-tidy clean help check-parity
all: $(BUILD)/cfn ## build the program (build/<compiler>/cfn)

$(BUILD)/cfn: $(BUILD)/main.o $(ARCHIVE)
	@$(SAY) '  LINK $@'
	$(Q)$(CC) -o $@ $^ $(ALL_LIBS)
# bin/cfn of an installation of variants: it chooses one and becomes it.
$(BUILD)/launcher: $(BUILD)/launcher.o $(BUILD)/base/cpu.o
	@$(SAY) '  LINK $@'
	$(Q)$(CC) -o $@ $^ $(SANFLAGS) $(LDFLAGS)
$(ARCHIVE): $(OBJECTS)
	@rm -f $@
	@ar rcs $@ $^
$(BUILD)/%.o: src/%.c $(BUILD)/libraries.mk
	@mkdir -p $(@D)
	@$(SAY) '  CC   $<'
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
# Multiply and add in one rounding where the inner loops are nothing else.
$(BUILD)/nn/kernel/depthwise.o $(BUILD)/nn/kernel/minimal.o $(BUILD)/nn/kernel/kernels_rows.o $(BUILD)/concept/pursuit/pursuit.o $(BUILD)/concept/pursuit/pursuit_search.o $(BUILD)/math/skinny.o: ALL_CFLAGS += -ffp-contract=fast
# What says that a processor lacks the program's instructions must run on it.
BASELINE := $(if $(filter x86_64-%,$(shell $(CC) -dumpmachine)),-march=x86-64)
$(BUILD)/main.o $(BUILD)/launcher.o $(BUILD)/base/cpu.o: TARGET = $(BASELINE)
$(BUILD)/base/cpu_needed.o: ALL_CFLAGS += -DARCH='"$(ARCH)"'
$(BUILD)/base/version.o: ALL_CFLAGS += -DVERSION='"$(VERSION)"' -DREVISION='"$(REVISION)"' -DFLAGS='"$(OPT) -march=$(ARCH)"'
$(BUILD)/base/version.o: $(BUILD)/revision
$(BUILD)/revision: always
	@mkdir -p $(@D); echo '$(VERSION) $(REVISION)' | cmp -s - $@ || echo '$(VERSION) $(REVISION)' > $@
.PHONY: always

$(BUILD)/tests/%.o: tests/%.c $(BUILD)/libraries.mk | deps-check
	@mkdir -p $(@D)
	@$(SAY) '  CC   $<'
	$(Q)$(CC) $(ALL_CFLAGS) -Itests/support -MMD -MP -c -o $@ $<
$(TEST_PROGS): $(BUILD)/tests/%: $(BUILD)/tests/%.o $(SUPPORT_OBJ) $(ARCHIVE)
	@$(SAY) '  LINK $@'
	$(Q)$(CC) -o $@ $^ $(ALL_LIBS) -lcmocka
$(FUZZ_PROGS): $(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(FUZZ_OBJ) $(BUILD)/tests/fuzz/replay.o $(ARCHIVE)
	@$(SAY) '  LINK $@'
	$(Q)$(CC) -o $@ $^ $(ALL_LIBS)
$(FUZZ_PROGS:=.libfuzzer): %.libfuzzer: %.o $(FUZZ_OBJ) $(ARCHIVE)
	@$(SAY) '  LINK $@'
	$(Q)$(CC) -fsanitize=fuzzer -o $@ $^ $(ALL_LIBS)
$(BENCH_PROGS) $(TOOL_PROGS): $(BUILD)/tests/%: $(BUILD)/tests/%.o $(ARCHIVE)
	@$(SAY) '  LINK $@'
	$(Q)$(CC) -o $@ $^ $(ALL_LIBS)

check-build: all $(BUILD)/launcher $(TEST_PROGS) $(TOOL_PROGS) $(FUZZ_PROGS) ## build program and tests
check: deps-check check-build ## run all tests; ends with "N passed, N failed"
	@CFN="$(abspath $(BUILD))/cfn" BUILD="$(BUILD)" SAN="$(SAN)" scripts/run-tests $(T)
check-isa: deps-check check-build ## what computes, on the instructions of older processors; ISA=AVX2 one of SSE41 AVX2 AVX512_CORE; T=...
	@CFN="$(abspath $(BUILD))/cfn" BUILD="$(BUILD)" SAN="$(SAN)" ISA="$(ISA)" scripts/check-isa $(T)
# One after the other: each wants the machine for itself.
check-releases: deps-demo all ## files and checkpoints of Debian 12 on Debian 13 and the other way (root; see scripts/on-debian)
	@CFN="$(abspath $(BUILD))/cfn" scripts/check-releases
check-all: ## everything, for hours: check, check-isa, fuzz, check-parity, check-demo, check-retention, check-sae, check-precision
	@+export CFN_TEST_LONG=1; for t in check check-isa fuzz check-parity check-demo check-retention check-sae check-precision; do \
	    echo "== $$t"; $(MAKE) --no-print-directory $$t || exit 1; done
# Readers of foreign bytes alone, with libFuzzer's counters; the rest of the program is not built for it.
fuzz: deps-check ## fuzz the readers of foreign bytes: FUZZ_SECONDS=20 each, FUZZ='png torch' some of them
	@+$(MAKE) --no-print-directory CC=clang BUILD=build/fuzz SAN=address,undefined OPT='-O1 -g' \
	    CFLAGS='-O1 -g -fsanitize=fuzzer-no-link' MODULES='base dist config store math image' fuzz-build
	@BUILD=build/fuzz FUZZ_SECONDS="$(FUZZ_SECONDS)" scripts/fuzz $(FUZZ)
fuzz-build: $(FUZZ_PROGS) $(FUZZ_PROGS:=.libfuzzer)
demo: deps-demo all ## the whole pipeline on real images; ends with the path of a page
	@CFN="$(abspath $(BUILD))/cfn" scripts/demo
check-demo: deps-check all ## the full demo at 1, 2 and 4 ranks: same bits, and the figures promised
	@CFN="$(abspath $(BUILD))/cfn" scripts/check-demo
check-retention: deps-check all ## accuracy the concepts keep, beside random directions (minutes); CORPORA='FOLDER ...'
	@CFN="$(abspath $(BUILD))/cfn" scripts/check-retention $(CORPORA)
check-sae: deps-check all ## defaults of the autoencoder: dead neurons, FVU beside relu's (minutes); SAE_CORPORA='FOLDER ...'
	@CFN="$(abspath $(BUILD))/cfn" scripts/check-sae $(SAE_CORPORA)
check-precision: deps-check all ## bf16 against fp32 on the demo corpus, six trials each (15 minutes)
	@CFN="$(abspath $(BUILD))/cfn" scripts/check-precision
bench: all $(BENCH_PROGS) ## throughput of this machine, beside its bounds
	@CFN="$(abspath $(BUILD))/cfn" BUILD="$(BUILD)" scripts/bench
bench-peers: all $(BENCH_PROGS) deps-parity ## beside PyTorch, scikit-learn, ...; PEERS='resnet18 --rounds 2', PEERS=pursuit
	@CFN="$(abspath $(BUILD))/cfn" BUILD="$(abspath $(BUILD))" scripts/bench-peers $(PEERS)
bench-scale: all $(BENCH_PROGS) ## 800 concepts of a million vectors on 4 ranks: seconds, memory, messages; SCALE='N D K'
	@BUILD="$(abspath $(BUILD))" scripts/bench-scale $(SCALE)
on-debian12 on-debian13: ## the tests in a bare Debian 12 or 13 under build/ (root; see scripts/on-debian); T='pattern of tests'
	@scripts/on-debian $(@:on-debian%=%) make -j$$(nproc) $(MAKEOVERRIDES) check
check-parity: deps-parity ## regenerate the fixtures from PyTorch, scikit-learn and Pillow and compare
	@scripts/check-parity
lint: deps-lint ## layers, rooms, foreign headers, allocation, length of functions, formatting
	@scripts/lint
tidy: deps-tidy compile_commands ## clang-tidy over src (minutes), by .clang-tidy; TIDY='src/base/*.c' some files
	@scripts/tidy $(TIDY)
format: ## clang-format in place
	@clang-format -i $$(git ls-files '*.c' '*.h')
compile_commands: ## build/compile_commands.json, for editors and clang-tidy
	@mkdir -p build; { echo '['; for f in $(SOURCES) src/main.c src/launcher.c; do \
	    printf '{"directory":"$(CURDIR)","file":"%s","command":"$(CC) %s -c %s"},\n' $$f '$(subst ",\\",$(subst ',,$(ALL_CFLAGS)))' $$f; done; \
	    } | sed '$$s/,$$/\n]/' > build/compile_commands.json; echo build/compile_commands.json
docs: all ## regenerate docs/reference from the key tables
	@CFN="$(abspath $(BUILD))/cfn" scripts/docs
deps: ## install what is missing, or say what to install
	@scripts/deps
deps-build deps-check deps-demo deps-parity deps-package deps-lint deps-tidy:
	@scripts/deps --quiet $(@:deps-%=%)

# One installation for processors of several kinds: the program for each level of x86-64, side by side.
VARIANT_LEVELS = x86-64-v2 x86-64-v3 x86-64-v4
VARIANTS ?=
VARIANT_ROOT = $(BUILD)-variants
variants: $(BUILD)/launcher $(VARIANT_LEVELS:%=variant-%) ## programs for x86-64-v2, -v3, -v4 and the launcher that chooses one
	@install -D -m 755 $< $(VARIANT_ROOT)/bin/cfn
	@for l in $(VARIANT_LEVELS); do install -D -m 755 $(BUILD)-$$l/cfn $(VARIANT_ROOT)/libexec/cfn/$$l/cfn || exit 1; done
variant-%:
	$(if $(BASELINE),,$(error variants are levels of x86-64, and $(CC) compiles for another architecture))
	+@$(MAKE) --no-print-directory ARCH=$* BUILD=$(BUILD)-$* all
.PHONY: variants

# What `make install` installs, and a program of it that this machine runs.
PROGRAM = $(if $(filter 1,$(VARIANTS)),$(VARIANT_ROOT)/bin/cfn,$(BUILD)/cfn)
DEST    = $(DESTDIR)$(PREFIX)
program: $(if $(filter 1,$(VARIANTS)),variants,all)
MAKE_PAGE = CFN="$(abspath $(PROGRAM))" scripts/man > $(BUILD)/cfn.1.part && mv $(BUILD)/cfn.1.part $(BUILD)/cfn.1
man: program ## manual page, from the program's own tables
	@$(MAKE_PAGE)
	@$(SAY) '  MAN  $(BUILD)/cfn.1'
# A head node may not run what it compiles for the others: then there is no page.
install: program ## PREFIX=/usr/local DESTDIR=; VARIANTS=1: for clusters of several kinds of processors
	rm -rf $(DEST)/libexec/cfn
	install -D -m 755 $(PROGRAM) $(DEST)/bin/cfn
	$(if $(filter 1,$(VARIANTS)),for l in $(VARIANT_LEVELS); do install -D -m 755 $(VARIANT_ROOT)/libexec/cfn/$$l/cfn $(DEST)/libexec/cfn/$$l/cfn || exit 1; done)
	for f in configs/*.yml; do install -D -m 644 $$f $(DEST)/share/cfn/configs/$$(basename $$f) || exit 1; done
	for f in jobs/*; do install -D -m 755 $$f $(DEST)/share/cfn/jobs/$$(basename $$f) || exit 1; done
	for f in README.md CHANGELOG.md CONTRIBUTING.md LICENSE $$(find docs -type f); do install -D -m 644 $$f $(DEST)/share/doc/cfn/$$f || exit 1; done
	if $(PROGRAM) --version > /dev/null; then $(MAKE_PAGE) && install -D -m 644 $(BUILD)/cfn.1 $(DEST)/share/man/man1/cfn.1; \
	    else echo "install: no manual page: this machine does not run the program"; fi
uninstall: ## leaves nothing
	rm -f $(DEST)/bin/cfn $(DEST)/share/man/man1/cfn.1
	rm -rf $(DEST)/libexec/cfn $(DEST)/share/cfn $(DEST)/share/doc/cfn
dist: ## tarball of the last commit; builds without git
	@mkdir -p build/dist && git describe --always --abbrev=12 > build/dist/REVISION
	@git archive --prefix=cfn-$(VERSION)/ --add-file=build/dist/REVISION HEAD | gzip -9n > build/cfn-$(VERSION).tar.gz
	@echo build/cfn-$(VERSION).tar.gz
deb: deps-build deps-package ## package of this Debian release, with variants
	@rm -rf $(BUILD)-deb
	+@$(MAKE) --no-print-directory install VARIANTS=1 PREFIX=/usr DESTDIR=$(BUILD)-deb/root > /dev/null
	@VERSION=$(VERSION) REVISION=$(REVISION) scripts/packaging/deb $(BUILD)-deb
check-deb: deb ## install the package in a bare root of its release, run it, remove it (root; minutes); DEBIAN12_ROOT, DEBIAN13_ROOT
	@scripts/packaging/check-deb $(BUILD)-deb/*.deb
clean: ## remove build/
	rm -rf --one-file-system build
help: ## this list
	@grep -hE '^[a-z0-9 -]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9 -]+):.*## /  \1\t/' | expand -t 16
	@echo "  variables: CC ARCH OPT SAN=address,undefined WERROR=1 V=1 PREFIX DESTDIR VARIANTS=1 T='pattern of tests'"

-include $(OBJECTS:.o=.d) $(BUILD)/main.d $(TEST_PROGS:=.d) $(BENCH_PROGS:=.d) $(TOOL_PROGS:=.d) $(SUPPORT_OBJ:.o=.d) $(FUZZ_PROGS:=.d) $(FUZZ_OBJ:.o=.d)
