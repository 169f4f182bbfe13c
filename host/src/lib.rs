//! Whereby video meetings for AI agents that are not trusted with the account.
//!
//! The functions run as a WebAssembly component in a sandbox. This library is its host: it keeps
//! the credentials, decides which call may be made, and lets nothing leave but the requests that
//! the very call stands for. `examples/agent.rs` embeds it as a whole.
//!
//! # A session
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
//! the files of the machine and of project folders that make the rules stricter.
//! [`SessionBuilder::cache`] takes a place for compiled code. Make one session and keep it; it is
//! cheap to clone, and a call runs in a fresh instance of the component.
//!
//! # Asking a person
//!
//! What the rules say to ask about, an [`Approver`] asks: here, whoever reads the other end of a
//! channel. Without one, or where it answers [`Answer::Nobody`], the call fails as
//! `approval-required`.
//!
//! ```
//! use serde_json::json;
//! use std::pin::Pin;
//! use std::sync::Arc;
//! use tokio::sync::{mpsc, oneshot};
//! use whereby::{Answer, Approver, Question, Session};
//!
//! /// Shows questions in a window, and waits for its buttons.
//! struct Window(mpsc::Sender<(String, oneshot::Sender<bool>)>);
//!
//! impl Approver for Window {
//!     fn ask<'a>(
//!         &'a self,
//!         question: &'a Question,
//!     ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
//!         Box::pin(async move {
//!             let (button, pressed) = oneshot::channel();
//!             // It names the account, the function and the exact arguments.
//!             if self.0.send((question.to_string(), button)).await.is_err() {
//!                 return Answer::Nobody;
//!             }
//!             match pressed.await {
//!                 Ok(true) => Answer::Approved,
//!                 Ok(false) => Answer::Declined,
//!                 Err(_) => Answer::Nobody, // the window was closed
//!             }
//!         })
//!     }
//! }
//!
//! # #[cfg(feature = "simulator")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let whereby = whereby::simulator::Simulator::start(Default::default()).await?;
//! # let mut settings = whereby::Settings::default();
//! # let key = whereby::TokenSource::literal(whereby.token());
//! # let account = whereby::Account::new(key, whereby::ApiBase::parse(&whereby.url())?);
//! # settings.accounts.insert("work".into(), account);
//! let (sender, mut window) = mpsc::channel(1);
//! let session = Session::builder().settings(settings).approver(Arc::new(Window(sender))).build()?;
//!
//! let call = session.call(None, "create_room", json!({"room_name_prefix": "standup-"}));
//! let person = async {
//!     let (question, button) = window.recv().await.expect("a question");
//!     assert!(question.contains("standup-"));
//!     button.send(true).expect("the call waits");
//! };
//! let (outcome, ()) = tokio::join!(call, person);
//! assert!(outcome.result?["roomName"].as_str().is_some_and(|name| name.starts_with("standup-")));
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Several accounts
//!
//! Each has its own key, API and rules. A call names one, or means [`Settings::default_account`](field@Settings::default_account).
//!
//! ```
//! use serde_json::json;
//! use whereby::policy::{Effect, Entry, Permission};
//! use whereby::{Account, Session, Settings, TokenSource};
//! # use whereby::ApiBase;
//!
//! # #[cfg(feature = "simulator")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # use whereby::simulator::{Options, OrganizationSeed, Seed, Simulator};
//! # let organizations = ["acme", "school"].map(|name| OrganizationSeed::new(name, Seed::Demo)).into();
//! # let whereby = Simulator::start(Options { organizations, ..Options::default() }).await?;
//! # let (api, keys) = (ApiBase::parse(&whereby.url())?, whereby.tokens().to_vec());
//! let mut settings = Settings::default();
//! settings.default_account = Some("work".into());
//! for (name, key) in ["work", "school"].into_iter().zip(&keys) {
//!     let account = Account::new(TokenSource::literal(key), api.clone());
//!     settings.accounts.insert(name.into(), account);
//! }
//! // `school` only reads, and `work` writes without being asked.
//! for (name, permission) in [("school", Permission::Deny), ("work", Permission::Allow)] {
//!     let rules = settings.policy.own.accounts.entry(name.into()).or_default();
//!     rules.effects.insert(Effect::Write, Entry { permission, line: 0 });
//! }
//! let session = Session::builder().settings(settings).build()?;
//!
//! let created = session.call(None, "create_room", json!({})).await;
//! assert_eq!(created.account.as_deref(), Some("work"));
//! created.result?;
//!
//! let refused = session.call(Some("school"), "create_room", json!({})).await;
//! assert_eq!(refused.result.unwrap_err().kind(), "denied");
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Cancelling
//!
//! To cancel a call, drop its future. Nothing is sent from then on, and the instance is gone. A call
//! that reads, waits for a person, or has not sent its write yet has changed nothing. A write that had
//! left is not taken back: Whereby may have done it all the same, and the audit log has it as
//! cancelled, with the effect `unknown`. Look whether it happened before you make the call again.
//!
//! ```
//! use serde_json::json;
//! use std::time::Duration;
//! # use std::pin::Pin;
//! # use whereby::{Answer, Approver, Question, Session};
//! # struct NeverAnswers;
//! # impl Approver for NeverAnswers {
//! #     fn ask<'a>(&'a self, _: &'a Question) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
//! #         Box::pin(std::future::pending())
//! #     }
//! # }
//!
//! # #[cfg(feature = "simulator")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let whereby = whereby::simulator::Simulator::start(Default::default()).await?;
//! # let mut settings = whereby::Settings::default();
//! # let key = whereby::TokenSource::literal(whereby.token());
//! # let account = whereby::Account::new(key, whereby::ApiBase::parse(&whereby.url())?);
//! # settings.accounts.insert("work".into(), account);
//! # let approver = std::sync::Arc::new(NeverAnswers);
//! # let session = Session::builder().settings(settings).approver(approver).build()?;
//! // Nobody answers the question, and after a while that is that.
//! let call = session.call(None, "create_room", json!({}));
//! assert!(tokio::time::timeout(Duration::from_millis(20), call).await.is_err());
//! # assert!(whereby.requests().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Approvals and the audit log
//!
//! With a [`Store`], every call leaves a row, and what nobody can be asked about waits there to be
//! approved, for that one call.
//!
//! ```
//! use serde_json::json;
//! use whereby::{AuditFilter, Session, Store};
//!
//! # #[cfg(feature = "simulator")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let whereby = whereby::simulator::Simulator::start(Default::default()).await?;
//! # let mut settings = whereby::Settings::default();
//! # let key = whereby::TokenSource::literal(whereby.token());
//! # let account = whereby::Account::new(key, whereby::ApiBase::parse(&whereby.url())?);
//! # settings.accounts.insert("work".into(), account);
//! # let home = tempfile::tempdir()?;
//! # let directory = home.path().join("state");
//! let store = Store::new(directory); // your own, and closed to others
//! let session = Session::builder().settings(settings).store(store.clone()).build()?;
//!
//! let outcome = session.call(None, "create_room", json!({})).await;
//! assert_eq!(outcome.result.unwrap_err().kind(), "approval-required");
//!
//! // A person, elsewhere: `whereby approvals approve ID`, or
//! store.approve(&outcome.approval.expect("a stored approval"))?;
//! session.call(None, "create_room", json!({})).await.result?;
//!
//! store.flush()?; // rows are written together, a moment later
//! let rows = store.audit(&AuditFilter::default())?;
//! assert_eq!(rows.len(), 2);
//! assert_eq!(rows[1].approved_by.as_deref(), Some("approval"));
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cli;
mod config;
pub mod docs;
mod error;
mod exit;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(feature = "lua")]
pub mod lua;
#[cfg(feature = "mcp")]
pub mod mcp;
mod session;
mod store;
mod strict_json;
mod system;

pub use config::credentials::{Token, TokenSource};
pub use config::environment::{Environment, SYSTEM_POLICY};
pub use config::limits::Limits;
pub use config::origin::ApiBase;
pub use config::{Account, ComponentFile, PROJECT_FILE, Settings};
#[doc(inline)]
pub use docs::search;
pub use error::{Error, FunctionError, PendingApproval};
pub use session::approval::{Answer, Approver, Channel, NobodyToAsk, Question};
pub use session::call::{Call, Outcome, Plan};
pub use session::resources::{
    BUILT_IN_COMPONENT, BUILT_IN_GATEWAY, BUILT_IN_READER, BUILT_IN_READER_GATEWAY, read_component,
};
pub use session::{Inspection, Observer, SentRequest, Session, SessionBuilder};
pub use store::{
    ApprovalState, AuditFilter, AuditOutcome, AuditRequest, AuditRow, Store, StoredApproval,
};
pub use system::clock::Clock;
pub use whereby_authority::grant::WriteOutcome;
pub use whereby_authority::secrets::masked;
#[doc(inline)]
pub use whereby_authority::{arguments, policy, text};
#[doc(inline)]
pub use whereby_catalog as catalog;
#[doc(inline)]
pub use whereby_catalog::schema;
#[cfg(feature = "simulator")]
#[doc(inline)]
pub use whereby_simulator as simulator;
