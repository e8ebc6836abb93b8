# Lantern: `make up` starts everything on this machine, `make test` runs every test.

.DEFAULT_GOAL := help
SHELL := /bin/bash
RELEASE := .build/release

.PHONY: help
help: ## Shows this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 16

.PHONY: install
install: ## Installs the Debian packages that are missing (as root or with sudo)
	@scripts/install-packages

.PHONY: build
build: install ## Builds the services and the command line in release
	@scripts/build-release

.PHONY: up
up: build ## Starts PostgreSQL, broker, auth, order, activity and Prometheus; Ctrl-C stops all
	@exec $(RELEASE)/lantern up

.PHONY: demo
demo: ## Drives the flows once against what `make up` started
	@$(RELEASE)/lantern demo

.PHONY: test
test: install ## Runs every test against real PostgreSQL, a Kafka-protocol broker and Prometheus
	SWIFT_DETERMINISTIC_HASHING=1 swift build --build-tests
# Side by side: they wait for groups to form on brokers of their own, and need the processor little.
	SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=8 swift test --skip-build --parallel --filter '^LanternKafkaTests\.'
	swift test --skip-build --no-parallel --skip '^LanternKafkaTests\.'
	Tests/External/run
	Tests/RealClients/run --binaries .build/debug
	scripts/check-deployment
	/usr/bin/python3 Tests/Exposition/exposition_test.py --fixture .build/debug/exposition-fixture
	python3 Tests/Logs/log_test.py --fixture .build/debug/log-fixture
	python3 Tests/OTLP/otlp_test.py --fixture .build/debug/span-fixture
	python3 Tests/Process/process_test.py --binaries .build/debug
	python3 Tests/Torture/torture.py --binaries .build/debug --rounds 2 --events 1000 --seconds 10

BENCHMARKS := bench-metrics bench-tracing bench-logging bench-postgres bench-kafka bench-events bench-http

.PHONY: bench $(BENCHMARKS)
bench: $(BENCHMARKS) ## Runs all benchmarks, each beside a baseline; alone: bench-metrics, -tracing, -logging, -postgres, -kafka, -events, -http

$(BENCHMARKS):
	@scripts/install-packages wrk
	SWIFT_DETERMINISTIC_HASHING=1 swift build -c release --product $@
	.build/release/$@

.PHONY: sanitize
sanitize: install ## Runs the tests of the tools under thread and address sanitizer (long, not part of CI)
	@scripts/sanitize

.PHONY: conformance
conformance: install ## Runs the conformance suite of transports against a real Kafka: make conformance KAFKA=host:port
	@test -n "$(KAFKA)" || { echo "say which broker: make conformance KAFKA=host:port" >&2; exit 2; }
	SWIFT_DETERMINISTIC_HASHING=1 swift build --product conformance
	.build/debug/conformance $(KAFKA)

.PHONY: torture
torture: install ## Kills every part at random under load and checks that no event is lost (ROUNDS=10, see Tests/Torture)
	SWIFT_DETERMINISTIC_HASHING=1 swift build
	python3 Tests/Torture/torture.py --binaries .build/debug --rounds $(or $(ROUNDS),10) --broker-away 60

.PHONY: trace-context
trace-context: install ## Runs the W3C's tests of Trace Context (fetches them; not part of CI)
	@scripts/trace-context

.PHONY: lint
lint: ## Checks formatting and scripts
	swift format lint --strict --recursive --parallel Sources Tests Benchmarks Package.swift
	shellcheck scripts/install-packages scripts/build-release scripts/check-deployment scripts/sanitize scripts/trace-context Tests/External/run Tests/RealClients/run .ci/run

.PHONY: format
format: ## Formats the Swift code in place
	swift format format --in-place --recursive --parallel Sources Tests Benchmarks Package.swift

.PHONY: generate
generate: ## Generates docs/metrics.md, docs/events.md and the schemas in docs/events
	LANTERN_GENERATE=1 swift test --filter 'MetricsPageTests|EventCatalogueTests'

.PHONY: generate-otlp
generate-otlp: ## Generates the OTLP messages (needs protoc and protoc-gen-swift)
	protoc --swift_out=Sources/LanternTracing/Protobuf --swift_opt=Visibility=Internal \
	  --swift_opt=UseAccessLevelOnImports=true --proto_path=Sources/LanternTracing/Protobuf otlp.proto

.PHONY: clean
clean: ## Removes what was built, and the state of the platform
	rm -rf .build .lantern
