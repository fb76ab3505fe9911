# bulksub: `make help` lists the targets.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.stamped=$(VERSION)
BENCH   ?= .

staticcheck := go tool -modfile=internal/tools/staticcheck.mod staticcheck

.DEFAULT_GOAL := help
.PHONY: help test lint bench build clean cgo postgres

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "The tests use a real PostgreSQL: TEST_DATABASE_URL if set, else one they start from the installed binaries."
	@echo "PGBIN names the directory of those binaries where the search does not find them."

test: lint cgo postgres ## lint, then all tests with the race detector
	go test -race -timeout 14m ./...

lint: ## go vet, gofmt, staticcheck
	go vet ./...
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(staticcheck) ./...

bench: postgres ## all benchmarks; BENCH=regexp chooses
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

build: ## bin/bulksub, static, stamped with VERSION
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/bulksub ./cmd/bulksub

clean: ## remove what build has made
	rm -rf bin

# The race detector links C.
cgo:
	@cc=$$(go env CC); command -v "$${cc%% *}" >/dev/null || { \
	echo "the race detector needs a C compiler and there is no $$cc: install gcc and libc6-dev (macOS: xcode-select --install)"; exit 1; }

postgres:
	@.ci/postgres
