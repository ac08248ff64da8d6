# What people and CI run. `make demo` tells the story; `make test` is all that has to
# pass before a change lands. Every step installs what it needs and may be run again.

CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

.PHONY: demo build dashboard test lint tools hosts-base manifest-tools api-tools dashboard-tools monitoring-tools cargo-deb packages-for-tests agent-with-boundaries bench bench-dashboard sim package fuzz clean

demo:
	$(CARGO) build --release --locked --bins -p fleet-coordinator -p fleet-agent -p fleetctl
	target/release/fleetctl dev --story

build:
	$(CARGO) build --locked --workspace --bins

# The binaries are built first: tests start them as real processes, and install them.
test: tools hosts-base manifest-tools api-tools dashboard-tools monitoring-tools lint packages-for-tests agent-with-boundaries
	$(CARGO) nextest run --locked --workspace --no-fail-fast

lint:
	$(CARGO) fetch --locked
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --workspace --all-targets --features fleet-agent/boundaries -- -D warnings
	$(CARGO) deny --offline check bans licenses sources

# Taken as they are where they are there.
tools:
	@command -v cargo-nextest >/dev/null || $(CARGO) install --locked cargo-nextest
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny

cargo-deb:
	@command -v cargo-deb >/dev/null || $(CARGO) install --locked cargo-deb

# The tree that test hosts boot from, and what boots them. Without root or Debian it says
# that there is none, and the tests that need it are skipped by name.
hosts-base:
	@tests/hosts-base >/dev/null

# What Kubernetes manifests are validated with. Without Python it says that there is none,
# and the tests that need it are skipped by name.
manifest-tools:
	@tests/manifest-tools >/dev/null

# What metrics, alerts and dashboards are tried with. Without Debian it says that there is
# none, and the tests that need it are skipped by name.
monitoring-tools:
	@tests/monitoring-tools >/dev/null

# What the dashboard is built and tried with: as above.
dashboard-tools:
	@tests/dashboard-tools >/dev/null

# After a change of its sources; what it makes is checked in.
dashboard: dashboard-tools
	cd coordinator/dashboard && PATH="$$(../../tests/dashboard-tools --path):$$PATH" npm run build

# What tries the HTTP API against its description: as above.
api-tools:
	@tests/api-tools >/dev/null

# Of the binaries that the tests run, and beside them. What has not changed stays.
packages-for-tests: build cargo-deb
	@packaging/package dev >/dev/null

# One that tests stop at named instants, in a directory of its own: where packages are made
# from there is none.
agent-with-boundaries:
	@$(CARGO) build --quiet --locked -p fleet-agent --features boundaries \
		--target-dir "$${CARGO_TARGET_DIR:-target}/boundaries"

# fleet-coordinator, fleet-agent and fleetctl for Debian; prints where they are.
package: cargo-deb
	$(CARGO) build --release --locked --bins -p fleet-coordinator -p fleet-agent -p fleetctl
	@packaging/package release

# What is measured is what was packaged just now: built beside the tests it would be larger,
# for what they need of the same crates.
bench: hosts-base package
	$(CARGO) build --release --locked -p fleet-tests --bins
	target/release/fleet-bench $(MEASURES)

# What the dashboard costs a browser, beside a mock of a large fleet.
bench-dashboard: dashboard-tools
	cd coordinator/dashboard && PATH="$$(../../tests/dashboard-tools --path):$$PATH" npm run --silent load

# Whole fleets through storms, from seeds: `make sim SEEDS=20000 NODES=50`. A seed that
# breaks an invariant is told of, with the command that plays exactly that one again.
SEEDS ?= 200
NODES ?= 50
FROM ?= 1
sim:
	$(CARGO) build --release --locked -p fleet-tests --bin fleet-sim
	target/release/fleet-sim --seeds $(SEEDS) --from $(FROM) --nodes $(NODES)

# Whatever reads bytes from outside, under a fuzzer, one target after another for so many
# seconds each: `make fuzz SECONDS=600`, `make fuzz TARGETS=tree`.
SECONDS ?= 60
TARGETS ?=
fuzz:
	nice -n 19 tests/fuzz/run $(SECONDS) $(TARGETS)

clean:
	$(CARGO) clean
