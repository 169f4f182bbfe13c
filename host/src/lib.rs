//! Whereby video meetings for AI agents that are not trusted with the account.
//!
//! Seven functions run as a WebAssembly component in a sandbox. This library is its host: it keeps
//! the credentials, decides which call may be made, and lets nothing leave but the requests that
//! the very call stands for.
//!
//! A program that embeds it says which accounts there are and what they may do, and then calls:
//!
//! ```
//! use serde_json::json;
//! use whereby::policy::{Effect, Entry, Permission};
//! use whereby::{Account, ApiBase, Session, Settings, TokenSource};
//!
//! # #[cfg(feature = "simulator")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let whereby = whereby::simulator::Simulator::start(Default::default()).await?;
//! # let (api_url, api_key) = (whereby.url(), whereby.token());
//! let mut settings = Settings::default();
//! let api = ApiBase::parse(&api_url)?; // or ApiBase::default() for Whereby itself
//! settings.accounts.insert("work".into(), Account::new(TokenSource::literal(api_key), api));
//! // Reading is allowed by default. Writing would be asked for; here it is denied.
//! let deny = Entry { permission: Permission::Deny, line: 0 };
//! settings.policy.own.all.effects.insert(Effect::Write, deny);
//!
//! let session = Session::builder().settings(settings).build()?;
//!
//! let page = session.call(None, "list_rooms", json!({"limit": 2})).await.result?;
//! assert_eq!(page["data"].as_array().map(Vec::len), Some(2));
//!
//! let outcome = session.call(None, "create_room", json!({})).await;
//! assert_eq!(outcome.result.unwrap_err().kind(), "denied");
//! assert!(outcome.requests.is_empty(), "nothing was sent");
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Settings::load`] reads what the program `whereby` reads instead, and [`Settings::tighten`] only
//! the files of the machine and of project folders that make the rules stricter. [`SessionBuilder::approver`]
//! takes a way to ask a person, and [`SessionBuilder::cache`] a place for compiled code.

mod approval;
pub mod arguments;
mod cache;
mod call;
pub mod catalog;
pub mod cli;
mod config;
mod config_edit;
mod config_file;
mod creation;
mod credentials;
pub mod docs;
mod engine;
mod environment;
mod error;
mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod grant;
mod http;
mod inspect;
mod json;
mod lanes;
mod limits;
#[cfg(feature = "lua")]
pub mod lua;
#[cfg(feature = "mcp")]
pub mod mcp;
mod names;
mod origin;
pub mod policy;
mod request;
mod resources;
pub mod search;
mod secrets;
mod session;
mod shape;
#[cfg(feature = "simulator")]
pub mod simulator;
mod store;
mod suggest;
pub mod text;
mod ticker;
mod timestamp;
mod toml_reader;

pub use approval::{Answer, Approver, Channel, NobodyToAsk, PendingApproval, Question};
pub use call::{Call, Observer, Outcome, Plan};
pub use config::{Account, ComponentFile, PROJECT_FILE, Settings, is_account_name};
pub use credentials::{Token, TokenSource};
pub use environment::{Environment, SYSTEM_POLICY};
pub use error::{Error, FunctionError, WriteOutcome};
pub use grant::permitted_requests;
pub use http::SentRequest;
pub use inspect::Inspection;
pub use limits::Limits;
pub use origin::ApiBase;
pub use resources::{
    BUILT_IN_COMPONENT, BUILT_IN_GATEWAY, BUILT_IN_READER, BUILT_IN_READER_GATEWAY, read_component,
};
pub use secrets::masked;
pub use session::{Session, SessionBuilder};
pub use store::{
    ApprovalState, AuditFilter, AuditOutcome, AuditRequest, AuditRow, Store, StoredApproval,
};
#[doc(inline)]
pub use whereby_catalog::schema;
