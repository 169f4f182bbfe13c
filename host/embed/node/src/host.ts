// The program `whereby` as a child process, over MCP.

import { execFile, type ExecFileException } from "node:child_process";
import { createRequire } from "node:module";
import { promisify } from "node:util";
import type { Arguments, Value } from "./arguments.js";
import { Runtime, type Connection } from "./component.js";
import { WherebyError, closed, effectOfInterrupted, type Effect, type ErrorKind } from "./errors.js";
import type { FunctionFacts } from "./functions.js";
import { McpClient, Refused, ServerEnded, type Handlers } from "./mcp.js";
import { HINT, findProgram } from "./program.js";

/**
 * Asks a person whether to allow one call. `question` shows the account, the function and the exact arguments.
 * Only `true` approves and only `false` declines. If it throws, there is no answer: the error becomes a warning
 * of the process, and the call rejects with `approval-required`.
 */
export type Approver = (question: string) => boolean | Promise<boolean>;

export interface HostOptions {
  /** The program. Default: the one that the platform's package brings, else `whereby` in `PATH`. */
  program?: string | undefined;
  /** The account of every call. Default: the configuration's default account. */
  account?: string | undefined;
  /** The configuration file. Default: the program's own. */
  config?: string | undefined;
  /** The program's environment. Default: this process's. */
  env?: NodeJS.ProcessEnv | undefined;
  /** Is asked about calls that need approval. Default: they reject with `approval-required`. */
  approver?: Approver | undefined;
}

const { name, version } = createRequire(import.meta.url)("../package.json") as { name: string; version: string };

/** A failed call, as the program reports it. */
interface ErrorDocument {
  kind: ErrorKind;
  message: string;
  effect: Effect;
  hint: string | null;
  http_status: number | null;
  retry_after_seconds: number | null;
  approval_id: string | null;
}

/** The result of `tools/call`. */
interface ToolResult {
  structuredContent?: unknown;
  isError?: boolean;
  _meta?: { "whereby/error"?: ErrorDocument };
}

/**
 * Returns a runtime that uses the program `whereby`, which keeps the credentials, applies the policy, asks for
 * approvals and keeps the audit log. Calls run in parallel.
 */
export function host(options: HostOptions = {}): Runtime {
  return new Runtime(async () => {
    const connection = new Host(options);
    await connection.start();
    return connection;
  });
}

class Host implements Connection {
  readonly #options: HostOptions;
  #client: McpClient | undefined;
  #isClosed = false;
  /** The names of the tools that take an account; undefined if they must be requested again. */
  #withAccount: Promise<Set<string>> | undefined;

  constructor(options: HostOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { program = findProgram() ?? "whereby", env = process.env, approver } = this.#options;
    const handlers: Handlers = {
      ping: () => ({}),
      "notifications/tools/list_changed": () => {
        this.#withAccount = undefined;
        return {};
      },
    };
    if (approver) handlers["elicitation/create"] = (params) => ask(approver, String(params.message));
    await this.#checkAccount(program, env);
    const server = {
      program,
      arguments: ["mcp", ...this.#config()],
      environment: env,
      capabilities: approver ? { elicitation: {} } : {},
      handlers,
    };
    try {
      this.#client = await McpClient.start(server, { name, version });
    } catch (error) {
      throw startFailure(error);
    }
  }

  async call(fn: FunctionFacts, given: Arguments, signal: AbortSignal | undefined): Promise<unknown> {
    if (!this.#client || this.#isClosed) throw closed("none");
    if (this.#client.end) throw endOf(this.#client.end, "none");
    try {
      const name = `whereby_${fn.name}`;
      const parameters = Object.entries(given).map(([of, value]) => [snake(of), value] as const);
      const account = await this.#accountFor(name);
      const all: Record<string, Value> = { ...Object.fromEntries(parameters), ...account };
      const result = await this.#client.request("tools/call", { name, arguments: all }, signal);
      return resultOf(result as ToolResult);
    } catch (error) {
      throw this.#failure(fn, error);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#client?.close();
  }

  #config(): string[] {
    return this.#options.config === undefined ? [] : ["--config", this.#options.config];
  }

  /** Checks that the account exists. With a single account, calls cannot name it. */
  async #checkAccount(program: string, env: NodeJS.ProcessEnv): Promise<void> {
    const { account } = this.#options;
    if (account === undefined) return;
    const listed = promisify(execFile)(program, ["accounts", "--json", ...this.#config()], { env });
    const { stdout } = await listed.catch((error: ExecFileException & { stderr: string }) => {
      const end = typeof error.code === "number" ? error.code : error.signal ? "signal" : "never-ran";
      throw startFailure(new ServerEnded(error.stderr.trim() || error.message, end));
    });
    const { accounts } = JSON.parse(stdout) as { accounts: { name: string; enabled: boolean }[] };
    const names = accounts.filter(({ enabled }) => enabled).map(({ name }) => name);
    if (!names.includes(account)) {
      const known = names.join(", ") || "none";
      throw new WherebyError("usage", `no account is called ${JSON.stringify(account)}; enabled accounts: ${known}`);
    }
  }

  /** Returns the account as an argument, which a tool takes only if there are several. */
  async #accountFor(tool: string): Promise<{ account?: string }> {
    const { account } = this.#options;
    if (account === undefined) return {};
    this.#withAccount ??= this.#toolsWithAccount();
    return (await this.#withAccount).has(tool) ? { account } : {};
  }

  async #toolsWithAccount(): Promise<Set<string>> {
    const listed = await this.#client?.request("tools/list", {});
    const { tools } = listed as { tools: { name: string; inputSchema: { properties?: object } }[] };
    const taking = tools.filter((tool) => "account" in (tool.inputSchema.properties ?? {}));
    return new Set(taking.map((tool) => tool.name));
  }

  #failure(fn: FunctionFacts, error: unknown): unknown {
    if (!(error instanceof ServerEnded || error instanceof Refused)) return error;
    const effect = effectOfInterrupted(fn);
    // A program that is closing refuses running calls.
    if (this.#isClosed) return closed(effect);
    return error instanceof Refused ? new WherebyError("internal", error.message, { effect }) : endOf(error, effect);
  }
}

/** Asks a person and returns the MCP result. */
async function ask(approver: Approver, question: string): Promise<object> {
  try {
    const answer = await approver(question);
    if (answer === true) return { action: "accept", content: { approve: true } };
    if (answer === false) return { action: "accept", content: { approve: false } };
    throw new TypeError("an approver must return true or false");
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error));
    return { action: "cancel" };
  }
}

function resultOf(result: ToolResult): unknown {
  if (!result.isError) return result.structuredContent;
  const error = result._meta?.["whereby/error"];
  if (!error) throw new WherebyError("internal", "the program did not say why the call failed");
  throw new WherebyError(error.kind, error.message, {
    hint: error.hint ?? undefined,
    effect: error.effect,
    httpStatus: error.http_status ?? undefined,
    retryAfterSeconds: error.retry_after_seconds ?? undefined,
    approvalId: error.approval_id ?? undefined,
  });
}

/** Returns the error for a program that ended before or during a call. */
function endOf(error: ServerEnded, effect: Effect): WherebyError {
  const hint = effect === "unknown" ? "the change may have been made: check before trying again" : "open it again";
  return new WherebyError("internal", error.message, { effect, hint });
}

/** Returns the error for a program that could not be started. */
function startFailure(error: unknown): unknown {
  if (error instanceof ServerEnded) {
    if (error.end === "never-ran") {
      return new WherebyError("configuration", error.message, { hint: HINT });
    }
    // The exit status determines the kind, as for every command of the program.
    const kinds: Record<string, ErrorKind> = { 2: "usage", 3: "configuration" };
    return new WherebyError(kinds[error.end] ?? "internal", error.message);
  }
  return error instanceof Refused ? new WherebyError("configuration", error.message) : error;
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
