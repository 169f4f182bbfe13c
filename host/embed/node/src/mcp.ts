// A client of MCP for one server over standard input and output, with what `whereby mcp` needs and no more.
// The official SDK would bring some ninety packages, HTTP servers among them, for these messages.

import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import type { Socket } from "node:net";

const PROTOCOL = "2025-06-18";

/** How much of the server's standard error is kept, in characters. */
const KEPT = 4000;

/** How long a server that was told to end may take, in milliseconds. */
const PATIENCE = 5000;

/** JSON-RPC's code of a method that there is not. */
const METHOD_NOT_FOUND = -32601;

/** What the server may ask for or tell, by its method. Handlers do not throw. */
export type Handlers = Record<string, (params: Record<string, unknown>) => Promise<object> | object>;

interface Message {
  id?: number | string;
  method?: string;
  params?: Record<string, unknown>;
  result?: unknown;
  error?: { code: number; message: string };
}

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** How a program ended: its exit status, by a signal, or before it began. */
export type End = number | "signal" | "never-ran";

/** The server ended, or could not be started. */
export class ServerEnded extends Error {
  readonly end: End;

  constructor(message: string, end: End) {
    super(message);
    this.end = end;
  }
}

/** The server answered a request with an error. */
export class Refused extends Error {}

export interface Server {
  program: string;
  arguments: string[];
  environment: NodeJS.ProcessEnv;
  capabilities: object;
  handlers: Handlers;
}

/** A server that runs. It keeps the process from ending only while a request is under way. */
export class McpClient {
  readonly #program: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #handlers: Handlers;
  readonly #pending = new Map<number, Pending>();
  readonly #ended: Promise<void>;
  #last = 0;
  #unread = "";
  #errors = "";
  #end: ServerEnded | undefined;

  private constructor(server: Server) {
    const { program, environment: env } = server;
    const child = spawn(program, server.arguments, { env, stdio: "pipe", windowsHide: true });
    this.#program = program;
    this.#child = child;
    this.#handlers = server.handlers;
    child.stdout.setEncoding("utf8").on("data", (text: string) => this.#read(text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#errors = (this.#errors + text).slice(-KEPT);
    });
    // A server that is gone is told of by its end, with the reason.
    child.stdin.on("error", () => undefined);
    this.#ended = new Promise((resolve) => {
      child.once("error", (error) => {
        resolve(this.#over(`cannot be run: ${error.message}`, "never-ran"));
      });
      child.once("close", (status, signal) => {
        const how = status === null ? `was ended by ${signal}` : `ended with exit status ${status}`;
        const said = this.#errors.trim();
        resolve(this.#over(`${how}${said && `: ${said}`}`, status ?? "signal"));
      });
    });
    this.#hold();
  }

  /** Starts a server and shakes hands with it. */
  static async start(server: Server, clientInfo: { name: string; version: string }): Promise<McpClient> {
    const client = new McpClient(server);
    try {
      const { capabilities } = server;
      const begun = await client.request("initialize", { protocolVersion: PROTOCOL, capabilities, clientInfo });
      const { protocolVersion } = begun as { protocolVersion: string };
      if (protocolVersion !== PROTOCOL) throw new Refused(`it speaks MCP ${protocolVersion} and not ${PROTOCOL}`);
      client.#send({ method: "notifications/initialized" });
      return client;
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  /** Why there is nobody to answer any more. */
  get end(): ServerEnded | undefined {
    return this.#end;
  }

  /** Sends a request. On abort the server is told, and the promise rejects with the signal's reason. */
  request(method: string, params: object, signal?: AbortSignal): Promise<unknown> {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#end) throw this.#end;
      const abort = () => {
        this.#send({ method: "notifications/cancelled", params: { requestId: id } });
        settle(() => reject(signal?.reason));
      };
      const settle = (act: () => void) => {
        this.#pending.delete(id);
        signal?.removeEventListener("abort", abort);
        this.#hold();
        act();
      };
      this.#pending.set(id, {
        resolve: (result) => settle(() => resolve(result)),
        reject: (error) => settle(() => reject(error)),
      });
      signal?.addEventListener("abort", abort, { once: true });
      this.#hold();
      this.#send({ id, method, params: { ...params } });
    });
  }

  /** Ends the server: by the end of its input, else by force. */
  async close(): Promise<void> {
    // Whoever closes waits for the end.
    this.#child.ref();
    this.#child.stdin.end();
    const force = setTimeout(() => this.#kill(), PATIENCE);
    await this.#ended;
    clearTimeout(force);
  }

  #send(message: Message): void {
    this.#child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }

  #read(text: string): void {
    const lines = text.split("\n");
    lines[0] = this.#unread + lines[0];
    this.#unread = lines.pop() ?? "";
    for (const line of lines) if (!this.#end) this.#receive(line);
  }

  #receive(line: string): void {
    const message = parse(line);
    if (!message) {
      this.#over("does not speak MCP", "signal");
      this.#kill();
      return;
    }
    if (message.method !== undefined) {
      if (message.id !== undefined) void this.#answer(message.id, message.method, message.params ?? {});
      // A notification that nobody waits for: progress, logging, other tools.
      else void this.#handlers[message.method]?.(message.params ?? {});
      return;
    }
    // A request that was taken back is answered at times.
    const pending = this.#pending.get(message.id as number);
    if (message.error) pending?.reject(new Refused(message.error.message));
    else pending?.resolve(message.result);
  }

  async #answer(id: number | string, method: string, params: Record<string, unknown>): Promise<void> {
    const handler = this.#handlers[method];
    if (!handler) {
      this.#send({ id, error: { code: METHOD_NOT_FOUND, message: `there is no ${method}` } });
      return;
    }
    this.#send({ id, result: await handler(params) });
  }

  #kill(): void {
    this.#child.kill("SIGKILL");
    // Children of its own may still hold them.
    for (const pipe of this.#child.stdio) pipe?.destroy();
  }

  #over(what: string, end: End): void {
    // What comes first is the reason: a program that cannot be run closes its pipes as well.
    this.#end ??= new ServerEnded(`${this.#program} ${what}`, end);
    for (const pending of [...this.#pending.values()]) pending.reject(this.#end);
  }

  /** Keeps the process from ending while there is something to wait for, and no longer. */
  #hold(): void {
    const { stdin, stdout, stderr } = this.#child;
    // Pipes of a child are sockets, which the types do not say.
    const pipes = [stdin, stdout, stderr] as unknown as Socket[];
    for (const held of [this.#child, ...pipes]) {
      if (this.#pending.size > 0) held.ref();
      else held.unref();
    }
  }
}

/** A message, where the line is one. */
function parse(line: string): Message | undefined {
  try {
    const message: unknown = JSON.parse(line);
    return typeof message === "object" && message !== null ? message : undefined;
  } catch {
    return undefined;
  }
}
