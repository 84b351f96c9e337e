# Everything a maintainer does has a name. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CARGO ?= cargo
export LAYOUTLM_SHARED ?= $(abspath ../shared)
export ORT_DYLIB_PATH ?= $(abspath target/onnxruntime/libonnxruntime.so)

.DEFAULT_GOAL := help
.PHONY: help quickstart test build onnxruntime lint docs audit rooms fmt peers bench-train docker bench-docker lint-deploy

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

quickstart: build ## Synthesise receipts, train, export, prove and serve (only checks when CI is set)
	target/release/layoutlm-cli quickstart $(if $(CI),--check)

test: build ## Pass every test
	$(CARGO) test --release --workspace --locked --no-fail-fast

build: onnxruntime ## Build the programs
	$(CARGO) build --release --workspace --locked

onnxruntime: ## Fetch the pinned ONNX Runtime library into target/onnxruntime
	@scripts/fetch-onnxruntime.sh target/onnxruntime

lint: ## Formatting and clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets --locked -- -D warnings

fmt: ## Format the sources
	$(CARGO) fmt --all

docs: ## Build the documentation without a warning
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --workspace --no-deps --locked

audit: ## Licences, bans and sources of all dependencies
	@command -v cargo-deny >/dev/null || $(CARGO) install cargo-deny --locked
	$(CARGO) deny --offline check licenses bans sources

rooms: ## Check that no crate imports what it must not
	scripts/check-rooms.sh

peers: build ## Compare with transformers, onnx.checker and onnxruntime
	tests/peers/run.sh

bench-train: build ## Time per optimiser step beside PyTorch
	benches/bench_train.sh

IMAGE_FEATURES ?=
docker: ## Build the server image (BUNDLE=folder bakes a model in)
	IMAGE_FEATURES="$(IMAGE_FEATURES)" scripts/docker-build.sh $(if $(BUNDLE),--bundle $(BUNDLE))

bench-docker: build ## Our image beside PyTorch's and Python onnxruntime's
	benches/docker/run.sh

lint-deploy: ## Lint Dockerfiles, shell scripts, template, task definition and compose file
	scripts/lint-deploy.sh
