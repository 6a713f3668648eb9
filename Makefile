# `make demo` and `make test` are all that a fresh machine needs.
CARGO ?= cargo
# Where libjpeg-turbo comes from: `vendor`, `pkg-config`, or nowhere. `make JPEG= …` does without.
JPEG ?= $(shell scripts/jpeg 2>/dev/null)
FEATURES = train$(if $(JPEG),$(comma)jpeg-turbo)
comma := ,
ifneq ($(JPEG),)
export TURBOJPEG_SOURCE ?= $(JPEG)
endif

.PHONY: help build demo test setup tools parity bench-peers bench-train clean-demo

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

build: setup ## set up, then build the four programs into target/release
	@scripts/jpeg >/dev/null
	$(CARGO) build --release --features $(FEATURES)

demo: ## set up, then prepare, train, evaluate and search a generated sample; ends with a report page
	@MAKE="$(MAKE)" CARGO="$(CARGO)" FEATURES="$(FEATURES)" scripts/demo

test: setup ## set up, then check formatting, lints, tests and docs
	$(CARGO) fmt --all --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --all-targets --features train -- -D warnings
	$(CARGO) test
	$(CARGO) test --features train
ifneq ($(JPEG),)
	$(CARGO) clippy --workspace --all-targets --features jpeg-turbo -- -D warnings
	$(CARGO) test --workspace --features jpeg-turbo
endif
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --features train

setup: tools ## fetch libtorch (1 GB on disk), once
	@scripts/libtorch || { echo "prepare and shards need no libtorch: cargo build --release" >&2; exit 1; }

tools:
	@command -v $(CARGO) >/dev/null || { echo "error: no cargo: install Rust 1.89 or newer (https://rustup.rs)" >&2; exit 1; }
	@command -v c++ >/dev/null || { echo "error: no C++ compiler: apt-get install g++" >&2; exit 1; }
	@command -v python3 >/dev/null || { echo "error: no python3: apt-get install python3 python3-pip" >&2; exit 1; }

parity: setup ## hold train against a PyTorch trainer, step by step (1.5 GB of Python packages); ARGS="--only fp32"
	@python=$$(python3 tests/parity/install.py) && CARGO="$(CARGO)" $$python tests/parity/run.py $(ARGS)

bench-train: setup ## measure train beside the same trainer in PyTorch; ARGS="--what stages"
	@python=$$(python3 tests/parity/install.py) && CARGO="$(CARGO)" $$python benches/train/run.py $(ARGS)

bench-peers: ## measure pairmill beside other tools (3 GB of Python packages); ARGS="--images 400", ARGS="--what load"
	@CARGO="$(CARGO)" python3 benches/peers/run.py $(ARGS)

clean-demo: ## remove what the demo made
	rm -rf demo
