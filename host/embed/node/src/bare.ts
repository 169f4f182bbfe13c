// The bare component: transpiled by jco, in this process, with the access token in its environment.

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import type { Arguments } from "./arguments.js";
import type { CallResult, Job, Started, WorkerSettings } from "./bare-worker.js";
import { Runtime, type Connection } from "./component.js";
import { WherebyError, closed, effectOfInterrupted, hintFor, unlessAborted, type Effect } from "./errors.js";
import type { CallErrorKind, FunctionFacts } from "./functions.js";

/** The claims of an API key that the component does not have. */
export interface KeyClaims {
  organizationId?: string | number;
  /** When the key was created, in seconds since 1970. */
  iat?: number;
  /** When the key expires, in seconds since 1970. */
  exp?: number;
}

export interface BareOptions {
  /** A Whereby API key. Without one, requests have no authorization. */
  accessToken?: string | undefined;
  /** The base URL of every request. Default: `https://api.whereby.dev/v1`. */
  apiUrl?: string | undefined;
  /** The claims that `getCurrentUser` shows if there is no `accessToken`. */
  keyClaims?: KeyClaims | undefined;
  /**
   * The rules of a guarded component (`whereby component export --guarded FILE`), which denies writes without them:
   * the TOML of `[permissions]` in a configuration file. Other components ignore them.
   */
  permissions?: string | undefined;
  /**
   * Whether a guarded component shows the people in meetings: `names` (the default) or `hidden`. Other components
   * ignore it.
   */
  participants?: "names" | "hidden" | undefined;
  /** The directory of a transpiled component. Default: the component of this package. */
  component?: string | undefined;
}

/**
 * Returns a runtime that runs the component alone, in a thread of this process. It reads nothing from the
 * process's environment.
 *
 * Calls run one after the other, each in a fresh instance. Only the component itself limits its requests, and in a
 * guarded one, its guard; the README describes what the program `whereby` adds.
 */
export function bare(options: BareOptions = {}): Runtime {
  const directory = resolve(options.component ?? fileURLToPath(new URL("../component", import.meta.url)));
  const variables = {
    WHEREBY_ACCESS_TOKEN: options.accessToken,
    WHEREBY_API_URL: options.apiUrl,
    WHEREBY_KEY_CLAIMS: options.keyClaims && JSON.stringify(options.keyClaims),
    WHEREBY_PERMISSIONS: options.permissions,
    WHEREBY_PARTICIPANTS: options.participants,
  };
  const given = Object.entries(variables).filter(([, value]) => value !== undefined);
  const environment = Object.fromEntries(given) as Record<string, string>;
  return new Runtime(async () => {
    const connection = new Bare(directory, environment);
    await connection.start();
    return connection;
  });
}

class Bare implements Connection {
  readonly #directory: string;
  readonly #environment: Record<string, string>;
  #worker: Worker | undefined;
  #isClosed = false;
  /** Settles when the earlier calls are done: the worker makes one call at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(directory: string, environment: Record<string, string>) {
    this.#directory = directory;
    this.#environment = environment;
  }

  /** Returns the worker, and starts it if there is none. */
  async start(): Promise<Worker> {
    if (this.#isClosed) throw closed("none");
    if (this.#worker) return this.#worker;
    const path = resolve(this.#directory, "component.js");
    if (!existsSync(path)) {
      throw new WherebyError("configuration", `the component was not built: ${path} does not exist`, {
        hint: "transpile the FILE of `whereby component export FILE`, as the README of this package describes",
      });
    }
    const settings: WorkerSettings = { component: pathToFileURL(path).href, environment: this.#environment };
    // The thread has no environment, because the shim passes all of it by default. It also has none of this
    // process's flags, such as --eval and --import, which would run other code in it.
    const worker = new Worker(new URL("./bare-worker.js", import.meta.url), {
      workerData: settings,
      env: {},
      execArgv: [],
    });
    this.#worker = worker;
    worker.once("exit", () => this.#forget(worker));
    const started = await next<Started>(worker).catch((error: Error): Started => ({ failed: error.message }));
    worker.unref();
    if (this.#isClosed) throw closed("none");
    if (started.failed !== undefined) {
      await worker.terminate();
      throw new WherebyError("configuration", `the component cannot be loaded: ${started.failed}`);
    }
    return worker;
  }

  call(fn: FunctionFacts, given: Arguments, signal: AbortSignal | undefined): Promise<unknown> {
    const turn = this.#last.then(() => this.#run(fn, given, signal));
    // The caller gets a failure; the next call runs in any case.
    this.#last = turn.catch(() => undefined);
    return unlessAborted(turn, signal);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#worker?.terminate();
  }

  async #run(fn: FunctionFacts, given: Arguments, signal: AbortSignal | undefined): Promise<unknown> {
    const worker = await this.start();
    signal?.throwIfAborted();
    // A thread that waits for a response handles no messages, so only ending it ends the call.
    const abort = () => {
      this.#forget(worker);
      void worker.terminate();
    };
    signal?.addEventListener("abort", abort, { once: true });
    worker.ref();
    try {
      const job: Job = { name: fn.name, given };
      worker.postMessage(job);
      return this.#result(fn, await next<CallResult>(worker));
    } catch (error) {
      throw this.#isClosed ? closed(effectOfInterrupted(fn)) : this.#failure(fn, error);
    } finally {
      worker.unref();
      signal?.removeEventListener("abort", abort);
    }
  }

  #forget(worker: Worker): void {
    if (this.#worker === worker) this.#worker = undefined;
  }

  #result(fn: FunctionFacts, answer: CallResult): unknown {
    if ("result" in answer) return answer.result;
    if ("missing" in answer) {
      throw new WherebyError("usage", `${fn.method} is not in this component, which only reads`, {
        hint: "use the component of `whereby component export FILE`, without --reader",
      });
    }
    if ("fault" in answer) throw new Error(answer.fault);
    const { kind } = answer;
    const effect = effectOf(fn, kind);
    throw new WherebyError(kind, this.#withoutToken(answer.message), {
      effect,
      hint: hintFor(kind, effect),
      httpStatus: answer.httpStatus,
      retryAfterSeconds: answer.retryAfterSeconds,
    });
  }

  /** Returns the error of a component that trapped or whose thread ended. */
  #failure(fn: FunctionFacts, error: unknown): WherebyError {
    if (error instanceof WherebyError) return error;
    const effect = effectOfInterrupted(fn);
    const message = error instanceof Error ? error.message : String(error);
    return new WherebyError("component-fault", `the component failed: ${this.#withoutToken(message)}`, {
      effect,
      hint: hintFor("component-fault", effect),
    });
  }

  /** Removes the token, which a server may echo. */
  #withoutToken(text: string): string {
    const token = this.#environment.WHEREBY_ACCESS_TOKEN;
    return token ? text.replaceAll(token, "…") : text;
  }
}

/** Returns whether a failed write may have happened. Nothing observes the component's requests. */
function effectOf(fn: FunctionFacts, kind: CallErrorKind): Effect {
  const isOpen = kind === "timeout" || kind === "unavailable" || kind === "unexpected-response";
  return isOpen ? effectOfInterrupted(fn) : "none";
}

/** Returns the next message of a worker. Rejects with the error that ended it. */
function next<T>(worker: Worker): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      worker.off("message", answered).off("error", failed).off("exit", ended);
      act();
    };
    const answered = (message: T) => settle(() => resolve(message));
    const failed = (error: Error) => settle(() => reject(error));
    const ended = (status: number) => settle(() => reject(new Error(`its thread ended (${status})`)));
    worker.on("message", answered).on("error", failed).on("exit", ended);
  });
}
