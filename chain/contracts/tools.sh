# What `build` and `check` share: sourced by them.
# shellcheck shell=bash

DEPLOYED=(SessionToken BridgedSessionToken TimelockController RewardPool Staking Checkpoints ContributionFactory Contribution Names Vault Loan)

forge() { "node_modules/@foundry-rs/forge-linux-$(arch)/bin/forge" "$@"; }

arch() { case "$(uname -m)" in aarch64 | arm64) echo arm64 ;; *) echo amd64 ;; esac; }

# Installs what the lock file names, unless it is there.
need_packages() {
  cmp -s package-lock.json node_modules/.session-lock && return
  npm ci --ignore-scripts --no-audit --no-fund >&2 || {
    echo 'error: the packages of chain/contracts cannot be installed' >&2
    echo '  fix: see what npm says above; it must reach a package registry' >&2
    exit 1
  }
  cp package-lock.json node_modules/.session-lock
}

# write_artifacts FOLDER: interface and bytecode alone, which depend on nothing but sources and compiler.
write_artifacts() {
  forge build --skip test --out out/deployed --cache-path cache/deployed >&2
  mkdir -p "$1"
  local name
  for name in "${DEPLOYED[@]}"; do
    node -e '
      const { readFileSync, writeFileSync } = require("fs");
      const { abi, bytecode } = JSON.parse(readFileSync(process.argv[1]));
      writeFileSync(process.argv[2], JSON.stringify({ abi, bytecode: bytecode.object }) + "\n");
    ' "out/deployed/$name.sol/$name.json" "$1/$name.json"
  done
}

# write_recorder FILE: the bytecode of the contract that records what tests of followers tell it.
write_recorder() {
  forge build >&2
  node -e '
    const { readFileSync, writeFileSync } = require("fs");
    const { bytecode } = JSON.parse(readFileSync("out/Recorder.sol/Recorder.json"));
    writeFileSync(process.argv[1], bytecode.object.slice(2) + "\n");
  ' "$1"
}
