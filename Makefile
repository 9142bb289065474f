# Two commands matter: `make demo` and `make test`. Each does its whole set-up, on a fresh Debian 12 machine as root, and is safe to repeat.

PYTHON ?= /usr/bin/python3
VENV   := .venv
BIN    := $(VENV)/bin
export AVALANCHE_CACHE ?= /var/cache/avalanche-lab

# What make demo and make bench run; see README and docs/lab.md.
export HOSTS RATE MODE PLANE FAULTS RACKS STAGGER
export BENCH SIZE FILES SEED PLANES FRESH
export DATE ?= $(shell date -u +%F)

SYSTEM := python3-venv gnupg rpm dnf python3-dnf cpio curl iproute2 mmdebstrap debian-archive-keyring util-linux aria2 transmission-cli qbittorrent-nox shellcheck fdisk xfsprogs dosfstools e2fsprogs strace dnsmasq-base isc-dhcp-server kea-dhcp4-server udhcpc openssh-client mariadb-server-core mariadb-client-core dhcpcd-base isc-dhcp-client tmux

.PHONY: help demo test test-all bench checks artefacts lint types unit floor integration alone format golden down clean setup preflight system

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo      install HOSTS real hosts behind shaped links (HOSTS=8 RATE=100 MODE=install|download PLANE=relay|swarm|http|auto FAULTS=...)
demo: setup
	$(BIN)/python -m lab demo

## make test      everything CI runs: lint, types, tests, the agent under its oldest and newest Python, two hosts end to end
# What waits (for packages, for links, for dnf) and what computes run side by side.
test: setup
	@$(MAKE) --no-print-directory -j2 checks artefacts
	@$(MAKE) --no-print-directory -j2 floor integration
	@$(MAKE) --no-print-directory alone

checks: setup
	@$(MAKE) --no-print-directory -j1 lint types unit

artefacts: setup
	$(BIN)/python -m lab root
	$(BIN)/python -m lab rpms
	tests/floor.sh bullseye 3.9 root
	tests/floor.sh trixie 3.13 root

## make test-all  make test, then what is slow, fifty random misfortunes, and the properties with new examples and more of them
test-all: test
	AVALANCHE_KILLS=20 $(BIN)/python -m pytest -q tests/adapters/test_registrar_kills.py
	AVALANCHE_CHAOS=50 $(BIN)/python -m pytest -q tests/integration/test_chaos.py
	$(BIN)/python -m pytest tests -n 2 --dist loadfile -q --hypothesis-profile=search -m "not lab"

## make bench     data planes beside other people's, and what everything costs (BENCH=quick, BENCH=cell,cell; docs/lab.md)
bench: SYSTEM += wrk nginx-light squid udpcast
bench: setup
	tests/floor.sh bullseye 3.9 root
	$(BIN)/python -m lab bench

## make lint, make types, make unit, make floor, make integration, make alone: the parts of make test
lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

unit: setup
	$(BIN)/python -m pytest tests -n 3 --dist worksteal -q -m "not lab and not slow"

floor: setup
	tests/floor.sh bullseye 3.9
	tests/floor.sh trixie 3.13

integration: artefacts
	$(BIN)/python -m pytest tests -n 2 --dist loadfile -q -m "lab and not alone"

alone: artefacts
	$(BIN)/python -m pytest tests -q -m alone

## make format    format the code
format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

## make golden    rewrite the golden files; read the diff before you commit it
golden: setup
	AVALANCHE_GOLDEN=write $(BIN)/python -m pytest tests/golden

## make down      remove what an interrupted lab left behind
down:
	@test ! -x $(BIN)/python || $(BIN)/python -m lab down

## make clean     remove the virtual environment and the lab's working folder, not the cache
clean: down
	rm -rf $(VENV) var build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

setup: preflight system $(VENV)/.ready

preflight:
	@tests/preflight.sh

system: preflight
	@missing=$$(for package in $(SYSTEM); do dpkg-query -Wf '$${db:Status-Abbrev}' $$package 2>/dev/null | grep -q '^ii' || echo $$package; done); \
	if [ -n "$$missing" ]; then \
		echo "Installing system packages:" $$missing; \
		tests/packages.sh $$missing; \
	fi

$(VENV)/.ready: setup.cfg pyproject.toml | system
	@echo "Making the virtual environment $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check 'pip>=24,<26'  # runs under every Python of make floor
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[lab,test]'
	@touch $@
