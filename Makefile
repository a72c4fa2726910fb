# make test installs what the tests need and runs everything; `go test ./...` is the everyday loop.
SHELL := /bin/bash
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 60s

.PHONY: build test lint tools mutation bench fuzz clean

build: ## the static binaries, as the Dockerfile builds them
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o dist/ ./cmd/bursar ./cmd/bursar-shim

test: tools lint build
	BURSAR_TEST=full go test -timeout 20m ./...
	$(MAKE) mutation
	dist/bursar version
	dist/bursar dev --once >/dev/null
	dist/bursar dev --once --demo mcp >/dev/null

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w on these'; exit 1; }
	@git ls-files '*.go' | xargs awk 'length > 120 {print FILENAME ":" FNR; bad = 1} END {exit bad}'
	go mod tidy -diff
	go vet ./...
	go run $(STATICCHECK) ./...

tools: ## what the tests start: a real Redis, the proxies of Debian, and implementations of JOSE and MCP that are not ours
	@command -v redis-server >/dev/null || .ci/install redis-server
	@(for p in nginx caddy haproxy; do PATH=$$PATH:/usr/sbin command -v $$p >/dev/null || exit 1; done) || \
		.ci/install nginx-light caddy haproxy
	@command -v node >/dev/null && command -v npm >/dev/null || .ci/install nodejs npm
	@npm --prefix e2e ls >/dev/null 2>&1 || npm --prefix e2e ci --no-audit --no-fund

mutation: ## plants one widening mistake at a time, and expects the property test to tell
	go test -tags mutation -timeout 20m -run TestEachMutationIsCaught ./server/exchange

bench:
	go run ./e2e/bench

fuzz: ## every target for FUZZTIME
	.ci/fuzz $(FUZZTIME)

clean:
	rm -rf dist e2e/node_modules
