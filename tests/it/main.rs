//! The whole: the real component, in the real host, against a simulated Whereby.

mod accounts;
mod approvals;
mod arguments;
mod artifacts;
mod audit;
mod causes;
mod cli;
mod concurrency;
mod configuration;
mod examples;
mod files;
mod functions;
mod guide;
mod hostile;
mod lua;
mod mcp;
mod network_tls;
mod openapi;
mod permissions;
mod preflight;
mod properties;
mod reproducible;
mod secrecy;
mod state;
mod tidy;
mod wire;
