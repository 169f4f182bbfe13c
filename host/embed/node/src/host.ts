// The program `whereby` as a child process, spoken to by MCP.

import { execFile, type ExecFileException } from "node:child_process";
import { createRequire } from "node:module";
import { promisify } from "node:util";
import type { Arguments, Value } from "./arguments.js";
import { Runtime, type Connection } from "./component.js";
import { WherebyError, closed, effectOfCutOff, type Effect, type ErrorKind } from "./errors.js";
import type { FunctionFacts } from "./functions.js";
import { McpClient, Refused, ServerEnded, type Handlers } from "./mcp.js";

/**
 * Answers for a person whether one call may be made. `question` shows the account, the function and the
 * exact arguments. Only `true` approves and only `false` declines; where it throws, nobody has answered: the
 * error becomes a warning of the process, and the call rejects with `approval-required`.
 */
export type Approver = (question: string) => boolean | Promise<boolean>;

export interface HostOptions {
  /** The program. Default: `whereby`, found by `PATH`. */
  program?: string | undefined;
  /** The account of every call. Default: the configuration's default account. */
  account?: string | undefined;
  /** The configuration file. Default: the program's own. */
  config?: string | undefined;
  /** The program's environment. Default: this process's. */
  env?: NodeJS.ProcessEnv | undefined;
  /** Is asked for calls that need approval. Default: they reject with `approval-required`. */
  approver?: Approver | undefined;
}

const { name, version } = createRequire(import.meta.url)("../package.json") as { name: string; version: string };

/** A failed call, as the program tells of it. */
interface ErrorDocument {
  kind: ErrorKind;
  message: string;
  effect: Effect;
  hint: string | null;
  http_status: number | null;
  retry_after_seconds: number | null;
  approval_id: string | null;
}

/** What `tools/call` returns. */
interface ToolResult {
  structuredContent?: unknown;
  isError?: boolean;
  _meta?: { "whereby/error"?: ErrorDocument };
}

/**
 * The program `whereby`, which keeps the credentials, applies the policy, asks for approvals and keeps the
 * audit log. Calls go side by side.
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
  /** The tools that take an account, by name; absent where they are to be asked for again. */
  #withAccount: Promise<Set<string>> | undefined;

  constructor(options: HostOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { program = "whereby", env = process.env, approver } = this.#options;
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

  /** Refuses an account that there is not: where there is only one, no call could name it. */
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
      throw new WherebyError("usage", `no account is called ${JSON.stringify(account)}; the accounts are: ${known}`);
    }
  }

  /** The account as an argument, which a tool takes only where there are several. */
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
    const effect = effectOfCutOff(fn);
    // A program that is told to end refuses what is under way.
    if (this.#isClosed) return closed(effect);
    return error instanceof Refused ? new WherebyError("internal", error.message, { effect }) : endOf(error, effect);
  }
}

/** What a person says, as MCP has it. */
async function ask(approver: Approver, question: string): Promise<object> {
  try {
    const answer = await approver(question);
    if (answer === true) return { action: "accept", content: { approve: true } };
    if (answer === false) return { action: "accept", content: { approve: false } };
    throw new TypeError("an approver returns true or false");
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

/** The program ended, with calls under way or before. */
function endOf(error: ServerEnded, effect: Effect): WherebyError {
  const hint = effect === "unknown" ? "look whether it happened before trying again" : "open it again";
  return new WherebyError("internal", error.message, { effect, hint });
}

/** Why the program could not be started. */
function startFailure(error: unknown): unknown {
  if (error instanceof ServerEnded) {
    if (error.end === "never-ran") {
      const hint = "name the program as `program`, by its path where PATH does not have it";
      return new WherebyError("configuration", error.message, { hint });
    }
    // The exit status says what kind it is, as for every command of the program.
    const kinds: Record<string, ErrorKind> = { 2: "usage", 3: "configuration" };
    return new WherebyError(kinds[error.end] ?? "internal", error.message);
  }
  return error instanceof Refused ? new WherebyError("configuration", error.message) : error;
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
