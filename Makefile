# Everything a maintainer does has a name. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CARGO ?= cargo
export LAYOUTLM_SHARED ?= $(abspath ../shared)
export ORT_DYLIB_PATH ?= $(abspath target/onnxruntime/libonnxruntime.so)

.DEFAULT_GOAL := help
.PHONY: help quickstart test build onnxruntime lint docs audit rooms fmt peers bench-train bench-quality bench-gpu test-gpu bench-predict bench-export fuzz docker docker-test docker-test-base docker-trainer bench-docker lint-deploy bench-serve soak soak-short parity openapi

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
	$(CARGO) clippy --release --workspace --all-targets --features layoutlm-tests/docker --locked -- -D warnings

fmt: ## Format the sources
	$(CARGO) fmt --all

docs: ## Build the documentation without a warning
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --workspace --no-deps --locked

audit: ## Licences, bans and sources of all dependencies
	@command -v cargo-deny >/dev/null || $(CARGO) install cargo-deny --locked
	$(CARGO) deny --offline check licenses bans sources

rooms: ## Check that no crate imports what it must not
	scripts/check-rooms.sh

peers: build ## Compare with transformers, onnx.checker, onnxruntime and public clients
	tests/peers/run.sh

bench-export: build ## Exported graphs beside Python's and PyTorch
	benches/bench_export.sh

fuzz: build ## Fuzz the bundle loader for five minutes (nightly compiler)
	fuzz/run.sh

bench-train: build ## Time per optimiser step beside PyTorch
	benches/bench_train.sh

bench-quality: build ## F1 on held-out receipts beside transformers and the reference loop (an hour or more)
	benches/bench_quality.sh

bench-gpu: onnxruntime ## Training on a graphics card beside Hugging Face Trainer (needs a card, nvcc and PyTorch)
	benches/bench_gpu.sh

test-gpu: ## Compare a graphics card with the processor (needs nvcc; does nothing where there is no card)
	$(CARGO) test --release --workspace --locked --features layoutlm-tests/cuda --test cuda -- --nocapture

bench-predict: build ## Time predict beside its own engine
	benches/bench_predict.sh

# Features of the server in the image; empty leaves S3 and DynamoDB out.
IMAGE_FEATURES ?= s3
docker: ## Build the server image (BUNDLE=folder bakes a model in)
	IMAGE_FEATURES="$(IMAGE_FEATURES)" scripts/docker-build.sh $(if $(BUNDLE),--bundle $(BUNDLE))

docker-test: onnxruntime ## Build the server image and hold it to its promises in a real engine
	IMAGE_FEATURES="$(IMAGE_FEATURES)" scripts/docker-test.sh docker docker_model

docker-test-base: onnxruntime ## The same with a base-size int8 model: start time, memory, half the memory
	IMAGE_FEATURES="$(IMAGE_FEATURES)" scripts/docker-test.sh docker_base

docker-trainer: onnxruntime ## Build the trainer image and try it in a real engine, on the processor
	scripts/docker-trainer.sh

bench-docker: build ## Our image beside PyTorch's and Python onnxruntime's
	benches/docker/run.sh

lint-deploy: ## Lint Dockerfiles, shell scripts, template, task definition and compose file
	scripts/lint-deploy.sh

bench-serve: build ## Receipts per second beside FastAPI with onnxruntime and with PyTorch
	benches/bench_serve.sh

soak: build ## Ten minutes at twice the server's capacity
	benches/soak.sh

soak-short: build ## The same for forty seconds
	SECONDS_OF_LOAD=40 benches/soak.sh

parity: build ## The same labels from trainer, predict and server on all of SROIE's test receipts
	LAYOUTLM_FULL=1 $(CARGO) test --release --locked -p layoutlm-tests --test parity

openapi: ## Write docs/openapi.json anew
	LAYOUTLM_BLESS=1 $(CARGO) test --release --locked -p layoutlm-inference --test openapi
