//! The whole: the real component, in the real host, against a simulated Whereby.

mod accounts;
mod arguments;
mod cli;
mod configuration;
mod functions;
mod hostile;
mod openapi;
mod permissions;
mod properties;
mod tidy;
mod wire;
