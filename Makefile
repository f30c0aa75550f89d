# What a developer types. CI runs .ci/run, which uses the same targets.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME   ?= 60s
BENCHTIME  ?= 1s
# Modules of their own, away from the main one: generators and the like.
NESTED      = $(patsubst ./%/go.mod,%,$(shell find . -mindepth 2 -name go.mod -not -path './.git/*'))

# The CUDA toolkit, and where a machine without one keeps the parts of it that a GPU build needs.
CUDA_HOME  ?= /usr/local/cuda
CUDA_WHEELS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gojet/cuda
GPU_TESTS  ?= .
GPU_ENV     = CGO_ENABLED=1 CUDA_HOME="$(CUDA_HOME)" CGO_CPPFLAGS="-I$(CURDIR)/dev/cuda/include -I$(CUDA_HOME)/include" CGO_LDFLAGS="-L$(CURDIR)/bin/cuda"

.PHONY: build test race lint portable nested fuzz bench generate gpu gpu-link gpu-env gpu-wheels gpu-wheels-home test-gpu vet-gpu vet-emulate test-emulate

build:
	go build -o bin/gojet ./cmd/gojet

test:
	go test ./...

race: # the detector needs cgo; gojet does not
	CGO_ENABLED=1 go test -race ./...

lint:
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "not gofmt-clean:"; echo "$$files"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

# The pure-Go fallback, and what differs between systems, must build elsewhere too.
portable:
	CGO_ENABLED=0 GOARCH=arm64 go vet ./...
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 go build ./...
	CGO_ENABLED=0 GOOS=windows go build ./...

# Their tests prove that checked-in generated files are what the generators write.
nested:
	@set -e; for dir in $(NESTED); do echo "$$dir"; (cd $$dir && go vet ./... && go test ./...); done

# Every fuzz target of every package, FUZZTIME each.
fuzz: # each package with targets is built once
	@set -e; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u); do \
		go test -c -fuzz . -o "$$work/test" $$dir; \
		found="$$(go env GOCACHE)/fuzz/$$(go list $$dir)"; \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$dir/*_test.go); do \
			echo "$$dir $$target"; \
			(cd $$dir && "$$work/test" -test.run '^$$' -test.fuzz "^$$target\$$" -test.fuzztime $(FUZZTIME) -test.fuzzminimizetime 10x -test.fuzzcachedir "$$found"); \
		done; \
	done

bench:
	go test -run '^$$' -bench . -benchtime $(BENCHTIME) ./...

# The assembly under kernels, from the programs in kernels/asm.
generate:
	@set -e; cd kernels/asm; for prog in $$(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./...); do \
		echo "$$prog"; go run $$prog; \
	done

# With CUDA, for the GPU of this machine or another's: the binary finds the driver and the toolkit's libraries when it opens a
# device, and runs on the CPU without them.
gpu: gpu-link
	$(GPU_ENV) go build -tags gpu -o bin/gojet ./cmd/gojet

gpu-link: # stand-ins for CUDA's libraries, see dev/cuda
	@go run ./dev/cuda -include "$(CUDA_HOME)/include" -out bin/cuda

gpu-env: gpu-link # for go build, go test, go vet with -tags gpu: eval "$$(make -s gpu-env)"
	@printf 'export %s\n' '$(GPU_ENV)'

# The same where there is no toolkit, with the parts of it that PyPI has; the compiler among them compiles every kernel, GPU or none.
gpu-wheels:
	dev/cuda/wheels "$(CUDA_WHEELS)"
	$(MAKE) --no-print-directory gpu CUDA_HOME="$(CUDA_WHEELS)"

gpu-wheels-home:
	@echo "$(CUDA_WHEELS)"

# Every operation on the GPU against its reference; without a GPU, every kernel is compiled for those that gojet serves.
test-gpu: gpu-link
	$(GPU_ENV) go test -tags gpu -run '$(GPU_TESTS)' ./kernels/... ./autograd/...

# The same kernel text on the host, thread by thread: needs a C++ compiler and no GPU.
test-emulate:
	CGO_ENABLED=1 go test -tags emulate -run '$(GPU_TESTS)' ./kernels/... ./autograd/...

vet-gpu: gpu-link
	$(GPU_ENV) go vet -tags gpu ./...

vet-emulate:
	CGO_ENABLED=1 go vet -tags emulate ./...
