# What the other scripts need and how it gets here: sourced by them, with `root` set.
# shellcheck shell=bash

say() { printf '== %s\n' "$*" >&2; }
fail() { printf 'error: %s\n  fix: %s\n' "$1" "$2" >&2; exit 1; }

need_rust() {
  # A fresh rustup is on the PATH of new shells only.
  local bin=${CARGO_HOME:-$HOME/.cargo}/bin
  if ! command -v cargo >/dev/null && [ -x "$bin/cargo" ]; then PATH=$bin:$PATH; fi
  if ! command -v cargo >/dev/null; then
    say 'installing Rust, with rustup, for this user'
    local installer
    installer=$(curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs) &&
      sh -s -- -y --profile minimal --component clippy,rustfmt --no-modify-path <<<"$installer" >&2 ||
      fail 'Rust is not installed, and rustup could not install it' \
        'install it as https://rustup.rs says, then run this again'
    PATH=$bin:$PATH
  fi
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$root/Cargo.toml")
  found=$(rustc --version | cut -d' ' -f2)
  [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n1)" = "$wanted" ] ||
    fail "Rust $found is too old; this needs $wanted" 'run: rustup update stable'
}

# need_compiler COMMAND LANGUAGE PACKAGE...
need_compiler() {
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing a $2 compiler"
    apt-get update -q >&2 && apt-get install -qy "${@:3}" >&2
  else
    fail "a $2 compiler is missing" "install one, for example: sudo apt-get install ${*:3}"
  fi
}
need_c() { need_compiler cc C gcc libc6-dev; }
need_cxx() { need_compiler c++ C++ g++; }

# Compiles and tests the contracts, whose tools are npm packages.
need_node() {
  if ! { command -v node && command -v npm; } >/dev/null 2>&1; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
      fail 'Node.js is missing' 'install it, for example: sudo apt-get install nodejs npm'
    say 'installing Node.js'
    apt-get update -q >&2 && apt-get install -qy nodejs npm >&2
  fi
  local found
  found=$(node --version)
  [ "$(printf '%s\n' v18 "$found" | sort -V | head -n1)" = v18 ] ||
    fail "Node.js $found is too old; this needs v18" 'install a newer one, as https://nodejs.org says'
}

# need_cargo SUBCOMMAND: cargo's own installer brings what is missing.
need_cargo() {
  cargo "$1" --version >/dev/null 2>&1 && return
  say "installing cargo-$1"
  cargo install "cargo-$1" --locked >&2
}

# need_anvil: the local settlement chain, from npm, as chain/contracts/package-lock.json pins it.
need_anvil() {
  [ -z "${SESSION_ANVIL:-}" ] || return 0
  need_node
  (cd "$root/chain/contracts" && . ./tools.sh && need_packages)
}

# need_prometheus: what dashboards and alerts are checked with. Debian's package comes with a service, which is not wanted.
need_prometheus() {
  command -v prometheus >/dev/null && command -v promtool >/dev/null && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    fail 'prometheus is missing, or its promtool' 'install it, for example: sudo apt-get install prometheus'
  say 'installing Prometheus'
  apt-get update -q >&2 && RUNLEVEL=1 apt-get install -qy --no-install-recommends prometheus >&2
  if [ -d /run/systemd/system ]; then systemctl disable --now prometheus >&2; fi
}

# need_chromium: what the pages are tested in.
need_chromium() {
  command -v chromium >/dev/null && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    fail 'chromium is missing' 'install it, for example: sudo apt-get install chromium'
  say 'installing Chromium'
  apt-get update -q >&2 && apt-get install -qy --no-install-recommends chromium >&2
}

# need_hosts: what makes hosts out of network namespaces, for the network in a box; systemd, which says what it thinks of units,
# and is booted in namespaces to run one; and a disk of a node's own, which is watched while it fails. Where one of these is
# missing its test says so.
need_hosts() {
  local program missing=
  for program in ip nft miniupnpd systemd-analyze mkfs.ext4; do command -v "$program" >/dev/null || missing=1; done
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say 'installing iproute2, nftables, miniupnpd, systemd and e2fsprogs'
    apt-get update -q >&2 &&
      apt-get install -qy --no-install-recommends iproute2 nftables miniupnpd-nftables systemd e2fsprogs >&2
  fi
}

# need_wrk: a load tool that others use too. Where it cannot be installed a line says what is left out.
need_wrk() {
  command -v wrk >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say 'installing wrk'
    apt-get update -q >&2 && apt-get install -qy --no-install-recommends wrk >&2
  else
    say 'wrk is missing: what it would drive is left out; install it, for example: sudo apt-get install wrk'
  fi
}
