# What a developer types. CI runs .ci/run, which uses the same targets.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME   ?= 60s
BENCHTIME  ?= 1s
# Modules of their own, away from the main one: generators and the like.
NESTED      = $(patsubst ./%/go.mod,%,$(shell find . -mindepth 2 -name go.mod -not -path './.git/*'))

.PHONY: build test race lint portable nested fuzz bench generate

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
fuzz:
	@set -e; for pkg in $$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
		done; \
	done

bench:
	go test -run '^$$' -bench . -benchtime $(BENCHTIME) ./...

# The assembly under kernels, from the programs in kernels/asm.
generate:
	@set -e; cd kernels/asm; for prog in $$(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./...); do \
		echo "$$prog"; go run $$prog; \
	done
