// Checks arguments before a call, in the same way for both runtimes.

import { WherebyError } from "./errors.js";
import type { FunctionFacts, Schema } from "./functions.js";

/** A JSON value without null: absent values are left out. */
export type Value = string | number | boolean | Value[] | { [name: string]: Value };

/** The arguments of a call, by their JavaScript names. */
export type Arguments = Record<string, Value>;

/** Returns the arguments without null, undefined and empty optional strings. Throws `invalid-argument`. */
export function checkArguments(fn: FunctionFacts, given: unknown): Arguments {
  if (!isObject(given)) throw invalid(`the arguments of ${fn.method}`, "must be an object");
  return members(fn.arguments, given, "argument", fn.method, "");
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Returns the checked members of an object. `prefix` comes before their names in messages. */
function members(
  schema: Schema,
  given: Record<string, unknown>,
  kind: "argument" | "member",
  place: string,
  prefix: string,
): Arguments {
  const properties = schema.properties ?? {};
  const kept: Arguments = {};
  for (const [name, value] of Object.entries(given)) {
    const of = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (!of) {
      const known = Object.keys(properties).join(", ") || "nothing";
      throw new WherebyError("invalid-argument", `unknown ${kind} ${JSON.stringify(name)}: ${place} takes ${known}`);
    }
    // Clients send empty strings for arguments that they do not use.
    const isEmpty = value === "" && !schema.required?.includes(name);
    if (value !== null && value !== undefined && !isEmpty) kept[name] = check(of, value, prefix + name);
  }
  const missing = (schema.required ?? []).find((name) => !Object.hasOwn(kept, name));
  if (missing) throw invalid(prefix + missing, "is missing");
  return kept;
}

function check(schema: Schema, value: unknown, place: string): Value {
  switch (schema.type) {
    case "object":
      if (!isObject(value)) throw invalid(place, "must be an object");
      return members(schema, value, "member", place, `${place}.`);
    case "array":
      return list(schema, value, place);
    case "boolean":
      if (typeof value !== "boolean") throw invalid(place, "must be true or false");
      return value;
    case "string":
      return text(schema, value, place);
    default:
      return number(schema, value, place);
  }
}

/** Returns the cases that an item names: a string, or the members of an object. */
function cases(schema: Schema, value: unknown, place: string): Value[] {
  const properties = schema.properties ?? {};
  const isBare = (name: string) => properties[name]?.type === "boolean";
  if (typeof value === "string" && Object.hasOwn(properties, value) && isBare(value)) return [value];
  const [first] = isObject(value) ? Object.keys(value) : [];
  if (!isObject(value) || first === undefined) {
    const known = Object.keys(properties).map((name) => (isBare(name) ? `"${name}"` : `{ ${name}: … }`));
    throw invalid(place, `must be one of: ${known.join(", ")}`);
  }
  const kept = Object.entries(members(schema, value, "member", place, `${place}.`));
  if (kept.length === 0) throw invalid(`${place}.${first}`, "is missing");
  const wanted = kept.filter(([name, of]) => !isBare(name) || of);
  return wanted.map(([name, of]) => (isBare(name) ? name : { [name]: of }));
}

function list(schema: Schema, value: unknown, place: string): Value {
  const { items = {}, maxItems } = schema;
  if (!Array.isArray(value)) throw invalid(place, "must be an array");
  if (maxItems !== undefined && value.length > maxItems) {
    throw invalid(place, `must have at most ${maxItems} items`);
  }
  return value.flatMap((item, index) => {
    const at = `${place}[${index}]`;
    return items.variant ? cases(items, item, at) : [check(items, item, at)];
  });
}

function text(schema: Schema, value: unknown, place: string): Value {
  if (typeof value !== "string") throw invalid(place, "must be a string");
  if (schema.enum && !schema.enum.includes(value)) {
    throw invalid(place, `must be one of: ${schema.enum.join(", ")}`);
  }
  const { minLength = 0, maxLength = Infinity } = schema;
  // The length of a string counts UTF-16 units, but a schema counts characters.
  const length = Array.from(value).length;
  if (length < minLength || length > maxLength) {
    throw invalid(place, `must have ${minLength} to ${maxLength} characters`);
  }
  return value;
}

function number(schema: Schema, value: unknown, place: string): Value {
  const { minimum = -Infinity, maximum = Infinity } = schema;
  const integer = Number.isInteger(value) ? (value as number) : NaN;
  if (integer >= minimum && integer <= maximum) return integer;
  const range = maximum === Infinity ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
  throw invalid(place, `must be an integer ${range}`);
}

/** Returns an error. Messages contain no values, because some are secrets. */
function invalid(place: string, what: string): WherebyError {
  return new WherebyError("invalid-argument", `${place} ${what}`);
}
