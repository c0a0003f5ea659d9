"""A Debian with nothing but `make` in it, in a folder: where a newcomer's first command is tried."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.manifests import ROOT, tool

# How this machine reaches apt's mirrors and the registries, where it doesn't go the usual way.
REACH = tuple(map(Path, ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf")))
REACH_FROM_HOME = (".m2/settings.xml", ".config/go/env")
REACH_VARIABLES = ("PIP_CERT", "PIP_INDEX_URL", "SSL_CERT_FILE", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "GOPROXY")
CERTIFICATES = Path("/usr/local/share/ca-certificates")
# Go's caches alone are shared: what they spare is minutes of compiling Prometheus, no step of the set-up.
SHARED = ("root/go/pkg/mod", "root/.cache/go-build")
MOUNT = """
for kernels in dev dev/shm sys; do mount --bind "/$kernels" "$0/$kernels"; done
mount -t proc proc "$0/proc"
for shared in $SHARED; do mkdir -p "/$shared" "$0/$shared" && mount --bind "/$shared" "$0/$shared"; done
exec chroot "$0" "$@"
"""


def make_root(folder: Path, *packages: str) -> None:
    """What `mmdebstrap --variant=minbase` makes, with this machine's way to the registries. Needs root."""
    include = ",".join(("ca-certificates", *packages))
    debstrap = [tool("mmdebstrap", "mmdebstrap"), "--quiet", "--variant=minbase", f"--include={include}"]
    subprocess.run([*debstrap, "bookworm", str(folder)], check=True, timeout=300)
    given = {path: folder / path.relative_to("/") for path in REACH}
    given |= {Path.home() / name: folder / "root" / name for name in REACH_FROM_HOME}
    for here, there in given.items():
        if here.is_file():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(here, there)
    for certificate in CERTIFICATES.glob("*.crt"):
        shutil.copy(certificate, folder / CERTIFICATES.relative_to("/"))
    subprocess.run(["chroot", folder, "update-ca-certificates"], check=True, timeout=60, capture_output=True)


def reach_variables() -> dict[str, str]:
    """Variables of the environment that say how the registries are reached."""
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    return proxies | {name: os.environ[name] for name in REACH_VARIABLES if name in os.environ}


def copy_project(to: Path) -> None:
    """What git would commit of this checkout."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).exists():  # else deleted and not yet committed
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def inside(root: Path, *command: str, variables: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Starts a command in the root, in the project's folder, with processes and mounts of its own: all end with it."""
    given = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "SHARED": " ".join(SHARED)}
    return subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", MOUNT, str(root), *command],
        env=given | reach_variables() | dict(variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
        # A shell that runs the tests in its background has them, and all that they start, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
