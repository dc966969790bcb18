"""What `kubectl apply -k deploy/kubernetes` sends, against schemas: `python -m tests.kubernetes`.

kubectl builds the kustomization; Kubernetes' own objects go to kubernetes-validate, the PodMonitor
to npm's @kubernetes-models/prometheus-operator, which is made of the operator's definitions: its
validator looks at values, and TypeScript finds fields that are not known. That each can find
something is tried first. It needs kubectl and npm, whose packages stay in
~/.cache/xdpdns-kubernetes. Prints what is wrong; exit code 1 if anything is.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "kubernetes"
CACHE = Path.home() / ".cache" / "xdpdns-kubernetes"
PACKAGES = {"@kubernetes-models/prometheus-operator": "6.0.0", "typescript": "5.4.5"}
MODULE = "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1"

Object = dict[str, Any]


def pod_monitor(thing: Object) -> str:
    """What the operator's schema has against it; nothing if all is well."""
    literal = json.dumps(thing)
    values = f"import {{ PodMonitor }} from '{MODULE}';\nnew PodMonitor({literal}).validate();\n"
    types = f"import type {{ IPodMonitor }} from '{MODULE}';\nexport const v: IPodMonitor = "
    (CACHE / "values.mjs").write_text(values)
    (CACHE / "fields.mts").write_text(f"{types}{literal};\n")
    tsc = ["node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--target", "es2022"]
    tsc += ["--module", "nodenext", "--moduleResolution", "nodenext", "fields.mts"]
    said = ""
    for argv in (["node", "values.mjs"], tsc):
        done = subprocess.run(argv, cwd=CACHE, capture_output=True, text=True, timeout=120)
        said += (done.stdout + done.stderr) if done.returncode else ""
    return said


def finds_what_is_wrong(thing: Object) -> None:
    """Raises if the schema takes a wrong value or a field that does not exist."""
    [endpoint] = thing["spec"]["podMetricsEndpoints"]
    for broken, complaint in (
        ({"interval": "15 s"}, "interval must match pattern"),
        ({"intervall": "15s"}, "does not exist in type"),
    ):
        spec = thing["spec"] | {"podMetricsEndpoints": [endpoint | broken]}
        said = pod_monitor(thing | {"spec": spec})
        if complaint not in said:
            raise AssertionError(f"{broken} is not found: {said}")


def check(thing: Object) -> str:
    """What a schema has against one object."""
    if thing["kind"] == "PodMonitor":
        finds_what_is_wrong(thing)
        return pod_monitor(thing)
    try:
        kubernetes_validate.validate(thing, "1.37", strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return ""


def main() -> int:
    """Build the kustomization, install the schema, use it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "package.json").write_text(json.dumps({"private": True, "dependencies": PACKAGES}))
    npm = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(npm, cwd=CACHE, check=True, timeout=600)
    build = ["kubectl", "kustomize", str(FOLDER)]
    built = subprocess.run(build, check=True, capture_output=True, text=True, timeout=60).stdout
    found = {thing["kind"]: check(thing) for thing in yaml.safe_load_all(built)}
    for kind, said in found.items():
        sys.stdout.write(f"{kind}: {said or 'fits its schema'}\n")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
