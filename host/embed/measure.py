"""Measures the cost of a call in each runtime, for the table in README.md.

    measure.py [native] [call] [mcp] [run] [serve] [python] [guarded] [wasmcloud]

Without names, it measures all of them. That needs the packages of wasmcloud/requirements.txt, wasmcloud/wash.txt,
../../tests/runtimes/requirements.txt and python[bare], and the programs that wasmcloud/README.md names. For
Node.js, use `npm run measure`. `guarded` compares the guarded component with the bare one. The program is WHEREBY_BIN or target/release/whereby. The results are medians.

The call is always list_rooms with two rooms, against a simulator in its own process on loopback. A start lasts from
a new process (wasmCloud: a new workload on a running host) to its first response.
"""

import asyncio
import contextlib
import http.client
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROGRAM = os.environ.get("WHEREBY_BIN", str(ROOT / "target" / "release" / "whereby"))
CALLS = 500
STARTS = 20
TOKEN = "0123456789abcdef0123456789abcdef"
ARGUMENTS = {"limit": 2}

sys.path.insert(0, str(ROOT / "tests" / "runtimes"))
import program  # noqa: E402


def message(method, number=1, **params):
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


CALL = message("tools/call", name="whereby_list_rooms", arguments=ARGUMENTS)
INITIALIZE = message("initialize", 0, protocolVersion="2025-06-18", capabilities={},
                     clientInfo={"name": "measure", "version": "0"})


def report(what, run, count, warm=3):
    for _ in range(warm):
        run()
    times = []
    for _ in range(count):
        before = time.perf_counter()
        run()
        times.append((time.perf_counter() - before) * 1000)
    print(f"{what}: {statistics.median(times):.2f} ms (n={count})", flush=True)


def compare(what, count=CALLS, **runs):
    """Makes the calls in turns, so that other load affects all of them."""
    times = {name: [] for name in runs}
    for turn in range(count + 3):
        for name, run in runs.items():
            before = time.perf_counter()
            run()
            if turn >= 3:
                times[name].append((time.perf_counter() - before) * 1000)
    medians = {name: statistics.median(of) for name, of in times.items()}
    said = ", ".join(f"{name} {median:.3f} ms" for name, median in medians.items())
    print(f"{what}: {said}, {(medians['guarded'] - medians['bare']) * 1000:+.0f} µs (n={count})", flush=True)


class Connection:
    """An HTTP client with a persistent connection."""

    def __init__(self, port, **headers):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"content-type": "application/json", **headers}

    def ask(self, method, path, body=None):
        self.connection.request(method, path, body and json.dumps(body), self.headers)
        answer = self.connection.getresponse()
        document = json.loads(answer.read())
        assert answer.status == 200, document
        return document

    def call(self):
        answer = self.ask("POST", "/mcp", CALL)
        assert answer["result"]["structuredContent"]["data"], answer


class Lines:
    """An MCP server over standard input and output."""

    def __init__(self, stack, command, **options):
        self.process = stack.enter_context(subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options))
        stack.callback(self.process.kill)
        self.ask(INITIALIZE)
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}) + "\n")

    def ask(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        while (answer := json.loads(self.process.stdout.readline())).get("id") != request["id"]:
            pass
        return answer

    def call(self):
        answer = self.ask(CALL)
        assert answer["result"]["structuredContent"]["data"], answer


class Measure:
    def __init__(self, stack):
        self.home = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.environment = {"PATH": os.environ["PATH"], **{name: str(self.home) for name in (
            "HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")}}
        simulator = stack.enter_context(subprocess.Popen(
            [PROGRAM, "simulate", "--rate-limit", "0"], env=self.environment, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True))
        stack.callback(simulator.kill)
        said = dict(re.match(r"export (\w+)=(.*)", simulator.stdout.readline()).groups() for _ in range(2))
        self.environment.update(said, WHEREBY_GATEWAY_TOKEN=TOKEN)
        self.url, self.key = said["WHEREBY_API_URL"], said["WHEREBY_ACCESS_TOKEN"]
        self.ran(PROGRAM, "component", "export", "whereby.wasm")
        self.ran(PROGRAM, "component", "export", "--gateway", "gateway.wasm")
        self.ran(PROGRAM, "component", "export", "--guarded", "guarded.wasm")
        self.ran(PROGRAM, "component", "export", "--guarded", "--gateway", "guarded-gateway.wasm")

    def ran(self, *command, **environment):
        subprocess.run(command, cwd=self.home, env={**self.environment, **environment}, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def native(self):
        connection = Connection(int(self.url.split(":")[2].split("/")[0]), authorization=f"Bearer {self.key}")
        report("the same request without a component, over a kept connection",
               lambda: connection.ask("GET", "/v1/meetings?limit=2"), CALLS)

    def call(self):
        command = [PROGRAM, "call", "list_rooms", json.dumps(ARGUMENTS), "--json"]
        report("whereby call, whole process", lambda: self.ran(*command), STARTS)

        def compiling():
            with tempfile.TemporaryDirectory() as cache:
                self.ran(*command, XDG_CACHE_HOME=cache)

        report("whereby call, whole process that compiles", compiling, STARTS)

    def mcp(self):
        with contextlib.ExitStack() as stack:
            served = Lines(stack, [PROGRAM, "mcp"], env=self.environment)
            report("whereby mcp, call", served.call, CALLS)

        def start():
            with contextlib.ExitStack() as stack:
                Lines(stack, [PROGRAM, "mcp"], env=self.environment).call()

        report("whereby mcp, start", start, STARTS)

    def run(self):
        wasmtime = program.wasmtime()
        given = ["-S", "http", "--env", "WHEREBY_API_URL", "--env", "WHEREBY_ACCESS_TOKEN", "--invoke",
                 "list-rooms(some(2))"]
        report("wasmtime run, whole process", lambda: self.ran(wasmtime, "run", *given, "whereby.wasm"), STARTS)
        report("wasmtime run, whole process that compiles",
               lambda: self.ran(wasmtime, "run", "-C", "cache=n", *given, "whereby.wasm"), STARTS)

    def serving(self, stack, *options, file="gateway.wasm"):
        served = stack.enter_context(subprocess.Popen(
            [program.wasmtime(), "serve", "-S", "cli", *options, "--addr", "127.0.0.1:0", "--env", "WHEREBY_API_URL",
             "--env", "WHEREBY_ACCESS_TOKEN", "--env", "WHEREBY_GATEWAY_TOKEN", file], cwd=self.home,
            env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
        stack.callback(served.kill)
        port = int(re.search(r"127\.0\.0\.1:(\d+)", served.stderr.readline())[1])
        return Connection(port, authorization=f"Bearer {TOKEN}")

    def serve(self):
        def start(*options):
            with contextlib.ExitStack() as stack:
                self.serving(stack, *options).call()

        with contextlib.ExitStack() as stack:
            report("wasmtime serve, call", self.serving(stack).call, CALLS)
        report("wasmtime serve, start", start, STARTS)
        report("wasmtime serve, start that compiles", lambda: start("-C", "cache=n"), STARTS)

    def python(self):
        from whereby import Bare, Host, WherebyComponent

        def host():
            return Host(PROGRAM, environment=self.environment)

        def bare(cache=self.home / "python"):
            return Bare(self.home / "whereby.wasm", access_token=self.key, api_url=self.url, cache=cache)

        def start(runtime):
            with WherebyComponent(runtime) as opened:
                opened.list_rooms(**ARGUMENTS)

        for name, runtime in [("Host", host), ("Bare", bare)]:
            with WherebyComponent(runtime()) as opened:
                report(f"Python, {name}, call", lambda: opened.list_rooms(**ARGUMENTS), CALLS)

            report(f"Python, {name}, from opening to the first answer",
                   lambda runtime=runtime: start(runtime()), STARTS)
        report("Python, Bare, from opening to the first answer, compiling", lambda: start(bare(None)), STARTS)

    def guarded(self):
        from whereby import Bare, WherebyComponent

        sizes = {name: (self.home / f"{name}.wasm").stat().st_size / 1024 for name in ("whereby", "guarded")}
        print(", ".join(f"{name}.wasm: {size:.0f} KiB" for name, size in sizes.items()))
        with contextlib.ExitStack() as stack:
            def python(file):
                runtime = Bare(self.home / file, access_token=self.key, api_url=self.url, cache=self.home / "python")
                opened = stack.enter_context(WherebyComponent(runtime))
                return lambda: opened.list_rooms(**ARGUMENTS)

            compare("Python, Bare, call", bare=python("whereby.wasm"), guarded=python("guarded.wasm"))
            compare("wasmtime serve, call", bare=self.serving(stack).call,
                    guarded=self.serving(stack, file="guarded-gateway.wasm").call)
            started = {name: Lines(stack, [PROGRAM, *options, "mcp"], env=self.environment, cwd=self.home)
                       for name, options in [("bare", []), ("guarded", ["--component", "guarded.wasm"])]}
            compare("whereby mcp, call", **{name: it.call for name, it in started.items()})

    def wasmcloud(self):
        loader = importlib.machinery.SourceFileLoader("run", str(HERE / "wasmcloud" / "run"))
        run = importlib.util.module_from_spec(importlib.util.spec_from_loader("run", loader))
        loader.exec_module(run)
        os.environ["WHEREBY_BIN"] = PROGRAM
        with run.running() as processes:
            asyncio.run(self.workloads(run, processes))

    async def workloads(self, run, processes):
        machine = run.Machine(processes, None)
        async with machine.connect() as host:
            async def start(name):
                await host.start(machine.whole, name, [run.origin(machine.api)])
                return Connection(machine.port, authorization=f"Bearer {machine.token}", host=name)

            async def timed(name):
                before = time.perf_counter()
                (await start(name)).call()
                return (time.perf_counter() - before) * 1000

            print(f"wash host, start of the first workload, which compiles: {await timed('first'):.2f} ms (n=1)")
            times = [await timed(f"start-{number}") for number in range(STARTS)]
            print(f"wash host, start of another workload with the same image: {statistics.median(times):.2f} ms (n={STARTS})")
            report("wash host, call", (await start("calls")).call, CALLS)


def main():
    names = ["native", "call", "mcp", "run", "serve", "python", "guarded", "wasmcloud"]
    chosen = sys.argv[1:] or names
    if not set(chosen) <= set(names):
        sys.exit(__doc__)
    with contextlib.ExitStack() as stack:
        measure = Measure(stack)
        for name in chosen:
            getattr(measure, name)()


if __name__ == "__main__":
    main()
