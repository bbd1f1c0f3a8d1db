# Everything that is done with this repository, by name. `make` alone lists it.
# Needs Go, and a C compiler for the race detector; what else is used, Go builds.

TOOL := go tool -modfile=hack/tools/go.mod
FUZZTIME ?= 30s

.DEFAULT_GOAL := help
.PHONY: help quickstart dev test check gen bench build lint fuzz servers fresh vet

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quickstart: ## sync the secrets of examples/quickstart to the terminal; needs nothing but Go
	go run ./cmd/keyferry sync -f examples/quickstart --stdout

dev: ## run control plane, OpenBao, controller and samples here until Ctrl-C
	@go build -o bin/dev ./test/dev && exec bin/dev

# No result is taken from the cache: some tests build the binary, which the cache does
# not know.
test: servers ## run all tests, with the race detector, against real servers
	@if go test -race -count=1 -timeout=30m ./...; then echo "make test: all passed"; \
	else echo "make test: FAILED, see the lines above that begin with FAIL or --- FAIL"; exit 1; fi

check: fresh vet lint quickstart test ## do exactly what CI does
	@echo "make check: all good"

gen: ## write the generated files again: deep copies, CRDs, tables in docs
	go run ./hack/gen

bench: ## measure ONLY=es,push,aws,namespaces with N=1000 objects each; without them all parts
	go run ./test/bench $(if $(ONLY),-only $(ONLY)) $(if $(N),-n $(N))

build: ## build bin/keyferry
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/keyferry ./cmd/keyferry

lint: ## check style, sizes and import arrows
	$(TOOL) golangci-lint run ./...

fuzz: ## run each fuzz test for FUZZTIME=30s
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

# The servers of test/ are built before the tests run, so that no test's time limit
# has to allow for it.
servers:
	@echo "test servers: from the cache, or built, which takes 8 to 16 minutes the first time on 2 cores"
	@go test -count=1 -v -timeout=60m -run 'ServersAreOne' ./internal/testenv

fresh:
	go test -run 'Fresh' ./hack/gen

vet:
	go vet ./...
