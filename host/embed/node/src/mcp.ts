// A minimal MCP client for `whereby mcp`, over standard input and output. The official SDK would bring about
// ninety packages, including HTTP servers.

import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import type { Socket } from "node:net";

const PROTOCOL = "2025-06-18";

/** The maximum number of kept characters of the server's standard error. */
const MAX_STDERR = 4000;

/** The time limit for a server to end after its input is closed, in milliseconds. */
const EXIT_TIMEOUT = 5000;

/** JSON-RPC's error code for an unknown method. */
const METHOD_NOT_FOUND = -32601;

/** Handlers of the server's requests and notifications, by method. Handlers do not throw. */
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

/** How a program ended: its exit status, a signal, or a failed start. */
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

/** A running server. It keeps the process alive only while a request is pending. */
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
      this.#errors = (this.#errors + text).slice(-MAX_STDERR);
    });
    // The `close` event reports a server that is gone, with the reason.
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

  /** Starts a server and does the handshake. */
  static async start(server: Server, clientInfo: { name: string; version: string }): Promise<McpClient> {
    const client = new McpClient(server);
    try {
      const { capabilities } = server;
      const begun = await client.request("initialize", { protocolVersion: PROTOCOL, capabilities, clientInfo });
      const { protocolVersion } = begun as { protocolVersion: string };
      if (protocolVersion !== PROTOCOL) throw new Refused(`it supports MCP ${protocolVersion}, not ${PROTOCOL}`);
      client.#send({ method: "notifications/initialized" });
      return client;
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  /** The reason why the server ended, if it did. */
  get end(): ServerEnded | undefined {
    return this.#end;
  }

  /** Sends a request. On abort, it notifies the server and rejects with the signal's reason. */
  request(method: string, params: object, signal?: AbortSignal): Promise<unknown> {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#end) throw this.#end;
      const abort = () => {
        this.#cancel(id);
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

  /** Ends the server by closing its input, and kills it if it does not exit in time. */
  async close(): Promise<void> {
    // The caller of `close` waits for the end.
    this.#child.ref();
    // The server would finish running requests before it exits.
    for (const id of this.#pending.keys()) this.#cancel(id);
    this.#child.stdin.end();
    const force = setTimeout(() => this.#kill(), EXIT_TIMEOUT);
    await this.#ended;
    clearTimeout(force);
  }

  #cancel(id: number): void {
    this.#send({ method: "notifications/cancelled", params: { requestId: id } });
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
      // A notification: progress, logging or changed tools.
      else void this.#handlers[message.method]?.(message.params ?? {});
      return;
    }
    // A cancelled request may still get a response.
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
    // The server's own children may still hold the pipes.
    for (const pipe of this.#child.stdio) pipe?.destroy();
  }

  #over(what: string, end: End): void {
    // The first reason counts: a program that cannot be run also closes its pipes.
    this.#end ??= new ServerEnded(`${this.#program} ${what}`, end);
    for (const pending of [...this.#pending.values()]) pending.reject(this.#end);
  }

  /** Keeps the process alive while requests are pending. */
  #hold(): void {
    const { stdin, stdout, stderr } = this.#child;
    // A child's pipes are sockets, although the types do not say so.
    const pipes = [stdin, stdout, stderr] as unknown as Socket[];
    for (const held of [this.#child, ...pipes]) {
      if (this.#pending.size > 0) held.ref();
      else held.unref();
    }
  }
}

/** Parses a line into a message, if it is one. */
function parse(line: string): Message | undefined {
  try {
    const message: unknown = JSON.parse(line);
    return typeof message === "object" && message !== null ? message : undefined;
  } catch {
    return undefined;
  }
}
