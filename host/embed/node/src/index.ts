export { WherebyComponent, Runtime } from "./component.js";
export { bare, type BareOptions, type KeyClaims } from "./bare.js";
export { host, type Approver, type HostOptions } from "./host.js";
export { WherebyError, type Effect, type ErrorKind } from "./errors.js";
export type * from "./functions.js";
