# bulksub: `make help` lists the targets.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.stamped=$(VERSION)
BENCH   ?= .

# Within a function's argument a comma would end it.
comma := ,
benchstat := v0.0.0-20260908200009-22c9c6c9d4da

staticcheck := go tool -modfile=internal/tools/staticcheck.mod staticcheck

.DEFAULT_GOAL := help
.PHONY: help test test-faults deploy-test test-prometheus test-kubernetes test-sdk bench-sdk lint bench bench-grow bench-quota bench-compare bench-storage bench-parts build sbom vulncheck clean cgo postgres faults

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "The tests use a real PostgreSQL: TEST_DATABASE_URL if set, else one they start from the installed binaries."
	@echo "PGBIN names the directory of those binaries where the search does not find them."

test: lint cgo postgres faults ## lint, then all tests with the race detector
	go test -race -timeout 30m ./...

# As long as it takes: some two seconds for each seed.
test-faults: postgres faults ## every fault, and storms from N=100 seeds; SEED=7 plays one again
	go test -count=1 -timeout 0 $(if $(SEED),-run TestSeeds) ./internal/faults -seed $(or $(SEED),1) -seeds $(if $(SEED),1,$(or $(N),100))

# Not part of test: it compiles the API server's code, a minute or more for the first time. -count=1: go
# test would not see that a manifest, outside this module, has changed.
deploy-test: ## the manifests of deploy/kubernetes, by the API server's own rules
	cd deploy/validate && go vet . && go test -count=1 .

test-prometheus: postgres ## alert rules, dashboard and Pushgateway, with the real servers
	@.ci/prometheus
	go vet -tags prometheus ./cmd/bulksub
	go test -count=1 -tags prometheus -run 'TestAlertRules|TestDashboardAndPushgateway' ./cmd/bulksub

# The servers are built once, in some five minutes.
test-kubernetes: postgres ## the overlays on a real API server and its controllers, with the real program
	cd deploy/validate && go build -ldflags '-s -w' -o ../../bin/kubernetes/ tool
	go vet -tags kubernetes ./cmd/bulksub
	KUBERNETES_BIN=$(CURDIR)/bin/kubernetes go test -count=1 -tags kubernetes -run TestKubernetes ./cmd/bulksub

# The SDKs come over the network, and stand in modules of their own.
test-sdk: ## Google's Go SDK (4.21, 4.22) and Node SDK, unchanged, against bulksub emulator
	cd internal/sdk/go421 && go vet . && go test -count=1 .
	cd internal/sdk/go422 && go vet . && go test -count=1 .
	go build -o bin/bulksub ./cmd/bulksub
	cd internal/sdk/node && npm ci --ignore-scripts --no-audit --no-fund && BULKSUB=$(CURDIR)/bin/bulksub node --test

bench-sdk: ## bulksub beside firebase-admin-go: calls a second, memory, CPU, some three minutes
	cd internal/sdk/go422 && BENCH=1 go test -count=1 -v -run TestBeside .

lint: ## go vet, gofmt, staticcheck
	go vet ./...
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(staticcheck) ./...

# With the defaults it takes some 25 minutes. The SDK comes over the network, and stands in a module of its own.
bench: postgres ## tokens a second, beside Google's Go SDK and the floor; ROWS=100000 RUNS=1 is short
	cd internal/bench && go vet ./... && go run . -rows $(or $(ROWS),1000000) -runs $(or $(RUNS),5)

bench-grow: postgres ## what more tokens cost: time, memory, bytes, the first call; SIZES=1000000,10000000
	cd internal/bench && go run . -grow $(or $(SIZES),1000000$(comma)10000000$(comma)50000000)

bench-quota: postgres ## how much of a quota is used, known and unknown; LONG=30s is short
	cd internal/bench && go run . -quota $(or $(LONG),5m15s)

# Ten times each, some ten minutes for both.
hot := go test -run '^$$' -bench 'BatcherAdd|EncodeBatch|DecodeResults|CSV$$|Record$$' -benchmem -count $(or $(RUNS),10) ./pipeline ./iidclient ./source ./sink

bench-compare: postgres ## the hot paths, before and after: those of BASE=HEAD~1 beside the working tree's, by benchstat
	rm -rf bin/base && mkdir -p bin/base && git archive $(or $(BASE),HEAD~1) | tar -x -C bin/base
	cd bin/base && $(hot) >../before.txt
	$(hot) >bin/after.txt
	go run golang.org/x/perf/cmd/benchstat@$(benchstat) bin/before.txt bin/after.txt
	rm -rf bin/base

bench-storage: postgres ## ways of keeping results, beside each other; ROWS=100000 RUNS=1 is short
	cd internal/bench && go run ./storage -rows $(or $(ROWS),1000000) -runs $(or $(RUNS),3)

bench-parts: postgres ## all benchmarks of Go; BENCH=regexp chooses
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

build: ## bin/bulksub, static, stamped with VERSION
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/bulksub ./cmd/bulksub

sbom: build ## bin/bulksub.cdx.json, what the program was built from, as CycloneDX
	go run ./internal/tools/sbom bin/bulksub >bin/bulksub.cdx.json

# Fails where it finds something, and only warns where its database is out of reach.
vulncheck: ## known vulnerabilities in what the program calls
	GOBIN=$(CURDIR)/bin go install golang.org/x/vuln/cmd/govulncheck@v1.8.0
	@bin/govulncheck ./...; found=$$?; if [ $$found -eq 3 ]; then exit 3; elif [ $$found -ne 0 ]; then echo "govulncheck could not look: see above"; fi

clean: ## remove what build has made
	rm -rf bin

# The race detector links C.
cgo:
	@cc=$$(go env CC); command -v "$${cc%% *}" >/dev/null || { \
	echo "the race detector needs a C compiler and there is no $$cc: install gcc and libc6-dev (macOS: xcode-select --install)"; exit 1; }

postgres:
	@.ci/postgres

faults:
	@.ci/faults
