"""What scripts/check-deploy asks of the files in deploy/, beyond what other programs say of them.

Not here: whether Docker, Kubernetes or Grafana run them. Each check is also given something that is
wrong and has to find it, since a check that cannot fail is a defect."""

import copy
import json
import re
import sys
from pathlib import Path

import yaml

# The oldest that has all that is used here, and the newest that the schemas are there for.
KUBERNETES = ["1.30", "1.37"]
# The end of a gateway: the longest drain, and the last words to the store.
DRAIN_SECONDS = 30 + 2


class Wrong(Exception):
    """What a check found."""


def expect(holds, message):
    if not holds:
        raise Wrong(message)


def must_find(check, message):
    """Runs a check on something that is wrong."""
    try:
        check()
    except Wrong:
        return
    raise SystemExit(f"the check does not see {message}")


# --- compose


def compose(config):
    for name, service in config["services"].items():
        told = f"services.{name}"
        expect(re.fullmatch(r"[^:]+:[^:]*\d[^:]*", service["image"]), f"{told}: an image without a version")
        expect(not service["user"].startswith(("0", "root")), f"{told} runs as root")
        expect(service["read_only"], f"{told} may write to its image")
        expect(service["cap_drop"] == ["ALL"] and "cap_add" not in service, f"{told} keeps capabilities")
        expect("no-new-privileges:true" in service["security_opt"], f"{told} may gain privileges")
        expect(not service.get("privileged"), f"{told} is privileged")
        for variable in service.get("environment") or {}:
            secret = re.search("PASSWORD|SECRET|TOKEN|KEY", variable)
            expect(not secret or variable.endswith("__FILE"), f"{told} has a secret in {variable}")
        for volume in service.get("volumes", []):
            expect(volume["type"] == "bind", f"{told}: {volume['target']} is no folder of ours")
            source = Path(volume["source"])
            expect(source.exists(), f"{told}: {source} is not there")
            is_state = "state" in source.parts
            expect(is_state != bool(volume.get("read_only")), f"{told}: only state is written to, {source}")
    for name, secret in config.get("secrets", {}).items():
        expect(Path(secret["file"]).is_file(), f"secrets.{name}: {secret['file']} is not there")
    for name in ["store", "watch"]:
        expect(config["networks"][name]["internal"], f"networks.{name} has a way out")
    published = {
        port["published"]: port.get("host_ip", "")
        for service in config["services"].values()
        for port in service.get("ports", [])
    }
    expect(published == {"8443": "", "8080": "", "3000": "127.0.0.1"}, f"ports: {published}")


def check_compose(path):
    config = json.loads(Path(path).read_text())
    compose(config)
    for change, message in [
        (lambda services: services["redis"].update(user="0:0"), "root"),
        (lambda services: services["gateway"]["volumes"][0].update(source="/nowhere"), "a mount of nothing"),
        (lambda services: services["grafana"].update(environment={"GF_SECURITY_ADMIN_PASSWORD": "admin"}), "a password"),
    ]:
        wrong = copy.deepcopy(config)
        change(wrong["services"])
        must_find(lambda: compose(wrong), message)


# --- the dashboard


def check_dashboard(path):
    """The queries as rules, which promtool parses."""
    dashboard = json.loads(Path(path).read_text())
    rules = []
    ids = set()
    for panel in dashboard["panels"]:
        expect(panel["id"] not in ids, f"two panels have the id {panel['id']}")
        ids.add(panel["id"])
        place = panel["gridPos"]
        expect(place["x"] + place["w"] <= 24, f"{panel['title']} is too wide")
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", "1m")
            rules.append({"record": "dashboard:query", "expr": query, "labels": {"panel": f"{len(rules)}"}})
    print(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))


# --- Kubernetes


def documents(folder, skip=()):
    for path in sorted(Path(folder).glob("*.yaml")):
        if path.name not in skip:
            yield from (document for document in yaml.safe_load_all(path.read_text()) if document)


def schemas(objects):
    import kubernetes_validate

    for version in KUBERNETES:
        for thing in objects:
            try:
                kubernetes_validate.validate(thing, version, strict=True)
            except Exception as error:
                raise Wrong(f"{thing.get('kind')} {version}: {error}") from error


def by_kind(objects):
    return {(thing["kind"], thing["metadata"]["name"]): thing for thing in objects}


def fit(objects, secrets):
    """Whether what names something else names what is there."""
    things = by_kind(objects)
    deployment = things["Deployment", "portcullis"]["spec"]
    pod = deployment["template"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    gateway = pod["containers"][0]
    selectors = [
        deployment["selector"]["matchLabels"],
        things["Service", "portcullis"]["spec"]["selector"],
        things["Service", "portcullis-metrics"]["spec"]["selector"],
        things["PodDisruptionBudget", "portcullis"]["spec"]["selector"]["matchLabels"],
        things["NetworkPolicy", "portcullis"]["spec"]["podSelector"]["matchLabels"],
        *(spread["labelSelector"]["matchLabels"] for spread in pod["topologySpreadConstraints"]),
    ]
    expect(all(selector.items() <= labels.items() for selector in selectors), "a selector is for other pods")

    context = pod["securityContext"]
    expect(context["runAsNonRoot"] and context["runAsUser"] > 0, "the pod runs as root")
    expect(context["seccompProfile"] == {"type": "RuntimeDefault"}, "every system call is allowed")
    for container in pod["containers"]:
        rights = container["securityContext"]
        expect(rights["readOnlyRootFilesystem"] and not rights["allowPrivilegeEscalation"], "a container may too much")
        expect(rights["capabilities"] == {"drop": ["ALL"]}, "a container has capabilities")
        expect({"cpu", "memory"} <= container["resources"]["requests"].keys(), "a container asks for nothing")
        expect("memory" in container["resources"]["limits"], "a container takes all memory")
    expect(pod["automountServiceAccountToken"] is False, "the pod has a token of the cluster")
    expect(("ServiceAccount", pod["serviceAccountName"]) in things, "there is no such account")

    ports = {port["name"]: port["containerPort"] for port in gateway["ports"]}
    for service in ["portcullis", "portcullis-metrics"]:
        for port in things["Service", service]["spec"]["ports"]:
            expect(port["targetPort"] in ports, f"{service}: nothing listens on {port['targetPort']}")
    for probe, path in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]:
        expect(gateway[probe]["httpGet"] == {"path": path, "port": "metrics"}, probe)
    config = yaml.safe_load(things["ConfigMap", "portcullis"]["data"]["gateway.yaml"])
    listens = {name: int(config["listen"][name].rsplit(":", 1)[1]) for name in ports}
    expect(listens == ports, f"listen: {listens}, and the ports are {ports}")
    allowed = {port["port"] for rule in things["NetworkPolicy", "portcullis"]["spec"]["ingress"] for port in rule["ports"]}
    expect(allowed == set(ports.values()), f"the network lets {allowed} in")
    reached = {port["port"] for rule in things["NetworkPolicy", "portcullis"]["spec"]["egress"] for port in rule["ports"]}
    redis = int(config["store"]["redis"]["url"].rsplit(":", 1)[1])
    upstreams = {int(url.rsplit(":", 1)[1]) for it in config["upstreams"].values() for url in it["endpoints"]}
    expect(reached == {53, redis} | upstreams, f"the network lets out to {reached}")

    waits = int(gateway["lifecycle"]["preStop"]["exec"]["command"][1])
    expect(pod["terminationGracePeriodSeconds"] >= waits + DRAIN_SECONDS, "the pod is killed while it drains")
    ready = gateway["readinessProbe"]
    expect(ready["periodSeconds"] * ready["failureThreshold"] == 300, "pods leave before credentials.cache.stale")
    expect(config["workers"] == int(gateway["resources"]["requests"]["cpu"]), "workers are not the requested processors")

    scaler = things["HorizontalPodAutoscaler", "portcullis"]["spec"]
    expect(scaler["scaleTargetRef"]["name"] == "portcullis", "something else is scaled")
    expect(scaler["metrics"][0]["containerResource"]["container"] == gateway["name"], "another container is measured")
    budget = things["PodDisruptionBudget", "portcullis"]["spec"]
    expect(budget["maxUnavailable"] < scaler["minReplicas"], "all pods may be taken away at once")

    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for container in pod["containers"]:
        for mount in container["volumeMounts"]:
            expect(mount["name"] in volumes, f"there is no volume {mount['name']}")
            is_data = mount["name"] == "data"
            expect(is_data != bool(mount.get("readOnly")), f"{mount['name']}: only data is written to")
    keys = {thing["metadata"]["name"]: set(thing["stringData"]) for thing in secrets}
    for variable in gateway["env"]:
        secret = variable["valueFrom"]["secretKeyRef"]
        expect(secret["key"] in keys[secret["name"]], f"{variable['name']} has no value")
    for volume in volumes.values():
        if "secret" in volume:
            expect(volume["secret"]["secretName"] in keys, f"there is no secret {volume['name']}")
            expect(volume["secret"]["defaultMode"] & 0o007 == 0, f"everybody may read {volume['name']}")
    # Nothing that could be taken for a password.
    values = [value for thing in secrets for value in thing["stringData"].values()]
    expect(not any(values), "a secret has a value")


def check_kubernetes(folder, config_out):
    listed = yaml.safe_load(Path(folder, "kustomization.yaml").read_text())["resources"]
    there = {path.name for path in Path(folder).glob("*.yaml")}
    expect(there == set(listed) | {"kustomization.yaml", "secrets.example.yaml"}, f"kustomization.yaml has {listed}")
    objects = list(documents(folder, skip=["kustomization.yaml", "secrets.example.yaml"]))
    secrets = list(yaml.safe_load_all(Path(folder, "secrets.example.yaml").read_text()))
    schemas(objects + secrets)
    fit(objects, secrets)
    config = by_kind(objects)["ConfigMap", "portcullis"]["data"]["gateway.yaml"]
    Path(config_out).write_text(config)
    wrong = copy.deepcopy(by_kind(objects)["Deployment", "portcullis"])
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    must_find(lambda: schemas([wrong]), "an unknown field")
    for change, message in [
        (lambda pod: pod.update(terminationGracePeriodSeconds=30), "a pod that is killed while it drains"),
        (lambda pod: pod["containers"][0]["ports"][0].update(containerPort=443), "a port that nobody listens on"),
        (lambda pod: pod["volumes"].pop(), "a volume that is not there"),
    ]:
        wrong = copy.deepcopy(objects)
        change(by_kind(wrong)["Deployment", "portcullis"]["spec"]["template"]["spec"])
        must_find(lambda: fit(wrong, secrets), message)


# --- Helm


def check_helm(folder, manifests):
    import helm_python as helm

    lint = helm.lint(folder)
    expect(not lint["errors"], f"lint: {lint['errors']}")
    # 1 is information: a chart may have an icon.
    expect(all(message["severity"] <= 1 for message in lint["messages"]), f"lint: {lint['messages']}")
    with helm.Chart.load(folder) as chart:

        def rendered(values, name="portcullis"):
            texts = chart.render(values, name=name, namespace="portcullis").values()
            return [thing for text in texts for thing in yaml.safe_load_all(text) if thing]

        manifest = by_kind(documents(manifests, skip=["kustomization.yaml", "namespace.yaml", "secrets.example.yaml"]))
        theirs = by_kind(rendered({}))
        expect(manifest.keys() == theirs.keys(), f"the chart has {theirs.keys()}, the manifests {manifest.keys()}")
        for key, thing in theirs.items():
            # The policy of pulling an image is a value of the chart, and the default otherwise.
            for container in thing.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
                expect(container.pop("imagePullPolicy") == "IfNotPresent", "imagePullPolicy")
            expect(thing == manifest[key], f"{key} of the chart is not that of the manifests")
        schemas(list(theirs.values()))

        others = {
            "image": {"repository": "registry.example/portcullis", "tag": "0.2.0"},
            "service": {"type": "ClusterIP", "annotations": {"a.example/b": "true"}},
            "secrets": {"name": "one", "tls": "two", "redisTls": "three"},
            "autoscaling": {"minReplicas": 5, "maxReplicas": 6, "cpu": 50},
            "config": "listen:\n  https: 0.0.0.0:8443\n",
        }
        other = rendered(others, name="edge")
        schemas(other)
        text = yaml.safe_dump_all(other)
        ours = re.search(r"secretName: portcullis|key: (pepper|redis-password)\n +name: portcullis", text)
        expect(not ours, "the names of the secrets have no effect")
        expect("app.kubernetes.io/name: portcullis" not in text, "a label is not the release's")
        for wrong in [
            {"image": {"tag": 1}},
            {"autoscaling": {"minReplicas": 1}},
            {"replicas": 3},
            {"service": {"type": "loadbalancer"}},
            {"egress": []},
        ]:
            try:
                # Helm checks the values when it renders, too.
                chart.validate_schema(wrong)
                accepted = True
            except helm.HelmError:
                accepted = False
            expect(not accepted, f"the chart takes {wrong}")


CHECKS = {
    "compose": check_compose,
    "dashboard": check_dashboard,
    "helm": check_helm,
    "kubernetes": check_kubernetes,
}

if __name__ == "__main__":
    try:
        CHECKS[sys.argv[1]](*sys.argv[2:])
    except Wrong as wrong:
        sys.exit(f"check-deploy {sys.argv[1]}: {wrong}")
