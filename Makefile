# SPDX-License-Identifier: Apache-2.0
# Weft. `make demo` and `make check` do everything, on a fresh Debian or Ubuntu too.

VERSION  := 0.1.0
BUILD    ?= build
PREFIX   ?= /usr/local
DESTDIR  ?=
CC       ?= cc
OPT      ?= -O2 -g
SAN      ?=
WARN     := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes -Wvla -Werror
CPPFLAGS += -D_GNU_SOURCE -DWEFT_VERSION='"$(VERSION)"' -DWEFT_PREFIX='"$(PREFIX)"'
CSTD     := -std=c11
THREADS  := -fopenmp
V        ?= 0
ifeq ($(V),0)
Q := @
endif
INC_CT   := -Iir -Icompiler -Ipasses -Ibackends
INC_RT   := -Iruntime -Iruntime/app
LIBS_CT  := -lyaml -ljansson -lxxhash -lflint -lm
LIBS_RT  := -lsodium -lxxhash -ljansson -lpng -ljpeg -lm
FLINT    := -isystem /usr/include/flint

CT_SRC   := $(sort $(wildcard ir/*.c ir/base/*.c passes/*.c backends/*/*.c compiler/*.c))
RT_SRC   := $(sort $(wildcard runtime/*/*.c runtime/*/x86/*.c))
CT_OBJ   := $(CT_SRC:%.c=$(BUILD)/obj/%.o)
RT_OBJ   := $(RT_SRC:%.c=$(BUILD)/obj/%.o)
CT_LIB   := $(filter-out %/compiler/main.o,$(CT_OBJ))
TEST_SRC := $(sort $(wildcard tests/unit/*.c tests/property/*.c tests/kernels/*.c))
SUPPORT  := $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard tests/support/*.c)))
TESTS    := $(TEST_SRC:tests/%.c=$(BUILD)/tests/%)
BENCH_SRC := $(filter-out tests/bench/bench_kernels.c,$(sort $(wildcard tests/bench/*.c)))
BENCH_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(BENCH_SRC) tests/support/rt_kit.c)
BOOTS     := bootstrap_b15 bootstrap_b16
BOOT_OBJ  := $(foreach b,$(BOOTS),$(BUILD)/bench/$b/model.o $(BUILD)/bench/$b/interface.o)

.PHONY: all build packages demo check check-sft test bench bench-cost golden golden-update sanitize fuzz fuzzers format install clean
.SECONDARY:

all: build
build: $(BUILD)/weft $(BUILD)/libweft_rt.a

packages:
	@.ci/packages.sh

# ---- objects: instruction sets by file name, never globally -----------------------------------------
$(BUILD)/obj/%_avx2.o: ISA := -mavx2 -mfma
$(BUILD)/obj/%_avx512.o: ISA := -mavx512f -mavx512dq -mavx512vl -mavx512ifma
$(BUILD)/obj/runtime/%.o: SPEED := -O3 -fno-math-errno
$(BUILD)/obj/backends/sim/%.o: SPEED := -O3 -fno-math-errno
$(BUILD)/obj/tests/bench/%.o: SPEED := -O3
$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo '  cc   $<'
	$(Q)$(CC) $(CSTD) $(OPT) $(SPEED) $(ISA) $(SAN) $(WARN) $(THREADS) $(CPPFLAGS) $(INC_CT) $(INC_RT) -Itests/support $(FLINT) -MMD -MP -c $< -o $@

$(BUILD)/weft: $(CT_OBJ)
	@echo '  link $@'
	$(Q)$(CC) $(OPT) $(SAN) $(THREADS) $^ $(LIBS_CT) -o $@

# The library's objects keep their internal names only inside: every global that does not begin with rt_
# gets the prefix rt_i_. Members are named folder__file.o, so that a reader of nm sees whose they are.
$(BUILD)/libweft_rt.a: $(RT_OBJ)
	@rm -rf $(BUILD)/rt $@ && mkdir -p $(BUILD)/rt
	@nm -g --defined-only $(RT_OBJ) | awk 'NF==3 && $$3 !~ /^rt_/ {print $$3, "rt_i_" $$3}' | sort -u >$(BUILD)/rt/rename
	@for o in $(RT_OBJ:$(BUILD)/obj/runtime/%=%); do \
	    objcopy --redefine-syms=$(BUILD)/rt/rename $(BUILD)/obj/runtime/$$o $(BUILD)/rt/$$(echo $$o | sed 's,/,__,g') || exit 1; done
	@echo '  ar   $@'
	$(Q)ar rcs $@ $(BUILD)/rt/*.o

# ---- tests -------------------------------------------------------------------------------------------
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(SUPPORT) $(CT_LIB) $(RT_OBJ)
	@mkdir -p $(@D)
	@echo '  link $@'
	$(Q)$(CC) $(OPT) $(SAN) $(THREADS) $^ -lcriterion $(LIBS_CT) $(LIBS_RT) -lgmp -o $@

# Programs that the compiler makes, several in one executable
$(BUILD)/bench/%/model.c $(BUILD)/bench/%/interface.c $(BUILD)/bench/%/model.dat: tests/bench/%.ir $(BUILD)/weft
	@rm -rf $(@D) && mkdir -p $(BUILD)/bench
	@echo '  weft $<'
	$(Q)$(BUILD)/weft build $< --emit=c --quiet -o $(@D)
# whose calls tests/bench/boot_count.c counts
BOOT_OPS  := decompose key_mul key_mul_add conj_mul mod_down rescale mul pmac encapsulate mod_raise raised_mul transform
$(BOOT_OBJ): $(BUILD)/bench/%.o: $(BUILD)/bench/%.c
	$(Q)$(CC) $(CSTD) $(OPT) $(WARN) -Iruntime $(foreach o,$(BOOT_OPS),-Drt_$o=boot_$o) -Dweft_program=$(notdir $(@D))_program -Dweft_interface=$(notdir $(@D))_interface -c $< -o $@
$(BUILD)/obj/tests/bench/boots.o: CPPFLAGS += -DBENCH_BOOTS='"$(BUILD)/bench"'

$(BUILD)/bench/bench: $(BENCH_OBJ) $(BOOT_OBJ) $(RT_OBJ)
	@mkdir -p $(@D)
	@echo '  link $@'
	$(Q)$(CC) $(OPT) $(SAN) $(THREADS) $^ $(LIBS_RT) -o $@

$(BUILD)/bench/bench_kernels: $(BUILD)/obj/tests/bench/bench_kernels.o $(RT_OBJ)
	@mkdir -p $(@D)
	$(Q)$(CC) $(OPT) $(SAN) $(THREADS) $^ $(LIBS_RT) -o $@

tests: $(TESTS) $(BUILD)/bench/bench

# The training example needs Debian's python3: its YAML reader for `make check`, torch for `make check-sft`.
PYTHON ?= /usr/bin/python3
check:
	@.ci/packages.sh python3-yaml
	@$(MAKE) --no-print-directory -j$$(nproc) build tests >$(BUILD).log 2>&1 || { cat $(BUILD).log; rm -f $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log
	@PYTHON='$(PYTHON)' tests/run.sh $(BUILD)

check-sft:
	@.ci/packages.sh python3-yaml python3-numpy python3-pil python3-torch
	@$(MAKE) --no-print-directory -j$$(nproc) build
	@$(PYTHON) -B examples/sft/test_plain.py $(BUILD)/weft
	@$(PYTHON) -B examples/sft/test_training.py $(BUILD)/weft

# Only the tests whose name matches: make test T=unit/test_layout
test: build tests
	@tests/run.sh $(BUILD) '$(T)'

golden: build
	@tests/golden/run.sh $(BUILD)
golden-update: build
	@tests/golden/run.sh $(BUILD) --update

# make bench BENCH='--filter=key_switch --quick': $(BUILD)/bench/bench --help says more
BENCH ?=
bench: packages
	@$(MAKE) --no-print-directory -j$$(nproc) $(BUILD)/bench/bench
	@$(BUILD)/bench/bench --json=$(BUILD)/bench.json $(BENCH)

# Measures the cost model's figures on this machine and rewrites them; then `make golden-update`
bench-cost: packages
	@$(MAKE) --no-print-directory -j$$(nproc) $(BUILD)/bench/bench
	@$(BUILD)/bench/bench --filter='^$$' --cost=passes/cost.def

# The same tests under AddressSanitizer and UndefinedBehaviorSanitizer
sanitize: packages
	@$(MAKE) --no-print-directory -j$$(nproc) BUILD=build/sanitize SAN='-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer' build tests
	@WEFT_EXTRA_CFLAGS='-fsanitize=address,undefined -fno-sanitize-recover=all' UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_leaks=0 tests/run.sh build/sanitize

# Coverage-guided fuzzing of every reader, FUZZ_SECONDS each (needs clang)
FUZZ_SECONDS ?= 20
FUZZ_KIT := $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard tests/fuzz/support/*.c)))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(sort $(wildcard tests/fuzz/*.c)))
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(FUZZ_KIT) $(CT_LIB) $(RT_OBJ)
	@mkdir -p $(@D)
	@echo '  link $@'
	$(Q)$(CC) $(OPT) $(SAN) -fsanitize=fuzzer -Wl,--wrap=file_map $(THREADS) $^ $(LIBS_CT) $(LIBS_RT) -o $@
fuzzers: $(FUZZERS)
fuzz: packages
	@command -v clang >/dev/null || { echo 'fuzz: needs clang; run:  apt-get install clang libomp-dev'; exit 1; }
	@$(MAKE) --no-print-directory -j$$(nproc) BUILD=build/fuzz CC=clang OPT='-O1 -g' \
	    SAN='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer' fuzzers
	@tests/fuzz/run.sh build/fuzz $(FUZZ_SECONDS)

format:
	clang-format -i $$(git ls-files '*.c' '*.h' ':!tests/golden')

# ---- the example ----------------------------------------------------------------------------------------
demo: packages
	@$(MAKE) --no-print-directory -j$$(nproc) build >$(BUILD).log 2>&1 || { cat $(BUILD).log; rm -f $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log
	@examples/demo.sh $(BUILD)

install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include/weft $(DESTDIR)$(PREFIX)/share/doc/weft
	install -m 755 $(BUILD)/weft $(DESTDIR)$(PREFIX)/bin/weft
	install -m 644 $(BUILD)/libweft_rt.a $(DESTDIR)$(PREFIX)/lib/libweft_rt.a
	install -m 644 runtime/rt.h runtime/rt_client.h runtime/rt_clear.h runtime/app/rt_app.h $(DESTDIR)$(PREFIX)/include/weft/
	install -m 644 README.md compiler/MODEL.md $(DESTDIR)$(PREFIX)/share/doc/weft/
	printf 'prefix=%s\nlibdir=$${prefix}/lib\nincludedir=$${prefix}/include/weft\n\nName: weft\nDescription: runtime of programs compiled by Weft\nVersion: %s\nLibs: -L$${libdir} -lweft_rt $(LIBS_RT) -fopenmp\nCflags: -I$${includedir}\n' \
	    '$(PREFIX)' '$(VERSION)' >$(DESTDIR)$(PREFIX)/lib/pkgconfig/weft.pc

clean:
	rm -rf $(BUILD)

-include $(CT_OBJ:.o=.d) $(RT_OBJ:.o=.d) $(TEST_SRC:%.c=$(BUILD)/obj/%.d) $(SUPPORT:.o=.d) $(BENCH_OBJ:.o=.d)
