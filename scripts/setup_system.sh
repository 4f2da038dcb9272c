#!/usr/bin/env bash
# Installs what the project needs of the system (Vulkan-capable Mesa, libusb, a Python that makes virtual
# environments); prints the command where it may not.
#
# Idempotent: what is there already is left alone, and each line says what was found or done.
set -euo pipefail

say() { printf 'setup: %s\n' "$*"; }

# SAPIEN refuses Mesa older than this ("failed to find a rendering device").
readonly MESA_AT_LEAST=23

mesa_major() { dpkg-query -W -f='${Version}' mesa-vulkan-drivers 2>/dev/null | sed 's/^[0-9]*://; s/[.].*//' || true; }
has_package() { dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

if ! command -v dpkg-query >/dev/null; then
  say "not a Debian or Ubuntu system: install Python 3.10 to 3.13, a Mesa Vulkan driver (>= ${MESA_AT_LEAST}), the Vulkan loader and libusb-1.0 yourself"
  exit 0
fi

. /etc/os-release
codename=${VERSION_CODENAME:-}
wanted=()       # packages of the distribution's own suites
backports=()    # packages that must come from <codename>-backports

mesa=$(mesa_major)
if [ -n "$mesa" ] && [ "$mesa" -ge "$MESA_AT_LEAST" ] && has_package libvulkan1; then
  say "Mesa Vulkan driver $mesa: present"
elif [ "$codename" = bookworm ]; then
  backports+=(mesa-vulkan-drivers libvulkan1)
else
  wanted+=(mesa-vulkan-drivers libvulkan1)
fi
if has_package libusb-1.0-0; then say "libusb: present"; else wanted+=(libusb-1.0-0); fi
if python=$("$(dirname "$0")/find_python.sh"); then
  say "Python: $python"
else
  wanted+=(python3 python3-venv)
fi
if [ "${#wanted[@]}" -eq 0 ] && [ "${#backports[@]}" -eq 0 ]; then exit 0; fi

script="apt-get update"
if [ "${#backports[@]}" -gt 0 ]; then
  list=/etc/apt/sources.list.d/spatialbot-backports.list
  if ! grep -qrs "^[^#]*${codename}-backports" /etc/apt/sources.list /etc/apt/sources.list.d/; then
    script="echo 'deb http://deb.debian.org/debian ${codename}-backports main' > ${list} && ${script}"
  fi
  script="${script} && apt-get install -y --no-install-recommends -t ${codename}-backports ${backports[*]}"
fi
if [ "${#wanted[@]}" -gt 0 ]; then
  script="${script} && apt-get install -y --no-install-recommends ${wanted[*]}"
fi

if [ "$(id -u)" -eq 0 ]; then
  say "installing ${backports[*]} ${wanted[*]}"
  log=$(mktemp)
  if ! DEBIAN_FRONTEND=noninteractive sh -c "$script" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    say "that failed; the command was: $script" >&2
    exit 1
  fi
  say "installed"
else
  say "not root: run this once, then start again:"
  printf '  sudo sh -c "%s"\n' "$script"
  exit 1
fi
