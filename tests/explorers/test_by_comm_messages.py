"""An explorer in a real kernel: what the browser would send moves it, and the kernel sends the new picture back."""

import queue
import time

import pytest

jupyter_client = pytest.importorskip("jupyter_client")
pytest.importorskip("ipykernel")
pytest.importorskip("anywidget")


@pytest.fixture(scope="module")
def kernel():
    """Start a kernel and yield its client."""
    manager, client = jupyter_client.manager.start_new_kernel(kernel_name="python3")
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def messages(client, until, seconds=60):
    """Return the messages that the kernel sends until one of them answers."""
    end, seen = time.monotonic() + seconds, []
    while time.monotonic() < end:
        try:
            message = client.get_iopub_msg(timeout=1)
        except queue.Empty:
            continue
        seen.append(message)
        if until(message):
            return seen
    pytest.fail(f"no answer within {seconds} s; {[m['msg_type'] for m in seen]}")


def run(client, code):
    """Run code and return its messages, and what it shows."""
    sent = client.execute(code)
    idle = lambda m: (  # noqa: E731
        m["msg_type"] == "status"
        and m["content"]["execution_state"] == "idle"
        and m["parent_header"].get("msg_id") == sent
    )
    seen = messages(client, idle)
    assert [m["content"].get("traceback") for m in seen if m["msg_type"] == "error"] == []
    shown = [m["content"]["data"] for m in seen if m["msg_type"] in ("execute_result", "display_data")]
    return seen, shown


def send(client, comm, data):
    """Send one comm message, as the browser does."""
    message = client.session.msg("comm_msg", {"comm_id": comm, "data": data})
    client.shell_channel.send(message)
    return message["header"]["msg_id"]


def test_the_messages_of_the_browser_move_the_explorer_and_bring_a_new_picture(kernel):
    opened, shown = run(kernel, "from minisegnet import explorers\ne = explorers.dilation()\ne")
    comms = {m["content"]["comm_id"]: m["content"]["data"]["state"] for m in opened if m["msg_type"] == "comm_open"}
    by_label = {state["label"]: comm for comm, state in comms.items() if state.get("kind") == "slider"}
    assert set(by_label) == {"layers", "rate 1", "rate 2", "rate 3", "bright pixel"}
    assert "application/vnd.jupyter.widget-view+json" in shown[0]
    assert "Rate 2:" in shown[0]["text/plain"]
    assert "<svg" in shown[0]["text/html"]
    assert shown[0]["image/svg+xml"].startswith("<svg")

    slider = by_label["rate 1"]
    sent = send(kernel, slider, {"method": "update", "state": {"index": 2}, "buffer_paths": []})
    updates = messages(
        kernel,
        lambda m: (
            m["msg_type"] == "status"
            and m["content"]["execution_state"] == "idle"
            and m["parent_header"].get("msg_id") == sent
        ),
    )
    contents = [m["content"]["data"] for m in updates if m["msg_type"] == "comm_msg"]
    drawn = [data["state"]["value"] for data in contents if 'class="ms-drawing"' in str(data)]
    assert len(drawn) == 1
    assert ("Rate 3: along a row the output pixel sees only 3 of the 7 pixels" in drawn[0]) is True
    assert run(kernel, "e.state['rate1'], e.code")[1][0]["text/plain"] == "(3, 'explorers.dilation(rate1=3)')"


def test_a_number_typed_in_the_browser_is_taken_or_refused_in_words(kernel):
    opened, _ = run(kernel, "c = explorers.convolution()\nc")
    comms = {m["content"]["comm_id"]: m["content"]["data"]["state"] for m in opened if m["msg_type"] == "comm_open"}
    (table,) = [comm for comm, state in comms.items() if state.get("label") == "kernel (first channel)"]
    send(kernel, table, {"method": "custom", "content": {"row": 0, "column": 0, "text": "7"}})
    assert run(kernel, "c.state['weights'][0]")[1][0]["text/plain"] == "(7, 0, -1)"
    send(kernel, table, {"method": "custom", "content": {"row": 0, "column": 0, "text": "seven"}})
    answer = run(kernel, "c.state['weights'][0], c.inputs['weights'].message")[1][0]["text/plain"]
    assert answer == "((7, 0, -1), '“seven” is not a number: 7 stays.')"
