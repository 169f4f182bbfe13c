//! Lets AI agents manage Whereby rooms without giving them your API key.
//!
//! The functions run as a WebAssembly component in a sandbox. This library is the host: it keeps the
//! credentials, decides which calls may be made, and sends only the requests that a call allows.
//! `examples/agent.rs` is a complete program that embeds it.
//!
//! # A session
//!
//! Set the accounts and what they may do, and then call functions:
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
//! // By default, reading is allowed, and writing needs approval. Here, writing is denied.
//! let deny = Entry::new(Permission::Deny, 0);
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
//! [`Settings::load`] reads the same configuration as the program `whereby`. [`Settings::tighten`] reads
//! only the machine's and the project's files that make the rules stricter. [`SessionBuilder::cache`] sets
//! the directory for compiled code. Make one session and keep it: it is cheap to clone, and each call runs
//! in a fresh instance of the component.
//!
//! # Asking a person
//!
//! If the rules require approval, an [`Approver`] asks a person: here, through a channel. Without an
//! approver, or if it returns [`Answer::Nobody`], the call fails with `approval-required`.
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
//! Each account has its own key, API and rules. A call without an account uses
//! [`Settings::default_account`](field@Settings::default_account).
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
//! // `school` can only read, and `work` can write without approval.
//! for (name, permission) in [("school", Permission::Deny), ("work", Permission::Allow)] {
//!     let rules = settings.policy.own.accounts.entry(name.into()).or_default();
//!     rules.effects.insert(Effect::Write, Entry::new(permission, 0));
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
//! To cancel a call, drop its future. Nothing is sent after that. A call that reads, waits for a person, or
//! has not sent its write has changed nothing. A write that was sent may still happen: the audit log
//! records it as cancelled, with the effect `unknown`. Check whether it happened before you repeat the call.
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
//! // Nobody answers the question, so the caller gives up.
//! let call = session.call(None, "create_room", json!({}));
//! assert!(tokio::time::timeout(Duration::from_millis(20), call).await.is_err());
//! # assert!(whereby.requests().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Approvals and the audit log
//!
//! With a [`Store`], every call is recorded. If nobody can be asked, the call is stored, and a person can
//! approve it for one use.
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
//! let store = Store::new(directory); // must be yours and closed to others
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
//! assert_eq!(rows.len(), 3);
//! assert_eq!(rows[1].decision.as_ref().expect("a decision").what, "approve");
//! assert_eq!(rows[2].approved_by.as_deref(), Some("approval"));
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
#[cfg(feature = "inbox")]
pub mod inbox;
#[cfg(feature = "listener")]
mod listener;
#[cfg(feature = "lua")]
pub mod lua;
#[cfg(feature = "mcp")]
pub mod mcp;
#[cfg_attr(not(any(feature = "inbox", test)), expect(dead_code, reason = "the page uses it"))]
mod passkey;
mod session;
mod store;
mod strict_json;
mod system;
mod token;

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
pub use session::{Guarded, Inspection, Observer, SentRequest, Session, SessionBuilder};
pub use store::{
    ApprovalState, AuditDecision, AuditFilter, AuditOutcome, AuditRequest, AuditRow, Store,
    StoredApproval,
};
pub use system::clock::Clock;
pub use whereby_authority::grant::WriteOutcome;
pub use whereby_authority::secrets::masked;
#[doc(inline)]
pub use whereby_authority::{arguments, policy, sentence, text};
#[doc(inline)]
pub use whereby_catalog as catalog;
#[doc(inline)]
pub use whereby_catalog::schema;
#[cfg(feature = "simulator")]
#[doc(inline)]
pub use whereby_simulator as simulator;
