"""A folder is written that a TensorFlow Serving can serve, and a server that runs meanwhile never sees half of it."""

import json
import math
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from toolkit.errors import ModelError, UsageError
from toolkit.export.serving_repository import ServingRepository
from toolkit.export.throughput import Throughput
from toolkit.manifest import Manifest

MEASURED = [Throughput(1, 0.1, 30.0), Throughput(2, 0.12, 50.0), Throughput(4, 0.24, 50.0)]
# Of tensorflow_model_server (main.cc of TensorFlow Serving), as far as we use them.
FLAGS = {
    "--port",
    "--rest_api_port",
    "--rest_api_timeout_in_ms",
    "--model_config_file",
    "--model_config_file_poll_wait_seconds",
    "--allow_version_labels_for_unavailable_models",
    "--monitoring_config_file",
    "--enable_model_warmup",
    "--num_load_threads",
    "--num_unload_threads",
    "--tensorflow_intra_op_parallelism",
    "--tensorflow_inter_op_parallelism",
    "--enable_batching",
    "--batching_parameters_file",
}


@pytest.fixture(scope="session")
def tiny_saved_models(tmp_path_factory):
    """Folders of SavedModels with the signatures of the contract, but one threshold for a network; by name."""
    import tensorflow as tf

    def slices(modalities):
        return tf.TensorSpec((None, None, None, None, modalities), tf.float32, name="slices")

    value_range = tf.TensorSpec((None, None, 2), tf.float32, name="value_range")
    unknown = tf.fill((1, 1, 2), math.nan)

    def marked(slices):
        return {"probability": slices[..., :1] / 255, "mask": tf.cast(slices[..., 0] >= 128, tf.uint8)}

    @tf.function(input_signature=[slices(2), value_range])
    def of_pixels(slices, value_range=unknown):
        return marked(slices)

    @tf.function(input_signature=[slices(2), tf.TensorSpec((None, 3), tf.float32, name="spacing_mm"), value_range])
    def of_millimetres(slices, spacing_mm, value_range=unknown):
        return marked(slices)

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.string, name="picture_bytes")])
    def encoded(picture_bytes):
        def one(files):
            grey = tf.io.decode_png(files[0], 1) + tf.io.decode_png(files[1], 1) * 0
            return tf.io.encode_png(tf.where(grey >= 128, tf.constant(255, tf.uint8), tf.constant(0, tf.uint8)))

        return {"mask_bytes": tf.map_fn(one, picture_bytes)}

    folder = tmp_path_factory.mktemp("saved")
    tf.saved_model.save(tf.Module(), folder / "pixels", {"serving_default": of_pixels, "encoded": encoded})
    tf.saved_model.save(tf.Module(), folder / "millimetres", {"serving_default": of_millimetres})
    return folder


@pytest.fixture
def export(tmp_path, tiny_saved_models, make_info):
    """Adds a version to the repository, as `bts-export --serving` does; gives the repository."""

    def add(name="figshare", kind="pixels", recipe=None):
        repository = ServingRepository(tmp_path / "repository", name)
        info = make_info(recipe, modalities=("t1c", "t2f"))
        repository.add(tiny_saved_models / kind, info, MEASURED, Manifest())
        return repository.path

    return add


def models(repository):
    """The parts of models.config by name of the model, as TensorFlow Serving itself would read them."""
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    config = text_format.Parse((repository / "models.config").read_text(encoding="utf-8"), ModelServerConfig())
    return {model.name: model for model in config.model_config_list.config}


def state(repository, name="figshare"):
    model = models(repository)[name]
    return list(model.model_version_policy.specific.versions), dict(model.version_labels)


def edit(repository, change):
    """What whoever runs the server does to models.config."""
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    config = text_format.Parse((repository / "models.config").read_text(encoding="utf-8"), ModelServerConfig())
    change(config.model_config_list.config)
    (repository / "models.config").write_text(text_format.MessageToString(config), encoding="utf-8")


def promote(version):
    def change(configs):
        del configs[0].version_labels["canary"]
        configs[0].version_labels["stable"] = version

    return change


def test_the_first_version_is_stable_and_lies_where_the_server_looks_for_it(export):
    repository = export()
    assert state(repository) == ([1], {"stable": 1})
    model = models(repository)["figshare"]
    assert (model.base_path, model.model_platform) == ("/models/figshare", "tensorflow")
    assert (repository / "figshare/1/saved_model.pb").is_file()
    assert sorted(entry.name for entry in (repository / "figshare").iterdir()) == ["1"]


def test_a_later_version_is_on_trial_beside_the_stable_one(export):
    repository = export()
    before = {file: file.read_bytes() for file in (repository / "figshare/1").rglob("*") if file.is_file()}
    export()
    assert state(repository) == ([1, 2], {"stable": 1, "canary": 2})
    assert {file: file.read_bytes() for file in before} == before


def test_one_version_at_a_time_is_on_trial_as_a_running_server_would_stop_reading(export):
    export()
    repository = export()
    before = sorted(repository.rglob("*")), (repository / "models.config").read_bytes()
    with pytest.raises(ModelError, match="still on trial as canary; promote it or drop it"):
        export()
    assert (sorted(repository.rglob("*")), (repository / "models.config").read_bytes()) == before


def test_after_the_promotion_the_next_version_is_on_trial_and_the_oldest_is_unloaded(export):
    export()
    repository = export()
    edit(repository, promote(2))
    export()
    assert state(repository) == ([2, 3], {"stable": 2, "canary": 3})
    assert (repository / "figshare/1/saved_model.pb").is_file()


def test_a_rolled_back_version_keeps_its_number_and_a_label_of_ones_own_keeps_its_version(export):
    repository = export()

    def own_label(configs):
        configs[0].version_labels["study_7"] = 1

    edit(repository, own_label)
    export()

    def drop(configs):
        del configs[0].version_labels["canary"]
        configs[0].model_version_policy.specific.versions[:] = [1]

    edit(repository, drop)
    export()
    assert state(repository) == ([1, 3], {"stable": 1, "study_7": 1, "canary": 3})


def test_other_models_in_the_folder_stay_as_they_are(export):
    repository = export()
    export(name="brats")
    assert state(repository) == ([1], {"stable": 1})
    assert state(repository, "brats") == ([1], {"stable": 1})
    assert (repository / "brats/1/saved_model.pb").is_file()


def test_a_models_config_that_is_none_is_named_before_anything_is_written(tmp_path, export):
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository/models.config").write_text("model_config_list { oops }")
    with pytest.raises(ModelError, match=r"models\.config: can't be read \(1:2"):
        export()
    assert [entry.name for entry in (tmp_path / "repository").iterdir()] == ["models.config"]


def test_a_version_that_fails_half_way_leaves_neither_folder_nor_label(tmp_path, export, monkeypatch):
    def fails(*_):
        raise RuntimeError("half way")

    monkeypatch.setattr("toolkit.export.serving_repository.write_warmup", fails)
    with pytest.raises(RuntimeError, match="half way"):
        export()
    assert list((tmp_path / "repository/figshare").iterdir()) == []
    assert not (tmp_path / "repository/models.config").exists()


def test_the_server_learns_of_a_version_only_when_everything_else_is_there(tmp_path, export, monkeypatch):
    from toolkit.export.version_labels import VersionLabels

    there = []
    monkeypatch.setattr(
        VersionLabels, "add", lambda self, version: there.extend(entry.name for entry in self.path.parent.iterdir())
    )
    export()
    assert {"figshare", "batching.config", "monitoring.config", "compose.yaml"} <= set(there)


def test_a_name_that_could_be_a_path_is_refused(tmp_path):
    for name in ("", "../up", "a/b", ".hidden", "a b", "a:predict", "ä"):
        with pytest.raises(UsageError, match="take letters"):
            ServingRepository(tmp_path, name)


def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install '\.\[serving\]'"):
        ServingRepository(tmp_path, "figshare")


def test_what_the_operator_has_changed_stays(export):
    repository = export()
    (repository / "compose.yaml").write_text("mine")
    (repository / "batching.config").write_text("measured again with every version")
    export()
    assert (repository / "compose.yaml").read_text() == "mine"
    assert "figshare version 2" in (repository / "batching.config").read_text()


@pytest.mark.parametrize(("kind", "recipe"), [("pixels", {}), ("millimetres", {"data": {"spacing_mm": [5, 1, 1]}})])
def test_warm_up_requests_are_such_that_the_version_answers_them(export, kind, recipe):
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    version = export(kind=kind, recipe={"data": {"image_size": 32, **recipe.get("data", {})}}) / "figshare/1"
    loaded = tf.saved_model.load(str(version))
    asked = {}
    for record in tf.data.TFRecordDataset(str(version / "assets.extra/tf_serving_warmup_requests")):
        request = PredictionLog.FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == "figshare"
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        signature = request.model_spec.signature_name
        asked[signature] = inputs, loaded.signatures[signature](**inputs)
    assert set(asked) == ({"serving_default", "encoded"} if kind == "pixels" else {"serving_default"})
    inputs, answer = asked["serving_default"]
    assert inputs["slices"].shape == (1, 4, 32, 32, 2)
    assert answer["mask"].shape == (1, 4, 32, 32)
    assert np.isnan(inputs["value_range"]).all()
    if kind == "pixels":
        mask = tf.io.decode_png(asked["encoded"][1]["mask_bytes"][0]).numpy()
        np.testing.assert_array_equal(mask[..., 0] > 0, inputs["slices"][0, 0, ..., 0] >= 128)


def message(name, fields):
    """A message class; the wheel lacks these two, so they are put down here as TensorFlow Serving publishes them."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{name}.proto", package="test", syntax="proto3", dependency=[wrappers_pb2.DESCRIPTOR.name]
    )
    for message_name, members in fields.items():
        described = file.message_type.add(name=message_name)
        for number, (field, kind) in members.items():
            added = described.field.add(name=field, number=number, label=kinds.LABEL_OPTIONAL)
            if isinstance(kind, str):
                added.type, added.type_name = kinds.TYPE_MESSAGE, kind
            else:
                added.type = kind
            if field == "allowed_batch_sizes":
                added.label = kinds.LABEL_REPEATED
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}"))


def test_the_batching_config_is_what_the_measurement_says(export):
    repository = export()
    wrapped, boolean = ".google.protobuf.Int64Value", descriptor_pb2.FieldDescriptorProto.TYPE_BOOL
    fields = {
        1: ("max_batch_size", wrapped),
        2: ("batch_timeout_micros", wrapped),
        3: ("max_enqueued_batches", wrapped),
        4: ("num_batch_threads", wrapped),
        5: ("thread_pool_name", ".google.protobuf.StringValue"),
        6: ("allowed_batch_sizes", descriptor_pb2.FieldDescriptorProto.TYPE_INT64),
        7: ("pad_variable_length_inputs", boolean),
    }
    parameters = message("BatchingParameters", {"BatchingParameters": fields})
    text = (repository / "batching.config").read_text(encoding="utf-8")
    found = text_format.Parse(text, parameters())
    assert found.max_batch_size.value == 2
    assert found.batch_timeout_micros.value == 10_000
    assert found.max_enqueued_batches.value == 250
    assert found.num_batch_threads.value >= 1
    # Padding would change the range of intensities of a case.
    assert not found.pad_variable_length_inputs
    assert "measured in-process, not on the server itself" in text
    measured = json.loads((repository / "batching_measured.json").read_text(encoding="utf-8"))
    assert measured["note"] == "measured in-process, not on the server itself"
    assert measured["measured"][1] == {"cases": 2, "seconds": 0.12, "slices_per_second": 50.0}
    assert measured["derived"]["max_batch_size"] == 2
    assert measured["model_version"] == 1


def test_prometheus_finds_metrics(export):
    kinds = descriptor_pb2.FieldDescriptorProto
    prometheus = {1: ("enable", kinds.TYPE_BOOL), 2: ("path", kinds.TYPE_STRING)}
    fields = {"PrometheusConfig": prometheus, "MonitoringConfig": {1: ("prometheus_config", ".test.PrometheusConfig")}}
    text = (export() / "monitoring.config").read_text(encoding="utf-8")
    found = text_format.Parse(text, message("MonitoringConfig", fields)())
    assert found.prometheus_config.enable
    assert found.prometheus_config.path == "/monitoring/prometheus/metrics"


@pytest.fixture
def compose(export):
    return yaml.safe_load((export() / "compose.yaml").read_text(encoding="utf-8"))["services"]


def test_the_container_may_do_next_to_nothing(compose):
    for service in compose.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
        assert service["mem_limit"]
        assert service["cpus"]
        assert not re.search(r"latest|:-[^:]+}$", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in compose["serving"]["ports"])
    assert compose["serving"]["volumes"] == [".:/models:ro"]
    assert compose["proxy"]["profiles"] == ["proxy"]


def test_the_server_is_of_the_version_of_the_tensorflow_that_wrote_the_model(compose):
    import tensorflow as tf

    major_minor = ".".join(tf.__version__.split(".")[:2])
    assert f"tensorflow/serving:{major_minor}." in compose["serving"]["image"]


def arguments(command, batching):
    """What Compose makes of a command: `${NAME:-default}` and `${NAME:+instead}` put in, then cut at spaces."""
    filled = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", command)
    return re.sub(r"\$\{\w+:\+([^}]*)\}", r"\1" if batching else "", filled).split()


def test_the_server_is_started_with_flags_that_exist_and_files_that_are_there(export, compose):
    repository = export()
    (deployment,) = (
        part
        for part in yaml.safe_load_all((repository / "kubernetes.yaml").read_text(encoding="utf-8"))
        if part["kind"] == "Deployment"
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    without, with_batching = (arguments(compose["serving"]["command"], on) for on in (False, True))
    assert set(with_batching) - set(without) == {
        "--enable_batching=true",
        "--batching_parameters_file=/models/batching.config",
    }
    assert container["args"] == without
    for argument in with_batching:
        flag, _, value = argument.partition("=")
        assert flag in FLAGS
        if value.startswith("/models/"):
            assert (repository / value.removeprefix("/models/")).is_file()


def test_the_health_check_needs_bash_alone_and_tells_a_loaded_model(compose):
    kind, bash, option, script = compose["serving"]["healthcheck"]["test"]
    assert (kind, bash, option) == ("CMD", "bash", "-c")
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    for answer, healthy in (("AVAILABLE", True), ("LOADING", False)):
        with served(answer) as (port, asked):
            done = subprocess.run([bash, option, script.replace("8501", str(port))], timeout=20)
        assert (done.returncode == 0) is healthy
        assert asked == ["/v1/models/figshare"]
    done = subprocess.run(
        [bash, option, script.replace("8501", str(port))], capture_output=True, timeout=20, check=False
    )
    assert done.returncode != 0


class served:
    """A port that answers as a server's status does; gives its number and the paths asked for."""

    def __init__(self, model_state):
        asked = self.asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_response(200)
                self.end_headers()
                status = {"version": "1", "state": model_state, "status": {"error_code": "OK", "error_message": ""}}
                self.wfile.write(json.dumps({"model_version_status": [status]}, indent=1).encode())

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self.server.server_port, self.asked

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def kubernetes(export):
    text = (export(name="Fig.share_2") / "kubernetes.yaml").read_text(encoding="utf-8")
    return {part["kind"]: part for part in yaml.safe_load_all(text)}


def test_pods_are_locked_down_probed_and_bounded(kubernetes):
    pod = kubernetes["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] == "/v1/models/Fig.share_2"
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_everything_of_a_deployment_is_about_the_same_pods(kubernetes):
    assert set(kubernetes) == {
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "NetworkPolicy",
    }
    labels = kubernetes["Deployment"]["spec"]["template"]["metadata"]["labels"]
    name = kubernetes["Deployment"]["metadata"]["name"]
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name)
    assert kubernetes["Service"]["spec"]["selector"] == labels
    assert kubernetes["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert kubernetes["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert kubernetes["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert kubernetes["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == name
    # The autoscaler must leave enough pods for one to go.
    assert (
        kubernetes["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
        > kubernetes["PodDisruptionBudget"]["spec"]["minAvailable"]
    )
    ports = {port["name"] for port in kubernetes["Deployment"]["spec"]["template"]["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in kubernetes["Service"]["spec"]["ports"]} == ports


def test_the_proxy_lets_in_nobody_without_a_token_and_to_no_other_ways(export):
    text = (export() / "proxy.conf").read_text(encoding="utf-8")
    bare = re.sub(r"#.*", "", text)
    assert bare.count("{") == bare.count("}")
    assert "listen 8443 ssl" in bare
    assert re.search(r"default 0;", bare)
    assert re.search(r"if \(\$allowed = 0\) {\s*return 401;", bare)
    ways = re.findall(r"location (\S+(?: \S+)?) {", bare)
    assert ways == [
        "/v1/models/",
        "/tensorflow.serving.PredictionService/",
        "= /tensorflow.serving.ModelService/GetModelStatus",
        "/",
    ]
    assert re.search(r"location / {\s*return 404;", bare)
